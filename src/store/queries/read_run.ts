import type { Sql } from 'postgres';
import type { RunView } from '../../engine/views.ts';
import { type RunRow, runColumns, type StoredAttempt, viewOfRow } from './run_row.ts';

/** One run with its payloads and every attempt, or null. One statement: an attempt that ends meanwhile is seen once. */
export async function readRun(sql: Sql, namespace: string, runId: string): Promise<RunView | null> {
  const [row] = await sql<(RunRow & { attempts: StoredAttempt[] | null })[]>`
    SELECT ${runColumns(sql, true)}, (
      SELECT json_agg(a ORDER BY a.assign_time, a.end_time) FROM (
        SELECT assignment_id, number, worker_id, worker_name, labels_revision, outcome, failure, assign_time, end_time,
          extract(epoch FROM assign_time)::float8 * 1000 AS assign_ms, extract(epoch FROM accept_time)::float8 * 1000 AS accept_ms,
          extract(epoch FROM end_time)::float8 * 1000 AS end_ms
        FROM attempts WHERE run_id = runs.run_id
      ) a
    ) AS attempts
    FROM runs WHERE run_id = ${runId} AND namespace = ${namespace}`;
  return row === undefined ? null : viewOfRow(row, row.attempts ?? []);
}
