/** The generated AdminService client, with the manners a client of the control plane should have. */
import type { DescMethod, MessageInitShape } from '@bufbuild/protobuf';
import { type CallOptions, type Client, createClient } from '@connectrpc/connect';
import { type ChannelOptions, credentials, Client as GrpcClient, Metadata } from '@grpc/grpc-js';
import {
  AdminService,
  type ScheduleRunRequestSchema,
  type ScheduleRunsRequestSchema,
} from '../../gen/yardmaster/v1/admin_service_pb.ts';
import type { Backoff } from '../lib/backoff.ts';
import { type Clock, systemClock } from '../lib/clock.ts';
import { type IdSource, systemIds } from '../lib/random.ts';
import { retryUnavailable } from './retry.ts';
import { grpcTransport } from './transport.ts';

const ADDRESS_DEFAULT = 'localhost:7070';
const DEADLINE_MS_DEFAULT = 10_000;
const TRIES_MAX = 6;
const BACKOFF: Backoff = { initialMs: 50, factor: 2, maxMs: 2_000 };

const CHANNEL_OPTIONS: ChannelOptions = {
  // A page may hold a thousand runs.
  'grpc.max_receive_message_length': 64 * 1024 * 1024,
  'grpc.max_send_message_length': 8 * 1024 * 1024,
  'grpc.keepalive_time_ms': 30_000,
  'grpc.keepalive_timeout_ms': 10_000,
  // Retrying is done here, by our own rule.
  'grpc.enable_retries': 0,
  'grpc.service_config_disable_resolution': 1,
  // Nothing here shows what it counts for every call.
  'grpc.enable_channelz': 0,
  'grpc.initial_reconnect_backoff_ms': 100,
  'grpc.max_reconnect_backoff_ms': 2_000,
  'grpc.primary_user_agent': 'yardmaster-client/0.1.0',
};

export interface TlsOptions {
  /** PEM; default: the system's roots. */
  rootCertificates?: Buffer | undefined;
  /** PEM, for mutual TLS; both or neither. */
  privateKey?: Buffer | undefined;
  certificateChain?: Buffer | undefined;
}

export interface AdminClientOptions {
  /** host:port of the gRPC listener. Default `localhost:7070`. */
  address?: string | undefined;
  /** TLS to the server. Default: none. */
  tls?: boolean | TlsOptions | undefined;
  /** Sent as `authorization: Bearer <token>`. */
  token?: string | undefined;
  /** Default: the token's, else `default`. */
  namespace?: string | undefined;
  /** For a unary call with all its tries, milliseconds; a call's `timeoutMs` goes before it. Default 10 000. */
  deadlineMs?: number | undefined;
}

/**
 * Every rpc of AdminService as a method; errors are ConnectError (see errorReason). ScheduleRun and ScheduleRuns get a
 * request_id when they have none. Leaving the loop over a watch ends the watch.
 */
export type AdminClient = Client<typeof AdminService> & {
  /** Ends the connection; calls under way fail. */
  close(): void;
};

/** What the tests replace. */
export interface AdminClientRuntime {
  clock: Clock;
  ids: IdSource;
}

export function createAdminClient(
  options: AdminClientOptions = {},
  runtime: AdminClientRuntime = { clock: systemClock(), ids: systemIds() },
): AdminClient {
  const { clock, ids } = runtime;
  const deadlineMs = options.deadlineMs ?? DEADLINE_MS_DEFAULT;
  const address = options.address ?? ADDRESS_DEFAULT;
  const grpc = new GrpcClient(address, channelCredentials(options.tls ?? false), CHANNEL_OPTIONS);
  const direct = grpcTransport({ client: grpc, metadata: metadataOf(options), deadlineMs });
  const transport = retryUnavailable(direct, {
    clock,
    fraction: () => ids.fraction(),
    deadlineMs,
    triesMax: TRIES_MAX,
    backoff: BACKOFF,
  });
  const client = createClient(AdminService, transport);
  return {
    ...client,
    ...endingStreams(client),
    scheduleRun: (request, callOptions) => client.scheduleRun(withRequestId(request, ids), callOptions),
    scheduleRuns: (request, callOptions) => client.scheduleRuns(withRequestIds(request, ids), callOptions),
    close: () => grpc.close(),
  };
}

type RunInit = MessageInitShape<typeof ScheduleRunRequestSchema>;

function withRequestId(run: RunInit, ids: IdSource): RunInit {
  return run.requestId ? run : ({ ...run, requestId: ids.randomId() } as RunInit);
}

function withRequestIds(
  request: MessageInitShape<typeof ScheduleRunsRequestSchema>,
  ids: IdSource,
): MessageInitShape<typeof ScheduleRunsRequestSchema> {
  const runs = (request.runs ?? []).map((run) => withRequestId(run, ids));
  return { ...request, runs } as MessageInitShape<typeof ScheduleRunsRequestSchema>;
}

type Watch = (request: object, options?: CallOptions) => AsyncIterable<unknown>;

/** Connect's client goes on reading a stream whose reader has left; here the call ends with the loop. */
function endingStreams(client: Client<typeof AdminService>): Partial<Client<typeof AdminService>> {
  const methods: readonly DescMethod[] = AdminService.methods;
  const streaming = methods.filter((method) => method.methodKind === 'server_streaming');
  const wrapped = streaming.map((method) => {
    const watch = client[method.localName as keyof typeof client] as unknown as Watch;
    const ending: Watch = (request, options) => endWithReader(watch, request, options);
    return [method.localName, ending];
  });
  return Object.fromEntries(wrapped) as Partial<Client<typeof AdminService>>;
}

async function* endWithReader(watch: Watch, request: object, options: CallOptions = {}): AsyncGenerator<unknown> {
  const left = new AbortController();
  const signal = options.signal ? AbortSignal.any([options.signal, left.signal]) : left.signal;
  try {
    yield* watch(request, { ...options, signal });
  } finally {
    left.abort();
  }
}

function metadataOf({ token = '', namespace = '' }: AdminClientOptions): Metadata {
  const metadata = new Metadata();
  if (token !== '') metadata.set('authorization', `Bearer ${token}`);
  if (namespace !== '') metadata.set('yardmaster-namespace', namespace);
  return metadata;
}

function channelCredentials(tls: boolean | TlsOptions) {
  if (tls === false) return credentials.createInsecure();
  const { rootCertificates, privateKey, certificateChain } = tls === true ? {} : tls;
  return credentials.createSsl(rootCertificates, privateKey, certificateChain);
}
