/** Rows back to the engine, after a start or a fall. */
import type { Sql } from 'postgres';
import type { LiveRows } from '../engine/restore.ts';
import type { LiveRunRow, NamespaceRow, WorkerRow } from '../engine/rows.ts';

// Enough to keep the connection busy, little enough to keep memory flat with a million rows.
const ROWS_PER_FETCH = 5_000;

/** Everything the engine needs: the runs that have not ended (without their payloads), all workers and namespaces. */
export async function readLiveRows(sql: Sql): Promise<LiveRows> {
  const namespaces = await sql<NamespaceRow[]>`
    SELECT name, match_mode, retention_ms::float8 AS retention_ms, schedule_timeout_ms::float8 AS schedule_timeout_ms
    FROM namespaces ORDER BY name`;
  const workers = await sql<WorkerRow[]>`
    SELECT worker_id, worker_number::float8 AS worker_number, namespace, name, display_name, nickname, default_worker, tags,
      labels, labels_revision::float8 AS labels_revision, actions, slots, devices, sdk, draining, crashed, session_hash, reserved,
      completed_count::float8 AS completed_count, ${ms(sql, 'register')}, ${ms(sql, 'connect')}, ${ms(sql, 'last_seen')}
    FROM workers ORDER BY worker_number`;
  return { namespaces, workers, runs: await readLiveRuns(sql) };
}

async function readLiveRuns(sql: Sql): Promise<LiveRunRow[]> {
  const runs: LiveRunRow[] = [];
  const cursor = sql<LiveRunRow[]>`
    SELECT run_id, namespace, action, step_name, definition, runs_on, metadata, request_id, request_digest,
      revision::float8 AS revision, priority, state, step_state, ready_sequence::float8 AS ready_sequence, failures, losses,
      started, assignment_id, assignment_number, worker_id, worker_name, labels_revision::float8 AS labels_revision,
      cancel_reason, progress, failure, ${ms(sql, 'create')}, ${ms(sql, 'assign')}, ${ms(sql, 'accept')}, ${ms(sql, 'ready')},
      extract(epoch FROM schedule_deadline)::float8 * 1000 AS schedule_deadline_ms, ${ms(sql, 'start')}, ${ms(sql, 'end')}
    FROM runs WHERE end_time IS NULL ORDER BY ready_sequence`.cursor(ROWS_PER_FETCH);
  for await (const rows of cursor) for (const row of rows) runs.push(row);
  return runs;
}

/** `<name>_time` as milliseconds since the epoch, `<name>_ms`. */
function ms(sql: Sql, name: string) {
  return sql`extract(epoch FROM ${sql(`${name}_time`)})::float8 * 1000 AS ${sql(`${name}_ms`)}`;
}
