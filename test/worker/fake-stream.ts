/** Streams without sockets: messages cross encoded, in the same turn. */
import { fromBinary, toBinary } from '@bufbuild/protobuf';
import { status } from '@grpc/grpc-js';
import { ConnectRequestSchema, ConnectResponseSchema } from '../../gen/yardmaster/v1/worker_service_pb.ts';
import type { OpenStream } from '../../src/worker/connection.ts';
import type { Worker, WorkerEvent, WorkerOptions } from '../../src/worker/index.ts';
import { createWorkerOn } from '../../src/worker/worker.ts';
import { FakeClock } from './fake-clock.ts';
import { Peer, Peers } from './peer.ts';

function memoryStreams(peers: Peers): OpenStream {
  return (listener) => {
    let over = false;
    const peer = new Peer({
      send: (response) => {
        const bytes = toBinary(ConnectResponseSchema, response);
        if (!over) listener.received(fromBinary(ConnectResponseSchema, bytes));
      },
      end: (code = 0, message = '', details?: Uint8Array) => {
        if (over) return;
        over = true;
        listener.ended({ code, codeName: status[code] ?? '', message, details });
      },
    });
    peers.add(peer);
    return {
      write: (request) => {
        const bytes = toBinary(ConnectRequestSchema, request);
        if (!over) peer.heard(fromBinary(ConnectRequestSchema, bytes));
      },
      end: () => peer.left(),
      destroy: () => {
        over = true;
        peer.left();
      },
    };
  };
}

export interface Stage {
  worker: Worker;
  clock: FakeClock;
  peers: Peers;
  events: WorkerEvent[];
  /** The stream that is open now, its hello taken. */
  peer: Peer;
}

/** A worker on a fake clock and memory streams, started and welcomed unless told otherwise. */
export async function stage(
  options: Partial<WorkerOptions>,
  welcome: Parameters<Peer['welcome']>[0] | 'none' = {},
): Promise<Stage> {
  const clock = new FakeClock();
  const peers = new Peers();
  const events: WorkerEvent[] = [];
  const worker = createWorkerOn(
    { name: 'one', actions: {}, onEvent: (event) => events.push(event), ...options },
    { clock, fraction: () => 0.5, openStream: memoryStreams(peers) },
  );
  const started = worker.start();
  started.catch(() => {});
  const peer = await peers.next();
  if (welcome !== 'none') {
    await peer.take('hello');
    peer.welcome(welcome);
    await started;
  }
  return { worker, clock, peers, events, peer };
}

/** Cuts the stream and welcomes the worker on the next one; returns its hello too. */
export async function cut(
  current: Stage,
  welcome: Parameters<Peer['welcome']>[0] = {},
): Promise<Awaited<ReturnType<typeof takeHello>>> {
  current.peer.end(status.UNAVAILABLE, 'cut');
  await current.clock.advance(1_000);
  current.peer = await current.peers.next();
  const hello = await takeHello(current.peer);
  current.peer.welcome(welcome);
  return hello;
}

async function takeHello(peer: Peer) {
  return (await peer.take('hello')).value;
}

/** A handler that ends when the test says so. */
export function gate<Value = unknown>() {
  let open!: (value: Value) => void;
  let fail!: (error: unknown) => void;
  const promise = new Promise<Value>((resolve, reject) => {
    open = resolve;
    fail = reject;
  });
  return { promise, open, fail };
}
