/** WorkerService.Connect on @grpc/grpc-js: bytes in and out of a session. */
import type { MethodDefinition, ServerDuplexStream } from '@grpc/grpc-js';
import {
  type ConnectResponse,
  ConnectResponseSchema,
  WorkerService,
} from '../../../gen/yardmaster/v1/worker_service_pb.ts';
import { toBytes } from '../../lib/wire/to_bytes.ts';
import { refusalOf } from '../errors.ts';
import type { Plane } from '../plane.ts';
import { type Incoming, readIncoming } from '../session/incoming.ts';
import type { Transport } from '../session/outgoing.ts';
import { createSession, type Session } from '../session/session.ts';
import { watchSilence } from '../session/silence.ts';
import { namespaceOf, statusOf } from './adapter.ts';

export const CONNECT_DEFINITION: MethodDefinition<Incoming, ConnectResponse> = {
  path: `/${WorkerService.typeName}/${WorkerService.method.connect.name}`,
  requestStream: true,
  responseStream: true,
  requestDeserialize: readIncoming,
  requestSerialize: (incoming) => Buffer.from(incoming.bytes),
  responseSerialize: (message) => toBytes(ConnectResponseSchema, message),
  // Only a client would read responses.
  responseDeserialize: () => {
    throw new Error('not a client');
  },
};

type Call = ServerDuplexStream<Incoming, ConnectResponse>;

interface Carried {
  readonly session: Session;
  readonly transport: CallTransport;
}

/** The streams that live. */
export type Streams = Map<Call, Carried>;

/** Carries each stream, and keeps it in `streams` as long as it lives, for a graceful stop. */
export function connectStream(plane: Plane, streams: Streams) {
  const silence = watchSilence(plane.clock, plane.times.silenceTimeoutMs);

  // The call is what they are called with: closures for each stream would take more than its session.
  function onData(this: Call, incoming: Incoming): void {
    streams.get(this)?.session.receive(incoming);
  }

  function onDrain(this: Call): void {
    streams.get(this)?.session.drained();
  }

  function onOver(this: Call): void {
    const carried = streams.get(this);
    streams.delete(this);
    carried?.session.closed();
  }

  function onEnd(this: Call): void {
    const carried = streams.get(this);
    onOver.call(this);
    carried?.transport.hangUp();
  }

  return (call: Call) => {
    const transport = new CallTransport(call);
    const session = createSession({ plane, namespace: namespaceOf(call.metadata), transport, silence });
    streams.set(call, { session, transport });
    call.on('data', onData);
    call.on('drain', onDrain);
    call.on('cancelled', onOver);
    call.on('error', onOver);
    call.on('end', onEnd);
  };
}

class CallTransport implements Transport {
  private readonly call: Call;
  private ended = false;

  constructor(call: Call) {
    this.call = call;
  }

  write(message: ConnectResponse): boolean {
    return this.call.write(message);
  }

  end(error?: unknown): void {
    if (error === undefined) {
      this.hangUp();
      return;
    }
    if (this.ended) return;
    this.ended = true;
    this.call.emit('error', statusOf(refusalOf(error)));
  }

  hangUp(): void {
    if (!this.ended) this.call.end();
    this.ended = true;
  }
}
