/** Reflection, v1 and v1alpha, on the gRPC listener. */
import { fromBinary, toBinary } from '@bufbuild/protobuf';
import type { MethodDefinition, Server, ServerDuplexStream } from '@grpc/grpc-js';
import {
  type ServerReflectionRequest,
  ServerReflectionRequestSchema,
  type ServerReflectionResponse,
  ServerReflectionResponseSchema,
} from '../../../gen/grpc/reflection/v1/reflection_pb.ts';
import { createReflection } from '../reflection.ts';

const VERSIONS = ['v1', 'v1alpha'];

export function addReflection(server: Server): void {
  const reflect = createReflection();
  for (const version of VERSIONS) {
    server.addService(
      { serverReflectionInfo: definition(version) },
      {
        serverReflectionInfo(call: ServerDuplexStream<ServerReflectionRequest, ServerReflectionResponse>) {
          call.on('data', (request) => call.write(reflect(request)));
          call.on('end', () => call.end());
        },
      },
    );
  }
}

function definition(version: string): MethodDefinition<ServerReflectionRequest, ServerReflectionResponse> {
  return {
    path: `/grpc.reflection.${version}.ServerReflection/ServerReflectionInfo`,
    requestStream: true,
    responseStream: true,
    requestDeserialize: (bytes) => fromBinary(ServerReflectionRequestSchema, bytes),
    requestSerialize: (message) => Buffer.from(toBinary(ServerReflectionRequestSchema, message)),
    responseSerialize: (message) => Buffer.from(toBinary(ServerReflectionResponseSchema, message)),
    responseDeserialize: (bytes) => fromBinary(ServerReflectionResponseSchema, bytes),
  };
}
