/** A scripted server on stock grpc-js: what it says is up to the test. */
import { fromBinary, toBinary } from '@bufbuild/protobuf';
import * as grpc from '@grpc/grpc-js';
import {
  type ConnectRequest,
  ConnectRequestSchema,
  type ConnectResponse,
  ConnectResponseSchema,
} from '../../gen/yardmaster/v1/worker_service_pb.ts';
import { Peer, Peers } from './peer.ts';

const SERVICE: grpc.ServiceDefinition = {
  Connect: {
    path: '/yardmaster.v1.WorkerService/Connect',
    requestStream: true,
    responseStream: true,
    requestSerialize: (value: ConnectRequest) => Buffer.from(toBinary(ConnectRequestSchema, value)),
    requestDeserialize: (bytes: Buffer) => fromBinary(ConnectRequestSchema, bytes),
    responseSerialize: (value: ConnectResponse) => Buffer.from(toBinary(ConnectResponseSchema, value)),
    responseDeserialize: (bytes: Buffer) => fromBinary(ConnectResponseSchema, bytes),
  },
};

export class FakeServer {
  readonly peers = new Peers();
  readonly #server: grpc.Server;
  readonly address: string;

  private constructor(server: grpc.Server, address: string) {
    this.#server = server;
    this.address = address;
  }

  static async start(address = '127.0.0.1:0'): Promise<FakeServer> {
    const server = new grpc.Server({ 'grpc.max_receive_message_length': 8 * 1024 * 1024 });
    const port = await new Promise<number>((resolve, reject) => {
      server.bindAsync(address, grpc.ServerCredentials.createInsecure(), (error, bound) =>
        error ? reject(error) : resolve(bound),
      );
    });
    const fake = new FakeServer(server, `127.0.0.1:${port}`);
    server.addService(SERVICE, {
      Connect: (call: grpc.ServerDuplexStream<ConnectRequest, ConnectResponse>) => fake.#serve(call),
    });
    return fake;
  }

  #serve(call: grpc.ServerDuplexStream<ConnectRequest, ConnectResponse>): void {
    const metadata: Record<string, string> = {};
    for (const [key, value] of Object.entries(call.metadata.getMap())) metadata[key] = String(value);
    const peer = new Peer(
      {
        send: (response) => call.write(response),
        end: (code, details = '') => {
          if (code === undefined) call.end();
          else call.emit('error', { code, details });
        },
      },
      metadata,
    );
    call.on('data', (request: ConnectRequest) => peer.heard(request));
    call.on('end', () => {
      peer.left();
      call.end();
    });
    call.on('cancelled', () => peer.left());
    call.on('error', () => peer.left());
    this.peers.add(peer);
  }

  stop(): void {
    this.#server.forceShutdown();
  }
}
