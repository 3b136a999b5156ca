/** Columns of the rows that the engine goes on from, as it wants to have them: numbers as numbers, times in milliseconds. */
import type { Sql } from 'postgres';

/** So many of the columns of LiveRunRow come first that seldom say the same in two rows. */
export const LIVE_RUN_OWN_COLUMNS = 8;
/** The same of LiveStepRow. */
export const LIVE_STEP_OWN_COLUMNS = 3;

/** Columns of LiveRunRow, of `runs`. */
export function liveRunColumns(sql: Sql) {
  return sql`run_id::text AS run_id, request_id, request_digest, number::float8 AS number, ${ms(sql, 'create')},
    ready_sequence::float8 AS ready_sequence, ${ms(sql, 'ready')}, ${deadlineMs(sql)},
    namespace, workflow, workflow_version, action, step_name, sticky, concurrency, depends_on, definition, runs_on, metadata,
    content_hash, executed_by_run_id::text AS executed_by_run_id, revision::float8 AS revision, priority, state,
    pinned_worker_id::text AS pinned_worker_id, kept_pin_worker_id::text AS kept_pin_worker_id, step_backs,
    ${ms(sql, 'start')}, ${stepColumns(sql)}`;
}

/** Columns of LiveStepRow, of `steps`. */
export function liveStepColumns(sql: Sql) {
  const of = sql`steps.`;
  return sql`steps.run_id::text AS run_id, step_id::text AS step_id, steps.ready_sequence::float8 AS ready_sequence,
    ${ms(sql, 'ready', of)}, ${deadlineMs(sql, of)}, name, place, generation, end_sequence::float8 AS end_sequence,
    ${stepColumns(sql, of)}`;
}

/**
 * What a step has, wherever it is, besides when and in which place it became ready. A row from before a column was added has null there: then nothing had been retried,
 * nothing but a backoff blocked a step, and an assignment that had ended unaccepted left no trace.
 */
function stepColumns(sql: Sql, of = sql``) {
  return sql`${of}step_state, ${of}failures, ${of}losses, ${of}invalid_input, ${of}started,
    coalesce(${of}blocked_on, CASE WHEN ${of}step_state = 'BLOCKED' THEN 'BACKING_OFF' END) AS blocked_on,
    CASE WHEN ${of}failures IS NOT NULL THEN coalesce(${of}attempt_base, 0) END AS attempt_base,
    coalesce(${of}assigned_once, ${of}started OR ${of}assignment_id IS NOT NULL) AS assigned_once,
    ${of}assignment_id::text AS assignment_id, ${of}assignment_number, ${of}worker_id::text AS worker_id, ${of}worker_name,
    ${of}device, ${of}labels_revision::float8 AS labels_revision, ${ms(sql, 'assign', of)}, ${ms(sql, 'accept', of)},
    ${ms(sql, 'end', of)}, ${of}cancel_reason, ${of}progress, ${of}failure,
    coalesce(octet_length(${of}output), 0) AS output_bytes`;
}

function deadlineMs(sql: Sql, of = sql``) {
  return sql`date_part('epoch', ${of}schedule_deadline) * 1000 AS schedule_deadline_ms`;
}

/** Columns of WorkflowRow, of `workflows`. */
export function workflowColumns(sql: Sql) {
  return sql`workflows.namespace, workflows.name, version, definition, source, ${ms(sql, 'create')}`;
}

/** `<name>_time` as milliseconds since the epoch, `<name>_ms`. */
export function ms(sql: Sql, name: string, of = sql``) {
  return sql`date_part('epoch', ${of}${sql(`${name}_time`)}) * 1000 AS ${sql(`${name}_ms`)}`;
}
