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
import { createSession, type Session } from '../session/session.ts';
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

/** Carries one stream; `sessions` holds it as long as it lives, for a graceful stop. */
export function connectStream(plane: Plane, sessions: Set<Session>) {
  return (call: ServerDuplexStream<Incoming, ConnectResponse>) => {
    let ended = false;
    const session = createSession({
      plane,
      namespace: namespaceOf(call.metadata),
      transport: {
        write: (message) => call.write(message),
        end(error) {
          if (ended) return;
          ended = true;
          if (error === undefined) call.end();
          else call.emit('error', statusOf(refusalOf(error)));
        },
      },
    });
    sessions.add(session);
    const over = () => {
      session.closed();
      sessions.delete(session);
    };
    call.on('data', session.receive);
    call.on('drain', session.drained);
    call.on('cancelled', over);
    call.on('error', over);
    call.on('end', () => {
      over();
      if (!ended) call.end();
      ended = true;
    });
  };
}
