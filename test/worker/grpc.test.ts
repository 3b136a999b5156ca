import { create, toBinary } from '@bufbuild/protobuf';
import { anyPack } from '@bufbuild/protobuf/wkt';
import { status } from '@grpc/grpc-js';
import { afterEach, beforeEach, describe, expect, test } from 'vitest';
import { ErrorInfoSchema } from '../../gen/google/rpc/error_details_pb.ts';
import { StatusSchema } from '../../gen/google/rpc/status_pb.ts';
import { errorDetail } from '../../src/worker/error-detail.ts';
import { createWorker, type Worker, type WorkerEvent, type WorkerOptions } from '../../src/worker/index.ts';
import { FakeServer } from './fake-server.ts';
import { gate } from './fake-stream.ts';

let server: FakeServer;
let worker: Worker | undefined;

beforeEach(async () => {
  server = await FakeServer.start();
});

afterEach(async () => {
  await worker?.stop({ graceMs: 0 });
  server.stop();
  worker = undefined;
});

function make(options: Partial<WorkerOptions>): Worker {
  worker = createWorker({ address: server.address, name: 'one', actions: {}, ...options });
  return worker;
}

describe('over real sockets', () => {
  test('a stream that the server cuts is resumed, and work goes on', async () => {
    const handler = gate();
    const started = make({ actions: { work: () => handler.promise } }).start();
    const first = await server.peers.next();
    await first.take('hello');
    first.welcome();
    await started;
    first.runStep('a');
    await first.take('stepAccepted');
    first.end(status.UNAVAILABLE, 'restarting');
    const second = await server.peers.next();
    const hello = await second.take('hello');
    expect(hello.value.resume).toMatchObject({ sessionId: 's-1', heldAssignmentIds: ['a'] });
    second.welcome({ keptAssignmentIds: ['a'] });
    expect((await second.take('stepAccepted')).sequence).toBe(1);
    handler.open({ ok: true });
    expect((await second.take('stepSucceeded')).value.outputJson).toBe('{"ok":true}');
    second.acknowledge(2);
  });

  test('a server that goes away and comes back at the same address is found again', async () => {
    const started = make({}).start();
    const first = await server.peers.next();
    first.welcome();
    await started;
    const { address } = server;
    server.stop();
    server = await FakeServer.start(address);
    const second = await server.peers.next();
    expect((await second.take('hello')).value.resume?.sessionId).toBe('s-1');
  });

  test('a worker waits for a server that is not there yet', async () => {
    const { address } = server;
    server.stop();
    const events: WorkerEvent[] = [];
    let noticed: () => void = () => {};
    const failed = new Promise<void>((resolve) => {
      noticed = resolve;
    });
    const onEvent = (event: WorkerEvent) => {
      events.push(event);
      noticed();
    };
    const started = make({ address, onEvent }).start();
    await failed;
    expect(events[0]).toMatchObject({
      type: 'disconnected',
      reason: expect.stringContaining('UNAVAILABLE'),
    });
    server = await FakeServer.start(address);
    (await server.peers.next()).welcome();
    await started;
  });

  test('a refused hello rejects start', async () => {
    const started = make({}).start();
    (await server.peers.next()).end(status.FAILED_PRECONDITION, 'tags differ');
    await expect(started).rejects.toMatchObject({
      code: 'FAILED_PRECONDITION',
      message: 'tags differ',
    });
  });

  test('a handler is begun no more than a moment after its order was sent', async () => {
    const times: number[] = [];
    const started = make({
      actions: {
        work: () => {
          times.push(performance.now());
        },
      },
    }).start();
    const peer = await server.peers.next();
    await peer.take('hello');
    peer.welcome();
    await started;
    const delays: number[] = [];
    for (let count = 1; count <= 200; count += 1) {
      const from = performance.now();
      peer.runStep(`a${count}`);
      await peer.take('stepAccepted');
      await peer.take('stepSucceeded');
      peer.acknowledge(2 * count);
      delays.push((times.at(-1) ?? 0) - from);
    }
    delays.sort((a, b) => a - b);
    expect(delays[100]).toBeLessThan(10);
  });
});

describe('error details', () => {
  test('give the reason', () => {
    const info = create(ErrorInfoSchema, {
      reason: 'TAGS_DIFFER',
      domain: 'yardmaster',
      metadata: { a: 'b' },
    });
    const bytes = toBinary(StatusSchema, create(StatusSchema, { details: [anyPack(ErrorInfoSchema, info)] }));
    expect(errorDetail(bytes)).toEqual({ reason: 'TAGS_DIFFER', metadata: { a: 'b' } });
    expect(errorDetail(undefined).reason).toBe('');
    expect(errorDetail(new Uint8Array([255])).reason).toBe('');
  });
});
