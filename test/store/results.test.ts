/** Successes that equal runs are answered with: written and purged by batches, looked up, and gone with their runs. */
import { v7 } from 'uuid';
import { afterAll, beforeAll, beforeEach, describe, expect, it } from 'vitest';
import type { ResultRow } from '../../src/engine/rows.ts';
import type { Change } from '../../src/engine/turn.ts';
import { SILENT_LOG } from '../../src/lib/log.ts';
import { createBatch } from '../../src/store/batch.ts';
import { becomeHolder, type Holder } from '../../src/store/holder.ts';
import { findSuccesses } from '../../src/store/queries/find_successes.ts';
import { purgeResults } from '../../src/store/queries/purge_results.ts';
import { readLiveRows } from '../../src/store/recovery.ts';
import { FIRST_RUN_ID, scanExpired } from '../../src/store/retention.ts';
import { openTestStore, type TestStore } from '../support/store.ts';

let store: TestStore;
let holder: Holder;
let batchNumber = 0;
beforeAll(async () => {
  store = await openTestStore();
  holder = await becomeHolder(store.database, 'test', SILENT_LOG);
});
afterAll(async () => {
  await holder.release();
  await store.close();
});
beforeEach(async () => {
  await store.sql`TRUNCATE results, runs`;
});

function resultOf(contentHash: string, rest: Partial<ResultRow> = {}): ResultRow {
  return { namespace: 'default', content_hash: contentHash, target: 'action:build', version: 0, run_id: v7(), ...rest };
}

const set = (result: ResultRow): Change => ({ table: 'results', result });
const purge = (contentHash: string | null, namespace = 'default'): Change => ({
  table: 'results_purge',
  namespace,
  contentHash,
});

/** One commit of these changes, in this order. */
async function commit(...changes: Change[]): Promise<void> {
  const batch = createBatch();
  batch.add(changes, { command: 'test', release: () => {}, abandon: () => {} });
  batchNumber += 1;
  await holder.commit(batch.seal(), batchNumber);
}

const stored = () => store.sql<ResultRow[]>`
  SELECT namespace, content_hash, target, version, run_id FROM results ORDER BY content_hash, target, version`;

describe('a batch', () => {
  it('keeps the last success of a key', async () => {
    const [first, second, third] = [resultOf('x'), resultOf('x'), resultOf('x')];
    await commit(set(first), set(second));
    expect(await stored()).toEqual([second]);
    await commit(set(third));
    expect(await stored()).toEqual([third]);
  });

  it('purges by hash or all of a namespace, and leaves the other ones', async () => {
    const [x, y, elsewhere] = [resultOf('x'), resultOf('y'), resultOf('x', { namespace: 'other' })];
    await commit(set(x), set(y), set(elsewhere));
    await commit(purge('x'));
    expect(await stored()).toEqual([elsewhere, y]);
    await commit(purge(null));
    expect(await stored()).toEqual([elsewhere]);
  });

  it('with a purge among its successes forgets those before it and keeps those after it', async () => {
    const [before, between, after] = [resultOf('x'), resultOf('x'), resultOf('x')];
    await commit(set(before));
    await commit(set(between), purge('x'), set(after));
    expect(await stored()).toEqual([after]);
    await commit(set(before), purge(null), set(between), purge('x'));
    expect(await stored()).toEqual([]);
    const others = [resultOf('a'), resultOf('b')] as const;
    await commit(set(others[0]), set(others[1]), purge('a'));
    expect(await stored()).toEqual([others[1]]);
  });

  it('that deletes a run deletes what it was a success of', async () => {
    const [x, y] = [resultOf('x'), resultOf('y')];
    await commit(set(x), set(y));
    await commit({ table: 'retired', runId: x.run_id });
    expect(await stored()).toEqual([y]);
  });
});

describe('a success', () => {
  it('is found by hash, what carries it out and version; without one the newest is', async () => {
    const action = resultOf('x');
    const [one, two] = [1, 2].map((version) => resultOf('x', { target: 'workflow:flow', version }));
    await commit(set(action), set(one as ResultRow), set(two as ResultRow));
    const ask = (contentHash: string, target: string, version: number | null) => ({ contentHash, target, version });
    const found = await findSuccesses(store.sql, 'default', [
      ask('x', 'workflow:flow', null),
      ask('x', 'action:build', 0),
      ask('x', 'workflow:flow', 1),
      ask('x', 'workflow:flow', 3),
      ask('x', 'workflow:other', null),
      ask('y', 'action:build', 0),
      ask('x', 'action:build', 0),
    ]);
    const runIds = found.map((success) => success?.runId ?? null);
    expect(runIds).toEqual([two?.run_id, action.run_id, one?.run_id, null, null, null, action.run_id]);
    expect(found[0]?.version).toBe(2);
    expect(await findSuccesses(store.sql, 'other', [ask('x', 'action:build', 0)])).toEqual([null]);
  });

  it('is read at recovery when a run that has not ended may be answered with it', async () => {
    const [wanted, unwanted] = [resultOf('x'), resultOf('y')];
    await commit(set(wanted), set(unwanted));
    await insertRun(v7(), { contentHash: 'x', ended: false });
    await insertRun(v7(), { contentHash: 'y', ended: true });
    expect((await readLiveRows(holder.sql)).results).toEqual([wanted]);
  });

  it('is purged page by page, and counted', async () => {
    await store.sql`
      INSERT INTO results (namespace, content_hash, target, version, run_id)
      SELECT 'default', n::text, 'action:build', 0, gen_random_uuid() FROM generate_series(1, 12000) AS n`;
    expect(await purgeResults(store.sql, 'default', '77')).toBe(1);
    expect(await purgeResults(store.sql, 'other', null)).toBe(0);
    expect(await purgeResults(store.sql, 'default', null)).toBe(11_999);
    expect(await stored()).toEqual([]);
  });
});

async function insertRun(
  runId: string,
  { contentHash, ended, executor = null }: { contentHash: string; ended: boolean; executor?: string | null },
): Promise<void> {
  await store.sql`
    INSERT INTO runs (run_id, namespace, action, definition, runs_on, metadata, input, create_time, revision, priority, state,
      step_state, end_time, content_hash, executed_by_run_id)
    VALUES (${runId}, 'default', 'build', '{}', '[]', '{}', '1', now(), 1, 2, 'SUCCEEDED', 'SUCCEEDED',
      ${ended ? new Date(0) : null}, ${contentHash}, ${executor})`;
}

it('keeps a run that others are read through as long as they are there', async () => {
  const [executor, follower] = [v7({ msecs: 1_000 }), v7({ msecs: 2_000 })];
  await insertRun(executor, { contentHash: 'x', ended: true });
  await insertRun(follower, { contentHash: 'x', ended: true, executor });
  const scan = { namespace: 'default', afterRunId: FIRST_RUN_ID, cutoffMs: 10_000 };
  const expired = async () => (await scanExpired(store.sql, scan)).expired.map(({ runId }) => runId);
  expect(await expired()).toEqual([follower]);
  await commit({ table: 'retired', runId: follower });
  expect(await expired()).toEqual([executor]);
});
