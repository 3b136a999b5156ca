import { status } from '@grpc/grpc-js';
import { describe, expect, test } from 'vitest';
import { LabelsRefusedError } from '../../src/worker/index.ts';
import { settle } from './fake-clock.ts';
import { cut, stage } from './fake-stream.ts';

describe('labels', () => {
  test('one upsert at a time; calls made meanwhile travel together', async () => {
    const { peer, worker } = await stage({ labels: { a: 1 } }, { labels: { a: 1 }, labelsRevision: 1n });
    const first = worker.upsertLabels({ a: 2 });
    const rest = [worker.upsertLabels({ b: 'x', c: 1 }), worker.upsertLabels({ c: null })];
    expect((await peer.take('upsertLabels')).value.labels).toEqual({ a: 2 });
    expect(peer.waiting()).toEqual([]);
    peer.send({ case: 'labelsUpserted', value: { labels: { a: 2 }, labelsRevision: 2n } }, 1);
    expect(await first).toEqual({ a: 2 });
    expect((await peer.take('upsertLabels')).value.labels).toEqual({ b: 'x', c: null });
    peer.send({ case: 'labelsUpserted', value: { labels: { a: 2, b: 'x' }, labelsRevision: 3n } }, 2);
    expect(await Promise.all(rest)).toEqual([
      { a: 2, b: 'x' },
      { a: 2, b: 'x' },
    ]);
    expect(worker.labels()).toEqual({ a: 2, b: 'x' });
  });

  test('stays under the rate it is told', async () => {
    const { peer, worker, clock } = await stage({}, { limits: { labelMessagesPerSecond: 10 } });
    let seen = 0;
    for (let ms = 0; ms < 1_000; ms += 10) {
      void worker.upsertLabels({ ms });
      await settle();
      if (peer.waiting().length > 0) {
        await peer.take('upsertLabels');
        seen += 1;
        peer.send({ case: 'labelsUpserted', value: { labels: { ms } } });
      }
      await clock.advance(10);
    }
    expect(seen).toBe(9);
    await clock.advance(1);
    expect((await peer.take('upsertLabels')).value.labels).toEqual({ ms: 990 });
  });

  test('a refused batch is taken apart: only the call at fault fails', async () => {
    const { peer, worker } = await stage({});
    const first = worker.upsertLabels({ a: 1 });
    const good = worker.upsertLabels({ b: 1 });
    const bad = worker.upsertLabels({ c: 'too long' });
    bad.catch(() => {});
    await peer.take('upsertLabels');
    peer.send({ case: 'labelsUpserted', value: { labels: { a: 1 } } });
    await first;
    peer.refuse((await peer.take('upsertLabels')).sequence, 'LIMIT_EXCEEDED');
    expect((await peer.take('upsertLabels')).value.labels).toEqual({ b: 1 });
    peer.send({ case: 'labelsUpserted', value: { labels: { a: 1, b: 1 } } });
    expect(await good).toEqual({ a: 1, b: 1 });
    peer.refuse((await peer.take('upsertLabels')).sequence, 'LIMIT_EXCEEDED');
    await expect(bad).rejects.toMatchObject({
      name: 'LabelsRefusedError',
      reason: 'LIMIT_EXCEEDED',
    });
  });

  test('refused with retry_after is sent again', async () => {
    const { peer, worker, clock } = await stage({});
    const upserted = worker.upsertLabels({ a: 1 });
    peer.refuse((await peer.take('upsertLabels')).sequence, 'RATE_LIMITED', 300);
    await clock.advance(299);
    expect(peer.waiting()).toEqual([]);
    await clock.advance(1);
    await peer.take('upsertLabels');
    peer.send({ case: 'labelsUpserted', value: { labels: { a: 1 } } });
    expect(await upserted).toEqual({ a: 1 });
  });

  test('what no label can be is refused here', async () => {
    const { peer, worker } = await stage({});
    await expect(worker.upsertLabels({ a: Number.NaN })).rejects.toBeInstanceOf(LabelsRefusedError);
    await expect(worker.upsertLabels({ a: true as never })).rejects.toMatchObject({
      reason: 'INVALID_LABEL',
      metadata: { key: 'a' },
    });
    expect(peer.waiting()).toEqual([]);
    await expect(stage({ labels: { a: Number.POSITIVE_INFINITY } })).rejects.toThrow('finite number');
  });

  test('unanswered at a cut they travel in hello, and resolve from the welcome', async () => {
    const current = await stage({}, { labels: { old: 1, gone: 2 } });
    const first = current.worker.upsertLabels({ a: 1 });
    const second = current.worker.upsertLabels({ gone: null });
    const hello = await cut(current, { labels: { old: 1, a: 1 } });
    expect(hello.labels).toEqual({ old: 1, a: 1 });
    expect(await first).toEqual({ old: 1, a: 1 });
    expect(await second).toEqual({ old: 1, a: 1 });
    expect(current.peer.waiting()).toEqual([]);
  });

  test('a hello that is refused for them is tried without them', async () => {
    const { peer, worker, clock, peers } = await stage({}, { labels: { old: 1 } });
    const upserted = worker.upsertLabels({ a: 'x'.repeat(300) });
    upserted.catch(() => {});
    peer.end(status.UNAVAILABLE);
    await clock.advance(100);
    (await peers.next()).end(status.INVALID_ARGUMENT, 'label a is too long');
    await expect(upserted).rejects.toThrow('label a is too long');
    const third = await peers.next();
    expect((await third.take('hello')).value.labels).toEqual({ old: 1 });
  });

  test('asked for before the stored set is known, they wait for it instead of replacing it', async () => {
    const { peer, worker } = await stage({}, 'none');
    const upserted = worker.upsertLabels({ a: 1 });
    expect((await peer.take('hello')).value.labels).toBeUndefined();
    peer.welcome({ labels: { stored: 1 } });
    expect((await peer.take('upsertLabels')).value.labels).toEqual({ a: 1 });
    peer.send({ case: 'labelsUpserted', value: { labels: { stored: 1, a: 1 } } });
    expect(await upserted).toEqual({ stored: 1, a: 1 });
  });

  test('never spoken of, they are left alone by a reconnecting hello', async () => {
    const current = await stage({}, { labels: { stored: 1 } });
    expect((await cut(current)).labels).toBeUndefined();
  });
});
