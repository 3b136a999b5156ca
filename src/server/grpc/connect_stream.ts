/** WorkerService.Connect on @grpc/grpc-js: bytes in and out of a session. */
import { toBinary } from '@bufbuild/protobuf';
import type { MethodDefinition, ServerDuplexStream } from '@grpc/grpc-js';
import {
  type ConnectResponse,
  ConnectResponseSchema,
  WorkerService,
} from '../../../gen/yardmaster/v1/worker_service_pb.ts';
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
  responseSerialize: (message) => Buffer.from(toBinary(ConnectResponseSchema, message)),
  // Only a client would read responses.
  responseDeserialize: () => {
    throw new Error('not a client');
  },
};

type Call = ServerDuplexStream<Incoming, ConnectResponse>;

/** Carries one stream; `sessions` holds it as long as it lives, for a graceful stop. */
export function connectStream(plane: Plane, sessions: Set<Session>) {
  const silence = watchSilence(plane.clock, plane.times.silenceTimeoutMs);
  return (call: Call) => {
    const transport = new CallTransport(call);
    const session = createSession({ plane, namespace: namespaceOf(call.metadata), transport, silence });
    sessions.add(session);
    const over = () => {
      session.closed();
      sessions.delete(session);
    };
    call.on('data', (incoming: Incoming) => session.receive(incoming));
    call.on('drain', () => session.drained());
    call.on('cancelled', over);
    call.on('error', over);
    call.on('end', () => {
      over();
      transport.hangUp();
    });
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
