/** Rpcs on @grpc/grpc-js: messages by the generated code, errors with their details. */
import { create, type DescMethod, type DescService, fromBinary, toBinary } from '@bufbuild/protobuf';
import { type MethodDefinition, Metadata, type ServerUnaryCall, type ServerWritableStream, type ServiceDefinition, type StatusObject, type sendUnaryData, type UntypedServiceImplementation } from '@grpc/grpc-js';
import { NAMESPACE_DEFAULT } from '../../engine/namespaces.ts';
import { type Refusal, refuse } from '../../domain/refusal.ts';
import type { Log } from '../../lib/log.ts';
import { bounded, RefusedError, refusalOf, statusBytes, statusCode } from '../errors.ts';
import type { Caller } from '../rpc/rpc.ts';
import { checkShape } from '../validate.ts';

/** Metadata key that names the namespace, on both listeners. */
export const NAMESPACE_KEY = 'yardmaster-namespace';
const DETAILS_KEY = 'grpc-status-details-bin';

// A Value nests two messages for each level of JSON: our own limit of nesting must be what refuses.
const BINARY_OPTIONS = { recursionLimit: 1_000 };

type AnyRpc = (request: unknown, caller: Caller) => Promise<unknown> | AsyncIterable<unknown>;

export interface Mounted {
  readonly definition: ServiceDefinition;
  readonly implementation: UntypedServiceImplementation;
}

/** Every unary and server-streaming rpc of the service; what `rpcs` lacks answers UNIMPLEMENTED. */
export function mount(service: DescService, rpcs: object, log: Log): Mounted {
  const definition: Record<string, MethodDefinition<unknown, unknown>> = {};
  const implementation: UntypedServiceImplementation = {};
  for (const method of service.methods) {
    if (method.methodKind === 'bidi_streaming' || method.methodKind === 'client_streaming') continue;
    definition[method.localName] = methodDefinition(service, method);
    const rpc = (rpcs as Record<string, AnyRpc | undefined>)[method.localName] ?? notImplemented(method);
    implementation[method.localName] = method.methodKind === 'unary' ? unary(method, rpc, log) : serverStreaming(method, rpc, log);
  }
  return { definition, implementation };
}

function methodDefinition(service: DescService, method: DescMethod): MethodDefinition<unknown, unknown> {
  return {
    path: `/${service.typeName}/${method.name}`,
    requestStream: false,
    responseStream: method.methodKind === 'server_streaming',
    requestDeserialize: (bytes) => fromBinary(method.input, bytes, BINARY_OPTIONS),
    requestSerialize: (message) => Buffer.from(toBinary(method.input, message as never)),
    responseDeserialize: (bytes) => fromBinary(method.output, bytes),
    responseSerialize: (message) => Buffer.from(toBinary(method.output, message as never)),
  };
}

function notImplemented(method: DescMethod): AnyRpc {
  // Thrown, not rejected: where a stream is expected nobody would await the promise.
  return () => {
    throw new RefusedError(refuse('NOT_IMPLEMENTED', `${method.name} is not supported by this version`));
  };
}

/** Aborts when the client has gone; grpc-js cancels a call whose deadline is over as well. */
function callerOf(call: ServerUnaryCall<unknown, unknown> | ServerWritableStream<unknown, unknown>): Caller {
  const gone = new AbortController();
  call.on('cancelled', () => gone.abort(new Error('the caller has gone')));
  return { namespace: namespaceOf(call.metadata), signal: gone.signal };
}

export function namespaceOf(metadata: Metadata): string {
  const [namespace] = metadata.get(NAMESPACE_KEY);
  return namespace === undefined || namespace === '' ? NAMESPACE_DEFAULT : String(namespace);
}

function unary(method: DescMethod, rpc: AnyRpc, log: Log) {
  return async (call: ServerUnaryCall<unknown, unknown>, callback: sendUnaryData<unknown>) => {
    try {
      const bad = checkShape(method.input, call.request as never);
      if (bad) throw new RefusedError(bad);
      callback(null, create(method.output, (await rpc(call.request, callerOf(call))) as never));
    } catch (error) {
      callback(statusOf(noted(error, method, log)));
    }
  };
}

function serverStreaming(method: DescMethod, rpc: AnyRpc, log: Log) {
  return async (call: ServerWritableStream<unknown, unknown>) => {
    try {
      const bad = checkShape(method.input, call.request as never);
      if (bad) throw new RefusedError(bad);
      const caller = callerOf(call);
      for await (const message of rpc(call.request, caller) as AsyncIterable<unknown>) {
        if (caller.signal.aborted) return;
        if (!call.write(create(method.output, message as never))) await drained(call, caller.signal);
      }
      call.end();
    } catch (error) {
      call.emit('error', statusOf(noted(error, method, log)));
    }
  };
}

function drained(call: ServerWritableStream<unknown, unknown>, signal: AbortSignal): Promise<void> {
  return new Promise((resolve) => {
    const done = () => {
      call.off('drain', done);
      signal.removeEventListener('abort', done);
      resolve();
    };
    call.on('drain', done);
    signal.addEventListener('abort', done);
  });
}

function noted(error: unknown, method: DescMethod, log: Log): Refusal {
  if (!(error instanceof RefusedError)) log.error({ err: error, rpc: method.name }, 'rpc failed');
  return refusalOf(error);
}

export function statusOf(unbounded: Refusal): Partial<StatusObject> & { code: number; details: string } {
  const refusal = bounded(unbounded);
  const metadata = new Metadata();
  metadata.set(DETAILS_KEY, Buffer.from(statusBytes(refusal)));
  return { code: statusCode(refusal), details: refusal.message, metadata };
}
