/** Who decides: the guard of a batch, the epoch, the lock, and connections that are cut at the worst moment. */
import { afterAll, beforeAll, beforeEach, describe, expect, it } from 'vitest';
import { isRefusal } from '../../src/domain/refusal.ts';
import { createEngine } from '../../src/engine/engine.ts';
import { systemClock } from '../../src/lib/clock.ts';
import { SILENT_LOG } from '../../src/lib/log.ts';
import { systemIds } from '../../src/lib/random.ts';
import { createBatch, type Entry, type SealedBatch } from '../../src/store/batch.ts';
import { becomeHolder, DeposedError, type Holder } from '../../src/store/holder.ts';
import { createJournal } from '../../src/store/journal.ts';
import type { RunOptions } from '../support/engine.ts';
import { draftOf } from '../support/engine.ts';
import {
  aMoment,
  endHolder,
  lockers,
  movingClock,
  openTestStore,
  someoneWaits,
  type TestStore,
  WAIT,
} from '../support/store.ts';

const JOURNAL = 'yardmaster journal';
const ids = systemIds();
let store: TestStore;
let holder: Holder;

beforeAll(async () => {
  store = await openTestStore();
});
afterAll(() => store.close());
beforeEach(async () => {
  holder = await becomeHolder(store.database, 'first', SILENT_LOG);
  return () => holder.release();
});

function submit(options: RunOptions = {}) {
  const engine = createEngine({ nowMs: Date.now() });
  const runId = ids.orderedId();
  const { changes, result } = engine.apply({ kind: 'schedule_runs', runs: [draftOf(runId, options)] }, Date.now(), ids);
  if (isRefusal(result)) throw new Error(result.message);
  return { runId, changes };
}

const NOBODY: Entry = { command: 'test', release() {}, abandon() {} };

function batchOfOne(): { runId: string; batch: SealedBatch } {
  const { runId, changes } = submit();
  const batch = createBatch();
  batch.add(changes, NOBODY);
  return { runId, batch: batch.seal() };
}

const isStored = async (runId: string) => (await store.sql`SELECT 1 FROM runs WHERE run_id = ${runId}`).length;
const readHolder = async () => (await store.sql`SELECT epoch::int, batch::int, name FROM holder`)[0];

describe('the guard', () => {
  it('lets a batch in once', async () => {
    const { runId, batch } = batchOfOne();
    await holder.commit(batch, 1);
    expect(await isStored(runId)).toBe(1);
    expect(await readHolder()).toMatchObject({ epoch: holder.epoch, batch: 1, name: 'first' });
  });

  it('a batch sent again is recognised, and changes nothing', async () => {
    const { runId, batch } = batchOfOne();
    await holder.commit(batch, 1);
    const before = await store.sql`SELECT xmin::text, ctid::text FROM runs WHERE run_id = ${runId}`;
    await holder.commit(batch, 1);
    expect(await store.sql`SELECT xmin::text, ctid::text FROM runs WHERE run_id = ${runId}`).toEqual(before);
  });

  it('a number that is not the next writes nothing', async () => {
    const { runId, batch } = batchOfOne();
    await expect(holder.commit(batch, 3)).rejects.toThrow(DeposedError);
    expect(await isStored(runId)).toBe(0);
  });

  it('a stale epoch writes nothing', async () => {
    await store.sql`UPDATE holder SET epoch = epoch + 1, batch = 0`;
    const { runId, batch } = batchOfOne();
    await expect(holder.commit(batch, 1)).rejects.toThrow(DeposedError);
    expect(await isStored(runId)).toBe(0);
  });

  it('every part of a batch stands behind it', async () => {
    const engine = createEngine({ nowMs: Date.now() });
    const changes = [
      engine.apply(
        { kind: 'put_namespace', name: 'guarded', matchMode: null, retentionMs: null, scheduleTimeoutMs: null },
        Date.now(),
        ids,
      ),
      engine.apply(
        { kind: 'register_worker', namespace: 'default', name: 'guarded', tags: [], nickname: '' },
        Date.now(),
        ids,
      ),
      engine.apply({ kind: 'schedule_runs', runs: [draftOf(ids.orderedId())] }, Date.now(), ids),
    ].flatMap((outcome) => outcome.changes);
    const batch = createBatch();
    batch.add(changes, NOBODY);
    const sealed = batch.seal();
    expect(sealed.parts).toEqual(['runs_insert', 'workers', 'namespaces']);
    await store.sql`UPDATE holder SET epoch = epoch + 1, batch = 0`;
    await expect(holder.commit(sealed, 1)).rejects.toThrow(DeposedError);
    expect(
      await store.sql`SELECT 1 FROM namespaces WHERE name = 'guarded' UNION ALL SELECT 1 FROM workers WHERE name = 'guarded'`,
    ).toHaveLength(0);
  });
});

describe('the lock', () => {
  it('a second process waits for it, and follows when the first is gone', async () => {
    let taken = false;
    const second = becomeHolder(store.database, 'second', SILENT_LOG).then((value) => {
      taken = true;
      return value;
    });
    await someoneWaits(store);
    expect(taken).toBe(false);
    await endHolder(store);
    const successor = await second;
    expect(successor.epoch).toBe(holder.epoch + 1);
    const { runId, batch } = batchOfOne();
    // That its connection is gone may be the first thing it finds.
    const outcome = () =>
      holder.commit(batch, 1).then(
        () => 'written',
        (error: Error) => error.name,
      );
    await expect.poll(outcome, WAIT).toBe('DeposedError');
    expect(await isStored(runId)).toBe(0);
    await successor.commit(batch, 1);
    expect(await isStored(runId)).toBe(1);
    await successor.release();
  });

  it('waiting for it can be given up', async () => {
    const giveUp = new AbortController();
    const waiting = becomeHolder(store.database, 'impatient', SILENT_LOG, { signal: giveUp.signal });
    await someoneWaits(store);
    giveUp.abort(new Error('enough'));
    await expect(waiting).rejects.toThrow();
    expect(await readHolder()).toMatchObject({ epoch: holder.epoch });
  });

  it('is taken again, with every setting, after the connection was cut', async () => {
    await endHolder(store);
    await commitStubbornly(holder, batchOfOne().batch, 1);
    expect(await lockers(store, true)).toHaveLength(1);
    const settings = [
      'plan_cache_mode',
      'enable_seqscan',
      'enable_hashjoin',
      'enable_mergejoin',
      'jit',
      'application_name',
    ];
    const shown = await Promise.all(
      settings.map(async (name) => Object.values((await holder.sql.unsafe(`SHOW ${name}`))[0] ?? {})[0]),
    );
    expect(shown).toEqual(['force_generic_plan', 'off', 'off', 'off', 'off', JOURNAL]);
  });

  it('is taken from a backend that has not noticed that its client is gone', async () => {
    store.proxy.abandon(JOURNAL);
    const { runId, batch } = batchOfOne();
    await commitStubbornly(holder, batch, 1);
    expect(await isStored(runId)).toBe(1);
  });
});

describe('a journal whose connection is cut', () => {
  async function journalOver(cut: (name: string) => Promise<void>) {
    const released: string[] = [];
    const journal = createJournal({
      commit: (batch, number) => holder.commit(batch, number),
      clock: systemClock(),
      fraction: () => 0,
      log: store.log,
      onFatal: (error) => released.push(`fatal: ${error}`),
    });
    // The statement is known to the connection, as it is in the middle of a day.
    const warm = submit();
    journal.add(warm.changes, NOBODY);
    await journal.settled();
    const done = cut(JOURNAL);
    const { runId, changes } = submit();
    journal.add(changes, {
      command: 'test',
      release: () => released.push(runId),
      abandon: (why) => released.push(why),
    });
    await done;
    const storedWhenCut = await isStored(runId);
    expect(released).toEqual([]);
    await journal.settled();
    expect(released).toEqual([runId]);
    expect(await isStored(runId)).toBe(1);
    expect(await readHolder()).toMatchObject({ epoch: holder.epoch, batch: 2 });
    return storedWhenCut;
  }

  it('after the commit, before its answer: found there, released once', async () => {
    expect(await journalOver(store.proxy.cutAfter)).toBe(1);
  });

  it('before the statement arrived: sent again, released once', async () => {
    expect(await journalOver(store.proxy.cutBefore)).toBe(0);
  });

  it('again and again, at either place: every command once, in order', async () => {
    const released: string[] = [];
    const journal = createJournal({
      commit: (batch, number) => holder.commit(batch, number),
      clock: systemClock(),
      fraction: () => 0,
      log: store.log,
      onFatal: (error) => released.push(`fatal: ${error}`),
    });
    const runIds: string[] = [];
    for (let round = 0; round < 12; round++) {
      const cut = round % 2 === 0 ? store.proxy.cutAfter(JOURNAL) : store.proxy.cutBefore(JOURNAL);
      for (let index = 0; index < 3; index++) {
        const { runId, changes } = submit();
        runIds.push(runId);
        journal.add(changes, {
          command: 'test',
          release: () => released.push(runId),
          abandon: (why) => released.push(why),
        });
        await null;
      }
      await cut;
      await journal.settled();
    }
    expect(released).toEqual(runIds);
    expect(await store.sql`SELECT run_id FROM runs WHERE run_id IN ${store.sql(runIds)}`).toHaveLength(runIds.length);
  });

  it('silently, so that no answer ever comes: given up after a while, and sent again', async () => {
    const clock = movingClock();
    await holder.release();
    holder = await becomeHolder(store.database, 'patient', SILENT_LOG, { clock });
    const { runId, batch } = batchOfOne();
    store.proxy.hold();
    const commit = holder.commit(batch, 1);
    // The statement has been sent; setImmediate comes after the client's own.
    await aMoment();
    clock.advance(30_000);
    await expect(commit).rejects.toMatchObject({ code: 'CONNECTION_DESTROYED' });
    store.proxy.resume();
    await commitStubbornly(holder, batch, 1);
    expect(await isStored(runId)).toBe(1);
    expect(await readHolder()).toMatchObject({ epoch: holder.epoch, batch: 1 });
  });
});

/** As the journal does: whatever may pass is tried again. */
async function commitStubbornly(by: Holder, batch: SealedBatch, number: number): Promise<void> {
  await expect
    .poll(
      () =>
        by.commit(batch, number).then(
          () => 'written',
          (error) => error,
        ),
      WAIT,
    )
    .toBe('written');
}
