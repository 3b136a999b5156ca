/** Reflection, v1 and v1alpha, on the HTTP listener. It needs both directions at once, so only HTTP/2 carries it. */
import type { ConnectRouter } from '@connectrpc/connect';
import type { ServerReflectionRequest } from '../../../gen/grpc/reflection/v1/reflection_pb.ts';
import { ServerReflection } from '../../../gen/grpc/reflection/v1/reflection_pb.ts';
import { ServerReflection as ServerReflectionAlpha } from '../../../gen/grpc/reflection/v1alpha/reflection_pb.ts';
import { createReflection } from '../reflection.ts';

/** `services`: what this listener carries besides. */
export function addReflection(router: ConnectRouter, services: readonly string[]): void {
  const reflect = createReflection([...services, ServerReflection.typeName, ServerReflectionAlpha.typeName]);
  async function* answers(requests: AsyncIterable<ServerReflectionRequest>) {
    for await (const request of requests) yield reflect(request);
  }
  router.rpc(ServerReflection.method.serverReflectionInfo, answers);
  // The same fields under the same numbers, in messages of another name.
  router.rpc(ServerReflectionAlpha.method.serverReflectionInfo, answers as never);
}
