import { status } from '@grpc/grpc-js';
import { describe, expect, it } from 'vitest';
import { unique, useYard } from '../support/conformance.ts';
import { desired, labelValue, optional, upsertBytes } from '../support/conformance_labels.ts';
import type { WorkerStream } from '../support/conformance_stream.ts';

const yard = useYard();

function labelsOf(count: number, from = 0): Record<string, number> {
  return Object.fromEntries(Array.from({ length: count }, (_, index) => [`key-${from + index}`, index]));
}

async function expectLabels(worker: WorkerStream, labels: object, labelsRevision: bigint): Promise<void> {
  expect(await yard.worker(worker.workerId)).toMatchObject({ labelsRevision });
  expect((await yard.worker(worker.workerId)).labels).toEqual(labels);
}

describe('labels: who gets it, and what changes it', () => {
  it('L6 ties spread evenly over 60 runs and 3 workers', async () => {
    const action = unique('l6');
    const hello = { actions: [action], slots: 60, labels: { zone: 'b' } };
    const workers = [await yard.connect(hello), await yard.connect(hello), await yard.connect(hello)];
    // Each could take all of them: what spreads them is the rank alone.
    await yard.submitMany(60, { action, desiredLabels: [desired('zone', 'EQUAL', 'b')] });
    await yard.quiet(...workers);
    expect(workers.map((worker) => worker.unread('runStep').length)).toEqual([20, 20, 20]);

    // And one after the other, each done before the next: then it goes round.
    const turns = unique('l6');
    const takers = [
      await yard.connect({ actions: [turns] }),
      await yard.connect({ actions: [turns] }),
      await yard.connect({ actions: [turns] }),
    ];
    const counts = [0, 0, 0];
    for (let index = 0; index < 60; index++) {
      await yard.submit({ action: turns });
      await yard.quiet(...takers);
      const taker = takers.findIndex((worker) => worker.unread('runStep').length > 0);
      counts[taker] = (counts[taker] ?? 0) + 1;
      await takers[taker]?.work();
    }
    expect(counts).toEqual([20, 20, 20]);
  });

  it('the worker with the lower share of its slots in use goes first', async () => {
    const action = unique('share');
    const small = await yard.connect({ actions: [action], slots: 10 });
    const large = await yard.connect({ actions: [action], slots: 30 });
    await yard.submitMany(20, { action });
    await yard.quiet(small, large);
    expect([small.unread('runStep').length, large.unread('runStep').length]).toEqual([5, 15]);
  });

  it('L7 with the best worker full, the next gets it at once', async () => {
    const action = unique('l7');
    const best = await yard.connect({ actions: [action], slots: 1, labels: { gpu: 'a100', ssd: 1 } });
    const next = await yard.connect({ actions: [action], slots: 1, labels: { ssd: 1 } });
    const last = await yard.connect({ actions: [action], slots: 1 });
    const step = { action, desiredLabels: [optional('gpu', 100), optional('ssd', 10)] };
    const runIds = [await yard.submit(step), await yard.submit(step), await yard.submit(step)];
    const given = [await best.next('runStep'), await next.next('runStep'), await last.next('runStep')];
    expect(given.map(({ runId }) => runId)).toEqual(runIds);
  });

  it('L8 a pending step is pushed on the upsert that makes it match, and by no other event', async () => {
    const action = unique('l8');
    const worker = await yard.connect({ actions: [action], labels: { memory: 128 } });
    const runId = await yard.submit({ action, desiredLabels: [desired('memory', 'GREATER_THAN', 256)] });
    await worker.settled(worker.upsert({ memory: 256 }));
    await yard.quiet(worker);
    expect(worker.unread('runStep')).toEqual([]);

    worker.upsert({ memory: 257 });
    const offer = await worker.next('runStep');
    expect(offer).toMatchObject({ runId, action, attempt: 1, labelsRevision: 3n });
    expect(worker.unread('labelsUpserted').at(-1)).toMatchObject({ labelsRevision: 3n });
  });

  it('L9 an upsert that ends a match stops new assignments and leaves running ones', async () => {
    const action = unique('l9');
    const worker = await yard.connect({ actions: [action], slots: 2, labels: { memory: 512 } });
    const step = { action, desiredLabels: [desired('memory', 'GREATER_THAN', 256)] };
    const running = await yard.submit(step);
    const offer = await worker.take();
    await worker.settled(worker.upsert({ memory: 128 }));
    const waiting = await yard.submit(step);
    await yard.quiet(worker);
    expect([...worker.unread('runStep'), ...worker.unread('cancelStep')]).toEqual([]);
    expect(await yard.stepState(waiting)).toBe('PENDING');
    expect(await yard.stepState(running)).toBe('RUNNING');
    await worker.settled(worker.succeed(offer, { done: true }));
    await yard.quiet(worker);
    expect(worker.unread('refused')).toEqual([]);
    expect(await yard.runState(running)).toBe('SUCCEEDED');
    expect(await yard.stepState(waiting)).toBe('PENDING');
  });

  it('L10 null removes, a partial upsert merges, the acknowledgement shows the merged set and the next revision', async () => {
    const name = unique('worker');
    const worker = await yard.connect({ name, labels: { memory: 256, zone: 'b', spot: 1 } });
    expect(worker.welcome).toMatchObject({ labelsRevision: 1n, labels: { memory: 256, zone: 'b', spot: 1 } });
    const sequence = worker.upsert({ memory: 512, spot: null, gpu: 'a100' });
    const answer = await worker.next('labelsUpserted');
    expect(answer.labelsRevision).toBe(2n);
    expect(answer.labels).toEqual({ memory: 512, zone: 'b', gpu: 'a100' });
    await worker.settled(sequence);
    await expectLabels(worker, { memory: 512, zone: 'b', gpu: 'a100' }, 2n);

    // Without labels in the hello the stored set stays; with them it is replaced.
    await worker.leave();
    const again = await yard.connect({ name });
    expect(again.welcome.labelsRevision).toBe(2n);
    expect(again.welcome.labels).toEqual({ memory: 512, zone: 'b', gpu: 'a100' });
    await again.leave();
    const anew = await yard.connect({ name, labels: { disk: 1 } });
    expect(anew.welcome.labelsRevision).toBe(3n);
    expect(anew.welcome.labels).toEqual({ disk: 1 });
  });

  it('L11 a refused upsert changes nothing', async () => {
    const worker = await yard.connect({ labels: labelsOf(60) });
    const bad: [what: string, bytes: (sequence: number) => Uint8Array, names: string][] = [
      ['65 labels', (at) => upsertBytes(at, fieldsOf({ 'key-0': 999, ...labelsOf(5, 60) })), '65'],
      ['NaN', (at) => upsertBytes(at, fieldsOf({ 'key-0': 999, odd: Number.NaN })), 'odd'],
      ['infinity', (at) => upsertBytes(at, fieldsOf({ 'key-0': 999, odd: Number.NEGATIVE_INFINITY })), 'odd'],
      ['300 bytes', (at) => upsertBytes(at, fieldsOf({ 'key-0': 999, odd: 'ä'.repeat(150) })), '300'],
      ['a long key', (at) => upsertBytes(at, fieldsOf({ 'key-0': 999, ['k'.repeat(129)]: 1 })), '129'],
      ['no kind', (at) => upsertBytes(at, { ...fieldsOf({ 'key-0': 999 }), odd: {} }), 'odd'],
      ['a boolean', (at) => upsertBytes(at, { odd: { kind: { case: 'boolValue', value: true } } }), 'odd'],
      ['an object', (at) => upsertBytes(at, { odd: { kind: { case: 'structValue', value: {} } } }), 'odd'],
      ['U+0000', (at) => upsertBytes(at, fieldsOf({ 'key-0': 999, odd: 'a\u0000b' })), 'odd'],
    ];
    for (const [what, bytes, names] of bad) {
      worker.sequence += 1;
      worker.sendBytes(bytes(worker.sequence));
      const refused = await worker.next('refused');
      expect(refused, what).toMatchObject({ sequence: BigInt(worker.sequence), code: status.INVALID_ARGUMENT });
      expect(refused.message, what).toContain(names);
      await worker.settled(worker.sequence);
      await expectLabels(worker, labelsOf(60), 1n);
    }
    expect(worker.unread('labelsUpserted')).toEqual([]);

    // The stream is up, and a partial upsert merges into what was there before all of these.
    const within = { 'key-0': 'changed', ...labelsOf(4, 60) };
    worker.sequence += 1;
    worker.sendBytes(upsertBytes(worker.sequence, fieldsOf(within)));
    const answer = await worker.next('labelsUpserted');
    expect(answer.labelsRevision).toBe(2n);
    expect(answer.labels).toEqual({ ...labelsOf(60), ...within });
  });

  it('the rate of label messages is limited, and says when to come again', async () => {
    const worker = await yard.connect({});
    for (let index = 0; index < 30; index++) worker.upsert({ index });
    const refused = await worker.next('refused');
    expect(refused).toMatchObject({ code: status.RESOURCE_EXHAUSTED, reason: 'RATE_LIMITED' });
    expect(refused.retryAfter).toBeDefined();
    await worker.settled(worker.sequence);
  });
});

function fieldsOf(labels: Record<string, string | number>) {
  return Object.fromEntries(Object.entries(labels).map(([key, value]) => [key, labelValue(value)]));
}
