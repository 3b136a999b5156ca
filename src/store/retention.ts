/** Finds ended runs that are no longer to be kept, and deletes their log lines. */
import type { Sql } from 'postgres';
import type { ExpiredRun } from '../engine/commands.ts';
import { DeposedError } from './holder.ts';

/** Runs looked at by one statement. */
export const SCANNED_MAX = 1_000;
/** Lines deleted by one statement: whoever writes lines waits for no more than that. */
export const LINES_PER_DELETE = 5_000;

/** Before every run of a namespace. */
export const FIRST_RUN_ID = '00000000-0000-0000-0000-000000000000';

export interface Scan {
  readonly namespace: string;
  /** Goes on after this run. */
  readonly afterRunId: string;
  /** Runs that ended before this are found. */
  readonly cutoffMs: number;
}

export interface Scanned {
  readonly expired: readonly ExpiredRun[];
  /** The last one looked at; null: there are no more that are old enough. */
  readonly lastRunId: string | null;
}

interface Row {
  readonly run_id: string;
  readonly workflow: string;
  readonly action: string | null;
  readonly step_state: ExpiredRun['steps'][number]['state'] | null;
  readonly end_ms: number | null;
  /** Equal runs are kept whose output is read through it: it goes after the last of them. */
  readonly is_executor: boolean;
  readonly steps: readonly { readonly action: string; readonly state: ExpiredRun['steps'][number]['state'] }[] | null;
}

/**
 * The oldest runs of the namespace, a slice of them. Run ids begin with the time of the submission, and nothing ends
 * before that: the index that pages a namespace's runs finds them, and none has to be kept for ends.
 */
export async function scanExpired(sql: Sql, { namespace, afterRunId, cutoffMs }: Scan): Promise<Scanned> {
  const rows = await sql<Row[]>`
    WITH scanned AS (
      SELECT run_id, coalesce(workflow, '') AS workflow, action, step_state, end_time FROM runs
      WHERE namespace = ${namespace} AND run_id > ${afterRunId} AND run_id < ${runIdAt(cutoffMs)}
      ORDER BY run_id LIMIT ${SCANNED_MAX}
    )
    SELECT run_id, workflow, action, step_state, extract(epoch FROM end_time)::float8 * 1000 AS end_ms,
      CASE WHEN action IS NULL AND end_time <= to_timestamp(${cutoffMs}::float8 / 1000) THEN (
        SELECT json_agg(json_build_object('action', s.action, 'state', s.step_state))
        FROM steps s WHERE s.run_id = scanned.run_id
      ) END AS steps,
      EXISTS (SELECT 1 FROM runs equal WHERE equal.executed_by_run_id = scanned.run_id) AS is_executor
    FROM scanned ORDER BY run_id`;
  const expired: ExpiredRun[] = [];
  for (const {
    run_id: runId,
    workflow,
    action,
    step_state: state,
    end_ms: endMs,
    is_executor,
    steps: several,
  } of rows) {
    if (endMs === null || endMs > cutoffMs || is_executor) continue;
    const steps = several ?? (action === null || state === null ? [] : [{ action, state }]);
    expired.push({ runId, namespace, workflow, endMs, steps });
  }
  return { expired, lastRunId: rows.length < SCANNED_MAX ? null : (rows.at(-1)?.run_id ?? null) };
}

const TIME_HEX_DIGITS = 12;
const HIGH_HEX_DIGITS = 8;

/** The lowest id that a run submitted at this time can have: a UUID of version 7. */
export function runIdAt(ms: number): string {
  const time = Math.max(0, Math.floor(ms)).toString(16).padStart(TIME_HEX_DIGITS, '0');
  return `${time.slice(0, HIGH_HEX_DIGITS)}-${time.slice(HIGH_HEX_DIGITS)}-7000-8000-000000000000`;
}

/** Deletes the lines of these runs, a slice at a time; only for whoever decides. */
export async function deleteLogs(sql: Sql, epoch: number, runIds: readonly string[]): Promise<void> {
  const ids = JSON.stringify(runIds);
  for (let deleted = LINES_PER_DELETE; deleted === LINES_PER_DELETE; ) {
    const [answer] = await sql.unsafe<{ guarded: number; deleted: number }[]>(DELETE_LINES, [epoch, ids], {
      prepare: true,
    });
    if (answer?.guarded !== 1)
      throw new DeposedError(`log lines were not deleted for epoch ${epoch}: another epoch has begun`);
    deleted = answer.deleted;
  }
}

// As with the writing of lines, the guard takes no lock on the holder's row. Totals go with the last of the lines.
const DELETE_LINES = `
  WITH guard AS (SELECT 1 FROM holder WHERE id = 1 AND epoch = $1::bigint),
  ids AS (SELECT json_array_elements_text($2::text::json)::uuid AS run_id FROM guard),
  chosen AS (SELECT t.ctid FROM ids JOIN step_logs t USING (run_id) LIMIT ${LINES_PER_DELETE}),
  gone AS (DELETE FROM step_logs t WHERE t.ctid = ANY(ARRAY(SELECT ctid FROM chosen)) RETURNING 1),
  totals AS (DELETE FROM step_log_totals t USING ids WHERE t.run_id = ids.run_id)
  SELECT (SELECT count(*) FROM guard)::int AS guarded, (SELECT count(*) FROM gone)::int AS deleted`;
