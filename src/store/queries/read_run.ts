import type { Sql } from 'postgres';
import type { RunView } from '../../engine/views.ts';
import { type AttemptRow, type RunRow, runColumns, viewOfRow } from './run_row.ts';

/** One run with its payloads and every attempt, or null. */
export async function readRun(sql: Sql, namespace: string, runId: string): Promise<RunView | null> {
  const [row] = await sql<RunRow[]>`
    SELECT ${runColumns(sql, true)} FROM runs WHERE run_id = ${runId} AND namespace = ${namespace}`;
  if (row === undefined) return null;
  const attempts = await sql<AttemptRow[]>`
    SELECT assignment_id, number, worker_id, worker_name, labels_revision::float8 AS labels_revision, outcome, failure,
      extract(epoch FROM assign_time)::float8 * 1000 AS assign_ms, extract(epoch FROM accept_time)::float8 * 1000 AS accept_ms,
      extract(epoch FROM end_time)::float8 * 1000 AS end_ms
    FROM attempts WHERE run_id = ${runId} ORDER BY assign_time, end_time`;
  return viewOfRow(row, attempts);
}
