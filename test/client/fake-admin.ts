/** AdminService on stock grpc-js, answering what a test tells it to. */
import { create, type DescMethod, fromBinary, type MessageShape, toBinary } from '@bufbuild/protobuf';
import { anyPack } from '@bufbuild/protobuf/wkt';
import * as grpc from '@grpc/grpc-js';
import { ErrorInfoSchema } from '../../gen/google/rpc/error_details_pb.ts';
import { StatusSchema } from '../../gen/google/rpc/status_pb.ts';
import { AdminService } from '../../gen/yardmaster/v1/admin_service_pb.ts';

type UnaryHandler = (request: never, call: grpc.ServerUnaryCall<unknown, unknown>) => unknown;
type StreamHandler = (call: grpc.ServerWritableStream<unknown, unknown>) => void;

/** What a handler wants sent after its answer. */
export const trailers = new WeakMap<object, grpc.Metadata>();

export interface FakeAdmin {
  address: string;
  stop(): void;
}

export async function startFakeAdmin(
  unary: Record<string, UnaryHandler>,
  streams: Record<string, StreamHandler> = {},
): Promise<FakeAdmin> {
  const server = new grpc.Server();
  const definition: Record<string, grpc.MethodDefinition<unknown, unknown>> = {};
  const implementation: grpc.UntypedServiceImplementation = {};
  const methods: readonly DescMethod[] = AdminService.methods;
  for (const method of methods) {
    definition[method.name] = definitionOf(method);
    if (method.methodKind === 'server_streaming') {
      implementation[method.name] = (call: grpc.ServerWritableStream<unknown, unknown>) =>
        streams[method.localName]?.(call);
      continue;
    }
    implementation[method.name] = (
      call: grpc.ServerUnaryCall<unknown, unknown>,
      callback: grpc.sendUnaryData<unknown>,
    ) => {
      try {
        const answer = unary[method.localName]?.(call.request as never, call);
        callback(null, create(method.output, answer as never), trailers.get(call));
      } catch (error) {
        callback(error as grpc.ServiceError);
      }
    };
  }
  server.addService(definition, implementation);
  const port = await new Promise<number>((resolve, reject) => {
    server.bindAsync('127.0.0.1:0', grpc.ServerCredentials.createInsecure(), (error, bound) =>
      error ? reject(error) : resolve(bound),
    );
  });
  return { address: `127.0.0.1:${port}`, stop: () => server.forceShutdown() };
}

/** A grpc-js error that carries google.rpc.ErrorInfo as the control plane sends it. */
export function refusal(
  code: grpc.status,
  reason: string,
  details: string,
  metadata: Record<string, string> = {},
): Partial<grpc.ServiceError> {
  const info = create(ErrorInfoSchema, { reason, domain: 'yardmaster', metadata });
  const status = create(StatusSchema, {
    code,
    message: details,
    details: [anyPack(ErrorInfoSchema, info)],
  });
  const trailer = new grpc.Metadata();
  trailer.set('grpc-status-details-bin', Buffer.from(toBinary(StatusSchema, status)));
  return { code, details, metadata: trailer };
}

function definitionOf(method: DescMethod): grpc.MethodDefinition<unknown, unknown> {
  return {
    path: `/${method.parent.typeName}/${method.name}`,
    requestStream: false,
    responseStream: method.methodKind === 'server_streaming',
    requestSerialize: (value) => Buffer.from(toBinary(method.input, value as MessageShape<typeof method.input>)),
    requestDeserialize: (bytes) => fromBinary(method.input, bytes),
    responseSerialize: (value) => Buffer.from(toBinary(method.output, value as MessageShape<typeof method.output>)),
    responseDeserialize: (bytes) => fromBinary(method.output, bytes),
  };
}
