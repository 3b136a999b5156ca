/** A worker without the SDK: grpc-js, a hello and nothing more. Cheap enough for thousands in a process. */
import { create, fromBinary, toBinary } from '@bufbuild/protobuf';
import { Client, type ClientDuplexStream, credentials, Metadata, type StatusObject } from '@grpc/grpc-js';
import {
  ConnectRequestSchema,
  type ConnectResponse,
  ConnectResponseSchema,
  WorkerService,
} from '../../gen/yardmaster/v1/worker_service_pb.ts';

const METHOD = `/${WorkerService.typeName}/${WorkerService.method.connect.name}`;
const CHANNEL_OPTIONS = {
  // As many connections as workers: each is a machine of its own.
  'grpc.use_local_subchannel_pool': 1,
  'grpc.service_config_disable_resolution': 1,
  'grpc.enable_retries': 0,
};
const HEARTBEAT = message({ case: 'heartbeat', value: {} });
const GOODBYE = message({ case: 'goodbye', value: {} });

export interface RawWorker {
  heartbeat(): void;
  goodbye(): void;
}

export interface RawWorkerOptions {
  readonly address: string;
  readonly name: string;
  readonly action: string;
  readonly heard: (message: ConnectResponse['message']) => void;
  readonly ended: (status: StatusObject) => void;
}

export function connectRawWorker({ address, name, action, heard, ended }: RawWorkerOptions): RawWorker {
  const client = new Client(address, credentials.createInsecure(), CHANNEL_OPTIONS);
  const call: ClientDuplexStream<Buffer, ConnectResponse> = client.makeBidiStreamRequest(
    METHOD,
    (bytes: Buffer) => bytes,
    (bytes: Buffer) => fromBinary(ConnectResponseSchema, bytes),
    new Metadata(),
  );
  call.on('data', (response: ConnectResponse) => heard(response.message));
  // Every end comes as a status too; an 'error' nobody listens to would end the process.
  call.on('error', () => {});
  call.on('status', (status: StatusObject) => {
    client.close();
    ended(status);
  });
  call.write(message({ case: 'hello', value: { name, actions: [action], slots: 1 } }));
  return {
    heartbeat: () => call.write(HEARTBEAT),
    goodbye: () => {
      call.write(GOODBYE);
      call.end();
    },
  };
}

type Said = Exclude<NonNullable<Parameters<typeof create<typeof ConnectRequestSchema>>[1]>['message'], undefined>;

function message(said: Said): Buffer {
  return Buffer.from(toBinary(ConnectRequestSchema, create(ConnectRequestSchema, { message: said })));
}
