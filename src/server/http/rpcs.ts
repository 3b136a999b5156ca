/** Rpcs over Connect, gRPC-Web and gRPC: the same functions as on the gRPC listener, the same checks, the same errors. */
import { create, type DescMethod, type DescService } from '@bufbuild/protobuf';
import { Code, ConnectError, type ConnectRouter, type HandlerContext, type MethodImpl } from '@connectrpc/connect';
import { BadRequestSchema, ErrorInfoSchema } from '../../../gen/google/rpc/error_details_pb.ts';
import type { Refusal } from '../../domain/refusal.ts';
import { NAMESPACE_DEFAULT } from '../../engine/namespaces.ts';
import { bounded, detailsOf, statusCode } from '../errors.ts';
import { type AnyRpc, admit, findRpc, NAMESPACE_KEY, type Notes, noted } from '../grpc/adapter.ts';
import type { Caller } from '../rpc/rpc.ts';

/** Every unary and server-streaming rpc of the service; what `rpcs` lacks answers UNIMPLEMENTED. */
export function addRpcs(router: ConnectRouter, service: DescService, rpcs: object, notes: Notes): void {
  for (const method of service.methods) {
    const rpc = findRpc(rpcs, method);
    if (method.methodKind === 'unary') router.rpc(method, unary(method, rpc, notes) as MethodImpl<typeof method>);
    if (method.methodKind === 'server_streaming')
      router.rpc(method, serverStreaming(method, rpc, notes) as MethodImpl<typeof method>);
  }
}

function unary(method: DescMethod, rpc: AnyRpc, notes: Notes) {
  return async (request: unknown, context: HandlerContext): Promise<unknown> => {
    try {
      admit(method, request, notes);
      // Raced: whoever set a deadline has its answer by then, also when the rpc waits for a store that is away.
      return create(
        method.output,
        (await Promise.race([rpc(request, callerOf(context)), aborted(context.signal)])) as never,
      );
    } catch (error) {
      throw errorOnWire(error, method, notes);
    }
  };
}

function serverStreaming(method: DescMethod, rpc: AnyRpc, notes: Notes) {
  return async function* (request: unknown, context: HandlerContext): AsyncIterable<unknown> {
    try {
      admit(method, request, notes);
      for await (const message of rpc(request, callerOf(context)) as AsyncIterable<unknown>) {
        if (context.signal.aborted) return;
        yield create(method.output, message as never);
      }
    } catch (error) {
      throw errorOnWire(error, method, notes);
    }
  };
}

function callerOf({ requestHeader, signal }: HandlerContext): Caller {
  return { namespace: requestHeader.get(NAMESPACE_KEY) || NAMESPACE_DEFAULT, signal };
}

function aborted(signal: AbortSignal): Promise<never> {
  return new Promise((_resolve, reject) => {
    const fail = () =>
      reject(
        signal.reason instanceof ConnectError
          ? signal.reason
          : new ConnectError('the call was cancelled', Code.Canceled),
      );
    if (signal.aborted) fail();
    else signal.addEventListener('abort', fail, { once: true });
  });
}

function errorOnWire(error: unknown, method: DescMethod, notes: Notes): ConnectError {
  // The deadline or the end of the call itself: nobody refused anything.
  if (error instanceof ConnectError) return error;
  return connectError(noted(error, method, notes));
}

export function connectError(unbounded: Refusal): ConnectError {
  const refusal = bounded(unbounded);
  const { info, badRequest } = detailsOf(refusal);
  const details = [
    { desc: ErrorInfoSchema, value: info },
    ...(badRequest === null ? [] : [{ desc: BadRequestSchema, value: badRequest }]),
  ];
  return new ConnectError(refusal.message, statusCode(refusal), undefined, details);
}
