import { afterEach, beforeEach, expect, test } from 'vitest';
import { createWorker, type Worker } from '../../src/worker/index.ts';
import { FakeServer } from './fake-server.ts';

let server: FakeServer;
let worker: Worker | undefined;
beforeEach(async () => {
  server = await FakeServer.start();
});
afterEach(async () => {
  await worker?.stop({ graceMs: 0 });
  server.stop();
});

test('connects, runs a step, upserts labels, says goodbye', async () => {
  worker = createWorker({
    address: server.address,
    token: 'secret',
    namespace: 'blue',
    name: 'one',
    tags: ['gpu'],
    labels: { memory: 128 },
    actions: { work: async (ctx) => ({ doubled: (ctx.input as { n: number }).n * 2 }) },
  });
  const started = worker.start();
  const peer = await server.peers.next();
  expect(peer.metadata).toMatchObject({
    authorization: 'Bearer secret',
    'yardmaster-namespace': 'blue',
  });
  const hello = await peer.take('hello');
  expect(hello.sequence).toBe(0);
  expect(hello.value).toMatchObject({
    name: 'one',
    tags: ['gpu'],
    labels: { memory: 128 },
    actions: ['work'],
    slots: 1,
  });
  peer.welcome({ labels: { memory: 128 }, labelsRevision: 1n });
  await started;
  expect(worker.id).toBe('w-1');

  peer.runStep('a-1');
  expect(await peer.take('stepAccepted')).toMatchObject({
    sequence: 1,
    value: { assignmentId: 'a-1' },
  });
  expect(await peer.take('stepSucceeded')).toMatchObject({
    sequence: 2,
    value: { outputJson: '{"doubled":2}' },
  });
  peer.acknowledge(2);

  const upserted = worker.upsertLabels({ memory: 512, disk: null });
  expect(await peer.take('upsertLabels')).toMatchObject({
    sequence: 3,
    value: { labels: { memory: 512, disk: null } },
  });
  peer.send({ case: 'labelsUpserted', value: { labels: { memory: 512 }, labelsRevision: 2n } }, 3);
  expect(await upserted).toEqual({ memory: 512 });

  const stopped = worker.stop({ reason: 'bye' });
  await peer.take('slotsChanged');
  expect(await peer.take('goodbye')).toMatchObject({ sequence: 0, value: { reason: 'bye' } });
  await peer.gone;
  peer.end();
  await stopped;
  expect(await worker.closed).toEqual({ kind: 'stopped' });
});
