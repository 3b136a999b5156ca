/** Only who decides deletes, and looking for what is old costs no more than what is looked at. */
import { v7 } from 'uuid';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import type { Change } from '../../src/engine/turn.ts';
import { SILENT_LOG } from '../../src/lib/log.ts';
import { createBatch } from '../../src/store/batch.ts';
import { becomeHolder, DeposedError, type Holder } from '../../src/store/holder.ts';
import {
  deleteLogs,
  FIRST_RUN_ID,
  LINES_PER_DELETE,
  runIdAt,
  SCANNED_MAX,
  scanExpired,
} from '../../src/store/retention.ts';
import { openTestStore, type TestStore } from '../support/store.ts';

const START_MS = 1_700_000_000_000;

let store: TestStore;
let holder: Holder;
beforeAll(async () => {
  store = await openTestStore();
  holder = await becomeHolder(store.database, 'test', SILENT_LOG);
});
afterAll(async () => {
  await holder.release();
  await store.close();
});

/** Ended runs without steps of their own, one a second, and their ids. */
async function insertRuns(count: number, namespace: string): Promise<string[]> {
  const runs = Array.from({ length: count }, (_, index) => {
    const ms = START_MS + index * 1_000;
    return { run_id: v7({ msecs: ms }), ms };
  });
  await store.sql`
    INSERT INTO runs (run_id, namespace, action, definition, runs_on, metadata, input, create_time, revision, priority, state,
      step_state, end_time)
    SELECT run_id, ${namespace}, 'build', '{}', '[]', '{}', '1', to_timestamp(ms / 1000), 1, 2, 'SUCCEEDED', 'SUCCEEDED',
      to_timestamp(ms / 1000)
    FROM json_to_recordset(${JSON.stringify(runs)}::text::json) AS r(run_id uuid, ms float8)`;
  return runs.map(({ run_id }) => run_id);
}

async function insertLines(runId: string, count: number): Promise<void> {
  await store.sql`
    INSERT INTO step_logs (assignment_id, line_number, run_id, step_name, attempt, line_time, level, text)
    SELECT ${runId}, n, ${runId}, 'step', 1, now(), 2, 'line' FROM generate_series(1, ${count}) AS n`;
  await store.sql`
    INSERT INTO step_log_totals (assignment_id, run_id, stored_bytes, cut_bytes) VALUES (${runId}, ${runId}, 1, 0)`;
}

async function linesOf(runId: string): Promise<number> {
  const [row] = await store.sql<{ count: number }[]>`
    SELECT ((SELECT count(*) FROM step_logs WHERE run_id = ${runId})
      + (SELECT count(*) FROM step_log_totals WHERE run_id = ${runId}))::int AS count`;
  return row?.count ?? 0;
}

function batchOf(changes: readonly Change[]) {
  const batch = createBatch();
  batch.add(changes, { command: 'test', release: () => {}, abandon: () => {} });
  return batch.seal();
}

const exists = async (runId: string) => (await store.sql`SELECT 1 FROM runs WHERE run_id = ${runId}`).length === 1;

describe('a run that is deleted', () => {
  it('is deleted by who decides, and by nobody who did before', async () => {
    const [first = '', second = ''] = await insertRuns(2, 'fence');
    await insertLines(second, 3);
    const batch = batchOf([{ table: 'retired', runId: first }]);
    await holder.commit(batch, 1);
    expect(await exists(first)).toBe(false);
    expect(await exists(second)).toBe(true);

    const { epoch } = holder;
    await store.sql`UPDATE holder SET epoch = epoch + 1`;
    await expect(holder.commit(batchOf([{ table: 'retired', runId: second }]), 2)).rejects.toThrow(DeposedError);
    await expect(deleteLogs(store.sql, epoch, [second])).rejects.toThrow(DeposedError);
    expect(await exists(second)).toBe(true);
    expect(await linesOf(second)).toBe(4);
    await store.sql`UPDATE holder SET epoch = ${epoch}`;
  });

  it('loses its lines, slice by slice, and nobody else does', async () => {
    const [loud = '', other = ''] = await insertRuns(2, 'lines');
    await insertLines(loud, 2 * LINES_PER_DELETE + 1);
    await insertLines(other, 2);
    await deleteLogs(store.sql, holder.epoch, [loud]);
    expect(await linesOf(loud)).toBe(0);
    expect(await linesOf(other)).toBe(3);
  });
});

describe('what is to be deleted', () => {
  it('is found slice by slice, oldest first, up to the time it is kept for', async () => {
    const runIds = await insertRuns(SCANNED_MAX + 500, 'scan');
    const cutoffMs = START_MS + (SCANNED_MAX + 100) * 1_000 - 1;
    const scan = (afterRunId: string) => scanExpired(store.sql, { namespace: 'scan', afterRunId, cutoffMs });
    const first = await scan(FIRST_RUN_ID);
    expect(first.expired.map(({ runId }) => runId)).toEqual(runIds.slice(0, SCANNED_MAX));
    expect(first.expired[0]).toEqual({
      runId: runIds[0],
      namespace: 'scan',
      workflow: '',
      endMs: START_MS,
      steps: [{ action: 'build', state: 'SUCCEEDED' }],
    });
    expect(first.lastRunId).toBe(runIds[SCANNED_MAX - 1]);
    const second = await scan(first.lastRunId ?? '');
    expect(second.expired.map(({ runId }) => runId)).toEqual(runIds.slice(SCANNED_MAX, SCANNED_MAX + 100));
    expect(second.lastRunId).toBeNull();
  });

  it('is looked for by the index of a namespace: nothing else is read', async () => {
    await insertRuns(20_000, 'large');
    await store.sql`ANALYZE runs`;
    const bounds = [runIdAt(START_MS + 5_000_000), runIdAt(START_MS + 15_000_000)];
    const plan = await store.sql.unsafe(
      `EXPLAIN SELECT run_id, end_time FROM runs WHERE namespace = 'large' AND run_id > '${bounds[0]}'
        AND run_id < '${bounds[1]}' ORDER BY run_id LIMIT ${SCANNED_MAX}`,
    );
    const text = plan.map((row) => Object.values(row)[0]).join('\n');
    // Either of the two that are in the order of the ids.
    expect(text).toMatch(/Index Scan using runs_(by_namespace|pkey)/);
    expect(text).not.toMatch(/Seq Scan|Sort/);
  });

  it.each([0, 1, START_MS, START_MS + 0.9])('no id of a run of %d or later is before the bound', (ms) => {
    expect(v7({ msecs: Math.floor(ms), seq: 0 }) >= runIdAt(ms)).toBe(true);
    expect(v7({ msecs: Math.max(0, Math.floor(ms) - 1), seq: 0xffffffff }) < runIdAt(ms) || ms < 1).toBe(true);
  });
});
