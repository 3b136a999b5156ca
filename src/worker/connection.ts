/** One stream to the server, on a channel of its own: a dead channel must not outlive its stream. */
import {
  type ChannelOptions,
  Client,
  credentials,
  Metadata,
  type ServiceError,
  status as Status,
  type StatusObject,
} from '@grpc/grpc-js';
import {
  type ConnectRequest,
  ConnectRequestSchema,
  type ConnectResponse,
  ConnectResponseSchema,
  WorkerService,
} from '../../gen/yardmaster/v1/worker_service_pb.ts';
import { fromBytes } from '../lib/wire/from_bytes.ts';
import { toBytes } from '../lib/wire/to_bytes.ts';
import type { TlsOptions } from './options.ts';

const METHOD = `/${WorkerService.typeName}/${WorkerService.method.connect.name}`;
const TRANSPORT_BYTES_MAX = 8 * 1024 * 1024;

const CHANNEL_OPTIONS: ChannelOptions = {
  'grpc.max_receive_message_length': TRANSPORT_BYTES_MAX,
  'grpc.max_send_message_length': TRANSPORT_BYTES_MAX,
  // Heartbeats carry the stream; pings only find a dead connection before the silence limit does.
  'grpc.keepalive_time_ms': 20_000,
  'grpc.keepalive_timeout_ms': 10_000,
  'grpc.enable_retries': 0,
  // Nobody looks at its counts.
  'grpc.enable_channelz': 0,
  'grpc.service_config_disable_resolution': 1,
  // Without it a new channel may be handed the half-open connection of the last one.
  'grpc.use_local_subchannel_pool': 1,
  'grpc.primary_user_agent': 'yardmaster-worker/0.1.0',
};

export interface StreamEnd {
  /** Canonical status code; 0 is OK. */
  code: number;
  /** Its name, for example UNAVAILABLE. */
  codeName: string;
  message: string;
  /** Bytes of google.rpc.Status, when the server gave details. */
  details: Uint8Array | undefined;
}

interface StreamListener {
  received(response: ConnectResponse): void;
  /** Once, last. */
  ended(end: StreamEnd): void;
}

export interface Stream {
  write(request: ConnectRequest): void;
  /** No more will be written; the server ends the stream. */
  end(): void;
  /** Ends it here and now; the listener hears nothing more. */
  destroy(): void;
}

export type OpenStream = (listener: StreamListener) => Stream;

export interface StreamTarget {
  address: string;
  tls: boolean | TlsOptions;
  token: string;
  namespace: string;
}

export function grpcStreams(target: StreamTarget): OpenStream {
  const serialize = (request: ConnectRequest) => toBytes(ConnectRequestSchema, request);
  const deserialize = (bytes: Buffer) => fromBytes(ConnectResponseSchema, bytes);
  return (listener) => {
    const client = new Client(target.address, channelCredentials(target.tls), CHANNEL_OPTIONS);
    const call = client.makeBidiStreamRequest(METHOD, serialize, deserialize, metadataFor(target));
    let over = false;
    call.on('data', (response: ConnectResponse) => {
      if (!over) listener.received(response);
    });
    // Every end comes as a status too; an 'error' nobody listens to would end the process.
    call.on('error', (_error: ServiceError) => {});
    call.on('status', (status: StatusObject) => {
      client.close();
      if (over) return;
      over = true;
      listener.ended(streamEnd(status));
    });
    return {
      write: (request) => {
        if (!over) call.write(request);
      },
      end: () => call.end(),
      destroy: () => {
        over = true;
        call.cancel();
        client.close();
      },
    };
  };
}

function metadataFor(target: StreamTarget): Metadata {
  const metadata = new Metadata();
  if (target.token !== '') metadata.set('authorization', `Bearer ${target.token}`);
  if (target.namespace !== '') metadata.set('yardmaster-namespace', target.namespace);
  return metadata;
}

function channelCredentials(tls: boolean | TlsOptions) {
  if (tls === false) return credentials.createInsecure();
  const { rootCertificates, privateKey, certificateChain } = tls === true ? {} : tls;
  return credentials.createSsl(rootCertificates, privateKey, certificateChain);
}

function streamEnd(status: StatusObject): StreamEnd {
  const details = status.metadata.get('grpc-status-details-bin')[0];
  return {
    code: status.code,
    codeName: Status[status.code] ?? String(status.code),
    message: status.details,
    details: typeof details === 'string' ? undefined : details,
  };
}
