/** Rpcs on @grpc/grpc-js: messages by the generated code, errors with their details. */
import type { DescMethod, DescService } from '@bufbuild/protobuf';
import {
  Metadata,
  type MethodDefinition,
  ServerInterceptingCall,
  type ServerInterceptor,
  type ServerUnaryCall,
  type ServerWritableStream,
  type ServiceDefinition,
  type StatusObject,
  type sendUnaryData,
  type UntypedServiceImplementation,
} from '@grpc/grpc-js';
import { type Refusal, refuse } from '../../domain/refusal.ts';
import { NAMESPACE_DEFAULT } from '../../engine/namespaces.ts';
import { fromBytes } from '../../lib/wire/from_bytes.ts';
import { toBytes } from '../../lib/wire/to_bytes.ts';
import { errorFacts } from '../../store/transient.ts';
import type { Gate } from '../auth.ts';
import { bounded, RefusedError, refusalOf, statusBytes, statusCode } from '../errors.ts';
import type { Plane } from '../plane.ts';
import type { Caller } from '../rpc/rpc.ts';
import { checkShape } from '../validate.ts';

/** Metadata key that names the namespace, on both listeners. */
export const NAMESPACE_KEY = 'yardmaster-namespace';
const DETAILS_KEY = 'grpc-status-details-bin';

// A Value nests two messages for each level of JSON: our own limit of nesting must be what refuses.
export const BINARY_OPTIONS = { recursionLimit: 1_000 };

/** The transport refuses what is twice our own limit: below that, we refuse it ourselves, and a stream stays up. */
export const TRANSPORT_FACTOR = 2;

/** Where refusals are counted, what is not one is logged, and why nothing is answered here. */
export type Notes = Pick<Plane, 'log' | 'meters' | 'standingBy'>;

export type AnyRpc = (request: unknown, caller: Caller) => Promise<unknown> | AsyncIterable<unknown>;

export interface Mounted {
  readonly definition: ServiceDefinition;
  readonly implementation: UntypedServiceImplementation;
}

/** Every unary and server-streaming rpc of the service; what `rpcs` lacks answers UNIMPLEMENTED. */
export function mount(service: DescService, rpcs: object, notes: Notes): Mounted {
  const definition: Record<string, MethodDefinition<unknown, unknown>> = {};
  const implementation: UntypedServiceImplementation = {};
  for (const method of service.methods) {
    if (method.methodKind === 'bidi_streaming' || method.methodKind === 'client_streaming') continue;
    definition[method.localName] = methodDefinition(service, method);
    const rpc = findRpc(rpcs, method);
    implementation[method.localName] =
      method.methodKind === 'unary' ? unary(method, rpc, notes) : serverStreaming(method, rpc, notes);
  }
  return { definition, implementation };
}

function methodDefinition(service: DescService, method: DescMethod): MethodDefinition<unknown, unknown> {
  return {
    path: `/${service.typeName}/${method.name}`,
    requestStream: false,
    responseStream: method.methodKind === 'server_streaming',
    requestDeserialize: (bytes) => fromBytes(method.input, bytes, BINARY_OPTIONS),
    requestSerialize: (message) => toBytes(method.input, message as never),
    responseDeserialize: (bytes) => fromBytes(method.output, bytes),
    responseSerialize: (message) => toBytes(method.output, message as never),
  };
}

/** The rpc, or one that answers UNIMPLEMENTED. */
export function findRpc(rpcs: object, method: DescMethod): AnyRpc {
  return (rpcs as Record<string, AnyRpc | undefined>)[method.localName] ?? notImplemented(method);
}

function notImplemented(method: DescMethod): AnyRpc {
  // Thrown, not rejected: where a stream is expected nobody would await the promise.
  return () => {
    throw new RefusedError(refuse('NOT_IMPLEMENTED', `${method.name} is not supported by this version`));
  };
}

type Call = ServerUnaryCall<unknown, unknown> | ServerWritableStream<unknown, unknown>;

/** Few rpcs look at the signal, and grpc-js tells every call that it is cancelled when it is over: it is made when asked for. */
class CallCaller implements Caller {
  readonly namespace: string;
  readonly #call: Call;
  #signal: AbortSignal | null = null;

  constructor(call: Call) {
    this.namespace = namespaceOf(call.metadata);
    this.#call = call;
  }

  /** Aborts when the client has gone; grpc-js cancels a call whose deadline is over as well. */
  get signal(): AbortSignal {
    this.#signal ??= signalOf(this.#call);
    return this.#signal;
  }
}

function signalOf(call: Call): AbortSignal {
  const gone = new AbortController();
  const leave = () => gone.abort(new Error('the caller has gone'));
  if (call.cancelled) leave();
  else call.on('cancelled', leave);
  return gone.signal;
}

export function namespaceOf(metadata: Metadata): string {
  const [namespace] = metadata.get(NAMESPACE_KEY);
  return namespace === undefined || namespace === '' ? NAMESPACE_DEFAULT : String(namespace);
}

function unary(method: DescMethod, rpc: AnyRpc, notes: Notes) {
  return async (call: ServerUnaryCall<unknown, unknown>, callback: sendUnaryData<unknown>) => {
    try {
      admit(method, call.request, notes);
      callback(null, await rpc(call.request, new CallCaller(call)));
    } catch (error) {
      callback(statusOf(noted(error, method, notes)));
    }
  };
}

function serverStreaming(method: DescMethod, rpc: AnyRpc, notes: Notes) {
  return async (call: ServerWritableStream<unknown, unknown>) => {
    try {
      admit(method, call.request, notes);
      const caller = new CallCaller(call);
      for await (const message of rpc(call.request, caller) as AsyncIterable<unknown>) {
        if (caller.signal.aborted) return;
        if (!call.write(message)) await drained(call, caller.signal);
      }
      call.end();
    } catch (error) {
      call.emit('error', statusOf(noted(error, method, notes)));
    }
  };
}

/** Throws the refusal of a call that is not let in. */
export function admit(method: DescMethod, request: unknown, notes: Notes): void {
  const bad = notes.standingBy() ?? checkShape(method.input, request as never);
  if (bad) throw new RefusedError(bad);
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

/** What the caller is told of an error. */
export function noted(error: unknown, method: DescMethod, { log, meters }: Notes): Refusal {
  // Not the error itself: what a database says of one may quote a payload.
  if (!(error instanceof RefusedError)) log.error({ ...errorFacts(error), rpc: method.name }, 'rpc failed');
  const refusal = refusalOf(error);
  meters.refused(refusal.refused, 'call');
  return refusal;
}

/** Refuses before a message is read, streams included. Calls below `exempt`, a service's path, are let through. */
export function guard(gate: Gate, exempt: string, { meters }: Notes): ServerInterceptor {
  return (method, call) => {
    if (method.path.startsWith(exempt)) return call as ServerInterceptingCall;
    return new ServerInterceptingCall(call, {
      start(next) {
        next({
          onReceiveMetadata(metadata, then) {
            const refusal = gate(metadata.get('authorization')[0]?.toString());
            if (refusal === null) return then(metadata);
            meters.refused(refusal.refused, 'call');
            call.sendStatus(statusOf(refusal));
          },
        });
      },
    });
  };
}

export function statusOf(unbounded: Refusal): Partial<StatusObject> & { code: number; details: string } {
  const refusal = bounded(unbounded);
  const metadata = new Metadata();
  metadata.set(DETAILS_KEY, Buffer.from(statusBytes(refusal)));
  return { code: statusCode(refusal), details: refusal.message, metadata };
}
