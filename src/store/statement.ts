/** The one statement of a batch: a guard, and one write per table that has rows. Built once for each set of tables. */
import { arrayText } from './array_text.ts';

type SqlType = 'uuid' | 'text' | 'bigint' | 'integer' | 'smallint' | 'boolean' | 'time';

/** [column, type, key of the row image]. A `time` comes as milliseconds and is stored as timestamptz. */
type Column = readonly [column: string, type: SqlType, key: string];

/** What a step has that changes, whether it shares its run's row or has one of its own. */
const STEP: readonly Column[] = [
  ['step_state', 'text', 'step_state'],
  ['blocked_on', 'text', 'blocked_on'],
  ['ready_sequence', 'bigint', 'ready_sequence'],
  ['failures', 'integer', 'failures'],
  ['losses', 'integer', 'losses'],
  ['invalid_input', 'text', 'invalid_input'],
  ['attempt_base', 'integer', 'attempt_base'],
  ['started', 'boolean', 'started'],
  ['assigned_once', 'boolean', 'assigned_once'],
  ['assignment_id', 'uuid', 'assignment_id'],
  ['assignment_number', 'integer', 'assignment_number'],
  ['worker_id', 'uuid', 'worker_id'],
  ['worker_name', 'text', 'worker_name'],
  ['device', 'text', 'device'],
  ['labels_revision', 'bigint', 'labels_revision'],
  ['assign_time', 'time', 'assign_ms'],
  ['accept_time', 'time', 'accept_ms'],
  ['ready_time', 'time', 'ready_ms'],
  ['schedule_deadline', 'time', 'schedule_deadline_ms'],
  ['end_time', 'time', 'end_ms'],
  ['cancel_reason', 'text', 'cancel_reason'],
  ['progress', 'text', 'progress'],
  ['failure', 'text', 'failure'],
  ['why', 'text', 'why'],
  ['output', 'text', 'output'],
];

const RUN_ID: Column = ['run_id', 'uuid', 'run_id'];
const RUN_KEY: readonly Column[] = [RUN_ID];

const RUN_UPDATE: readonly Column[] = [
  ['revision', 'bigint', 'revision'],
  ['priority', 'smallint', 'priority'],
  ['state', 'text', 'state'],
  ['start_time', 'time', 'start_ms'],
  ['runs_on', 'text', 'runs_on'],
  ['pinned_worker_id', 'uuid', 'pinned_worker_id'],
  ['kept_pin_worker_id', 'uuid', 'kept_pin_worker_id'],
  ['executed_by_run_id', 'uuid', 'executed_by_run_id'],
  ['step_backs', 'integer', 'step_backs'],
  ...STEP,
];

/** What an assignment changes in a row of a run of one step: a third of the columns, and less than half of the time. */
const RUN_ASSIGN: readonly Column[] = [
  ['revision', 'bigint', 'revision'],
  ['step_state', 'text', 'step_state'],
  ['assigned_once', 'boolean', 'assigned_once'],
  ['assignment_id', 'uuid', 'assignment_id'],
  ['assignment_number', 'integer', 'assignment_number'],
  ['worker_id', 'uuid', 'worker_id'],
  ['worker_name', 'text', 'worker_name'],
  ['device', 'text', 'device'],
  ['labels_revision', 'bigint', 'labels_revision'],
  ['assign_time', 'time', 'assign_ms'],
  ['pinned_worker_id', 'uuid', 'pinned_worker_id'],
  ['why', 'text', 'why'],
];

/** What its acceptance and its success change. */
const RUN_EXECUTE: readonly Column[] = [
  ['revision', 'bigint', 'revision'],
  ['state', 'text', 'state'],
  ['start_time', 'time', 'start_ms'],
  ['kept_pin_worker_id', 'uuid', 'kept_pin_worker_id'],
  ['step_state', 'text', 'step_state'],
  ['started', 'boolean', 'started'],
  ['accept_time', 'time', 'accept_ms'],
  ['end_time', 'time', 'end_ms'],
  ['progress', 'text', 'progress'],
  ['output', 'text', 'output'],
];

const RUN_INSERT: readonly Column[] = [
  ...RUN_KEY,
  ['namespace', 'text', 'namespace'],
  ['workflow', 'text', 'workflow'],
  ['workflow_version', 'integer', 'workflow_version'],
  ['number', 'bigint', 'number'],
  ['action', 'text', 'action'],
  ['step_name', 'text', 'step_name'],
  ['sticky', 'text', 'sticky'],
  ['concurrency', 'text', 'concurrency'],
  ['depends_on', 'text', 'depends_on'],
  ['definition', 'text', 'definition'],
  ['metadata', 'text', 'metadata'],
  ['input', 'text', 'input'],
  ['request_id', 'text', 'request_id'],
  ['request_digest', 'text', 'request_digest'],
  ['content_hash', 'text', 'content_hash'],
  ['create_time', 'time', 'create_ms'],
  ...RUN_UPDATE,
];

const STEP_KEY: readonly Column[] = [...RUN_KEY, ['name', 'text', 'name']];

const STEP_UPDATE: readonly Column[] = [
  ['generation', 'integer', 'generation'],
  ['end_sequence', 'bigint', 'end_sequence'],
  ...STEP,
];

const STEP_INSERT: readonly Column[] = [
  ...STEP_KEY,
  ['step_id', 'uuid', 'step_id'],
  ['place', 'integer', 'place'],
  ['action', 'text', 'action'],
  ...STEP_UPDATE,
];

const STEP_OUTPUT: readonly Column[] = [
  ...RUN_KEY,
  ['step_name', 'text', 'step_name'],
  ['generation', 'integer', 'generation'],
  ['output', 'text', 'output'],
];

const STEP_TOTALS: readonly Column[] = [
  ['namespace', 'text', 'namespace'],
  ['workflow', 'text', 'workflow'],
  ['action', 'text', 'action'],
  ['succeeded', 'bigint', 'succeeded'],
  ['failed', 'bigint', 'failed'],
];

const RUN_TOTALS: readonly Column[] = [
  ['namespace', 'text', 'namespace'],
  ['workflow', 'text', 'workflow'],
  ['ended', 'bigint', 'ended'],
];

const LEADERBOARD: readonly Column[] = [
  ['namespace', 'text', 'namespace'],
  ['nickname', 'text', 'nickname'],
  ['completed_count', 'bigint', 'completed_count'],
];

const WORKFLOW: readonly Column[] = [
  ['namespace', 'text', 'namespace'],
  ['name', 'text', 'name'],
  ['version', 'integer', 'version'],
  ['definition', 'text', 'definition'],
  ['source', 'text', 'source'],
  ['create_time', 'time', 'create_ms'],
];

const WORKFLOW_NAME: readonly Column[] = [
  ['namespace', 'text', 'namespace'],
  ['name', 'text', 'name'],
  ['latest_version', 'integer', 'latest_version'],
  ['last_number', 'bigint', 'last_number'],
];

const RESULT: readonly Column[] = [
  ['namespace', 'text', 'namespace'],
  ['content_hash', 'text', 'content_hash'],
  ['target', 'text', 'target'],
  ['version', 'integer', 'version'],
  ['run_id', 'uuid', 'run_id'],
];

const RESULTS_PURGE: readonly Column[] = [
  ['namespace', 'text', 'namespace'],
  ['content_hash', 'text', 'content_hash'],
];

const ATTEMPT: readonly Column[] = [
  ['assignment_id', 'uuid', 'assignment_id'],
  ['run_id', 'uuid', 'run_id'],
  ['step_name', 'text', 'step_name'],
  ['number', 'integer', 'number'],
  ['worker_id', 'uuid', 'worker_id'],
  ['worker_name', 'text', 'worker_name'],
  ['device', 'text', 'device'],
  ['labels_revision', 'bigint', 'labels_revision'],
  ['assign_time', 'time', 'assign_ms'],
  ['accept_time', 'time', 'accept_ms'],
  ['end_time', 'time', 'end_ms'],
  ['outcome', 'text', 'outcome'],
  ['fact', 'text', 'fact'],
  ['failure', 'text', 'failure'],
  ['why', 'text', 'why'],
];

const WORKER: readonly Column[] = [
  ['worker_id', 'uuid', 'worker_id'],
  ['worker_number', 'bigint', 'worker_number'],
  ['namespace', 'text', 'namespace'],
  ['name', 'text', 'name'],
  ['display_name', 'text', 'display_name'],
  ['nickname', 'text', 'nickname'],
  ['default_worker', 'boolean', 'default_worker'],
  ['tags', 'text', 'tags'],
  ['labels', 'text', 'labels'],
  ['labels_revision', 'bigint', 'labels_revision'],
  ['actions', 'text', 'actions'],
  ['slots', 'integer', 'slots'],
  ['devices', 'text', 'devices'],
  ['sdk', 'text', 'sdk'],
  ['draining', 'boolean', 'draining'],
  ['crashed', 'boolean', 'crashed'],
  ['session_hash', 'text', 'session_hash'],
  ['reserved', 'text', 'reserved'],
  ['completed_count', 'bigint', 'completed_count'],
  ['register_time', 'time', 'register_ms'],
  ['connect_time', 'time', 'connect_ms'],
  ['last_seen_time', 'time', 'last_seen_ms'],
];

const NAMESPACE: readonly Column[] = [
  ['name', 'text', 'name'],
  ['match_mode', 'text', 'match_mode'],
  ['retention_ms', 'bigint', 'retention_ms'],
  ['schedule_timeout_ms', 'bigint', 'schedule_timeout_ms'],
];

/** The parts of a batch. A row is in at most one of them, so no two writes of a statement meet. */
export type Part =
  | 'runs_insert'
  | 'runs_update'
  | 'runs_assign'
  | 'runs_execute'
  | 'steps_insert'
  | 'steps_update'
  | 'attempts'
  | 'step_outputs'
  | 'step_totals'
  | 'run_totals'
  | 'leaderboard'
  | 'workflows'
  | 'workflow_names'
  | 'results'
  | 'results_purge'
  | 'workers'
  | 'workers_delete'
  | 'namespaces'
  | 'retired_runs'
  | 'retired_steps'
  | 'retired_step_outputs'
  | 'retired_attempts'
  | 'retired_results';

/** What is known only at some moments, and left alone by every image that does not bring it. */
const KEPT: Readonly<Record<string, string>> = {
  output: 'coalesce(r.output, t.output)',
  runs_on: 'coalesce(r.runs_on, t.runs_on)',
  // Of the assignment in the row: another one, or none, does not inherit it.
  why: 'CASE WHEN r.why IS NULL AND r.assignment_id = t.assignment_id THEN t.why ELSE r.why END',
};

/** A write: the columns that its rows bring, and its SQL, given what stands for those rows. */
interface Write {
  readonly columns: readonly Column[];
  sql(rows: string): string;
}

const WRITES: Readonly<Record<Part, Write>> = {
  runs_insert: insert('runs', RUN_INSERT),
  runs_update: update('runs', RUN_KEY, RUN_UPDATE),
  runs_assign: update('runs', RUN_KEY, RUN_ASSIGN),
  runs_execute: update('runs', RUN_KEY, RUN_EXECUTE),
  steps_insert: insert('steps', STEP_INSERT),
  steps_update: update('steps', STEP_KEY, STEP_UPDATE),
  // An attempt that ended is written once; the same batch tried again never gets this far.
  attempts: insert('attempts', ATTEMPT),
  step_outputs: upsert('step_outputs', STEP_OUTPUT, ['run_id', 'step_name', 'generation']),
  step_totals: upsert('step_totals', STEP_TOTALS, ['namespace', 'workflow', 'action']),
  run_totals: upsert('run_totals', RUN_TOTALS, ['namespace', 'workflow']),
  leaderboard: upsert('leaderboard', LEADERBOARD, ['namespace', 'nickname']),
  // A version never changes.
  workflows: insert('workflows', WORKFLOW),
  workflow_names: upsert('workflow_names', WORKFLOW_NAME, ['namespace', 'name']),
  results: upsert('results', RESULT, ['namespace', 'content_hash', 'target', 'version']),
  // A success after the purge may be in the same statement: whichever write comes to the row first, that success stays.
  results_purge: {
    columns: RESULTS_PURGE,
    sql: (rows) => `DELETE FROM results t USING guard, ${rows}
      WHERE t.namespace = r.namespace AND (r.content_hash IS NULL OR t.content_hash = r.content_hash)`,
  },
  workers: upsert('workers', WORKER, ['worker_id']),
  workers_delete: remove('workers', ['worker_id', 'uuid', 'worker_id']),
  namespaces: upsert('namespaces', NAMESPACE, ['name']),
  // Lines go before, on a connection where they keep nobody waiting.
  retired_runs: remove('runs', RUN_ID),
  retired_steps: remove('steps', RUN_ID),
  retired_step_outputs: remove('step_outputs', RUN_ID),
  retired_attempts: remove('attempts', RUN_ID),
  retired_results: remove('results', RUN_ID),
};

export const PARTS = Object.keys(WRITES) as Part[];

/**
 * The rows of a part, as a table `r`: one array a column. As text first: a parameter of an array type would be encoded by the client. From
 * JSON a row of a run took PostgreSQL twice the time, and a column that is null in every row costs nothing as an array.
 */
function rowsFrom(columns: readonly Column[], firstParameter: number): string {
  const arrays = columns.map(
    ([, type], index) => `$${firstParameter + index}::text::${type === 'time' ? 'float8' : type}[]`,
  );
  return `unnest(${arrays.join(', ')}) AS r(${columns.map(([, , key]) => `"${key}"`).join(', ')})`;
}

function value([, type, key]: Column): string {
  return type === 'time' ? `to_timestamp(r."${key}" / 1000)` : `r."${key}"`;
}

function insert(table: string, columns: readonly Column[]): Write {
  const names = columns.map(([column]) => column).join(', ');
  const values = columns.map(value).join(', ');
  return { columns, sql: (rows) => `INSERT INTO ${table} (${names}) SELECT ${values} FROM guard, ${rows}` };
}

function upsert(table: string, columns: readonly Column[], key: readonly string[]): Write {
  const sets = columns.filter(([column]) => !key.includes(column)).map(([column]) => `${column} = excluded.${column}`);
  const inserted = insert(table, columns);
  const sql = (rows: string) =>
    `${inserted.sql(rows)} ON CONFLICT (${key.join(', ')}) DO UPDATE SET ${sets.join(', ')}`;
  return { columns, sql };
}

/** An UPDATE rather than an upsert: a run's input, which may be a megabyte, then travels only once. */
function update(table: string, key: readonly Column[], columns: readonly Column[]): Write {
  const sets = columns.map((column) => `${column[0]} = ${KEPT[column[0]] ?? value(column)}`);
  const matches = key.map(([column]) => `t.${column} = r.${column}`);
  const sql = (rows: string) =>
    `UPDATE ${table} t SET ${sets.join(', ')} FROM guard, ${rows} WHERE ${matches.join(' AND ')}`;
  return { columns: [...key, ...columns], sql };
}

function remove(table: string, key: Column): Write {
  const sql = (rows: string) => `DELETE FROM ${table} t USING guard, ${rows} WHERE t.${key[0]} = r.${key[0]}`;
  return { columns: [key], sql };
}

const texts = new Map<string, string>();

/**
 * The statement that writes these parts; parameters: epoch, batch, then those of `parametersOf` of each part, in order.
 * The guard comes first and everything joins it: with another epoch, or another batch than the next, nothing is
 * written. Whatever is written renews the lease; without parts it does nothing else. The answer is one row: `guarded` (0 or 1), and the holder's epoch and batch as they were before.
 */
export function batchStatement(parts: readonly Part[]): string {
  const key = parts.join();
  let text = texts.get(key);
  if (text === undefined) {
    let parameter = 3;
    const writes = parts.map((part) => {
      const { columns, sql } = WRITES[part];
      const write = `, ${part} AS (${sql(rowsFrom(columns, parameter))})`;
      parameter += columns.length;
      return write;
    });
    text = `WITH guard AS (
      UPDATE holder SET batch = $2::bigint, lease_end_time = clock_timestamp() + lease_ms * interval '1 millisecond' WHERE id = 1 AND epoch = $1::bigint AND batch = $2::bigint - 1 RETURNING 1
    )${writes.join('')}
    SELECT (SELECT count(*) FROM guard)::int AS guarded, epoch::float8 AS epoch, batch::float8 AS batch FROM holder WHERE id = 1`;
    texts.set(key, text);
  }
  return text;
}

/** The rows of a part as its parameters: the text of an array for each of its columns. */
export function parametersOf(part: Part, rows: readonly object[]): string[] {
  return WRITES[part].columns.map(([, type, key]) => arrayText(rows, key, type === 'text'));
}
