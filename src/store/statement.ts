/** The one statement of a batch: a guard, and one write per table that has rows. Built once for each set of tables. */

type SqlType = 'uuid' | 'text' | 'bigint' | 'integer' | 'smallint' | 'boolean' | 'time';

/** [column, type, key of the row image]. A `time` comes as milliseconds and is stored as timestamptz. */
type Column = readonly [column: string, type: SqlType, key: string];

const RUN_UPDATE: readonly Column[] = [
  ['revision', 'bigint', 'revision'],
  ['priority', 'smallint', 'priority'],
  ['state', 'text', 'state'],
  ['step_state', 'text', 'step_state'],
  ['ready_sequence', 'bigint', 'ready_sequence'],
  ['failures', 'integer', 'failures'],
  ['losses', 'integer', 'losses'],
  ['started', 'boolean', 'started'],
  ['assignment_id', 'uuid', 'assignment_id'],
  ['assignment_number', 'integer', 'assignment_number'],
  ['worker_id', 'uuid', 'worker_id'],
  ['worker_name', 'text', 'worker_name'],
  ['labels_revision', 'bigint', 'labels_revision'],
  ['assign_time', 'time', 'assign_ms'],
  ['accept_time', 'time', 'accept_ms'],
  ['ready_time', 'time', 'ready_ms'],
  ['schedule_deadline', 'time', 'schedule_deadline_ms'],
  ['start_time', 'time', 'start_ms'],
  ['end_time', 'time', 'end_ms'],
  ['cancel_reason', 'text', 'cancel_reason'],
  ['progress', 'text', 'progress'],
  ['failure', 'text', 'failure'],
];

const RUN_INSERT: readonly Column[] = [
  ['run_id', 'uuid', 'run_id'],
  ['namespace', 'text', 'namespace'],
  ['action', 'text', 'action'],
  ['step_name', 'text', 'step_name'],
  ['definition', 'text', 'definition'],
  ['runs_on', 'text', 'runs_on'],
  ['metadata', 'text', 'metadata'],
  ['input', 'text', 'input'],
  ['request_id', 'text', 'request_id'],
  ['request_digest', 'text', 'request_digest'],
  ['create_time', 'time', 'create_ms'],
  ['output', 'text', 'output'],
  ...RUN_UPDATE,
];

const ATTEMPT: readonly Column[] = [
  ['assignment_id', 'uuid', 'assignment_id'],
  ['run_id', 'uuid', 'run_id'],
  ['step_name', 'text', 'step_name'],
  ['number', 'integer', 'number'],
  ['worker_id', 'uuid', 'worker_id'],
  ['worker_name', 'text', 'worker_name'],
  ['labels_revision', 'bigint', 'labels_revision'],
  ['assign_time', 'time', 'assign_ms'],
  ['accept_time', 'time', 'accept_ms'],
  ['end_time', 'time', 'end_ms'],
  ['outcome', 'text', 'outcome'],
  ['fact', 'text', 'fact'],
  ['failure', 'text', 'failure'],
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
export type Part = 'runs_insert' | 'runs_update' | 'attempts' | 'workers' | 'workers_delete' | 'namespaces';

const WRITES: Readonly<Record<Part, (json: string) => string>> = {
  runs_insert: (json) => insert('runs', RUN_INSERT, json),
  runs_update: (json) => updateRuns(json),
  // An attempt that ended is written once; the same batch tried again never gets this far.
  attempts: (json) => insert('attempts', ATTEMPT, json),
  workers: (json) => upsert('workers', WORKER, 'worker_id', json),
  workers_delete: (json) =>
    `DELETE FROM workers t USING guard, ${recordset([['worker_id', 'uuid', 'worker_id']], json)} WHERE t.worker_id = r.worker_id`,
  namespaces: (json) => upsert('namespaces', NAMESPACE, 'name', json),
};

export const PARTS = Object.keys(WRITES) as Part[];

function recordset(columns: readonly Column[], json: string): string {
  const fields = columns.map(([, type, key]) => `"${key}" ${type === 'time' ? 'float8' : type}`);
  return `json_to_recordset(${json}) AS r(${fields.join(', ')})`;
}

function value([, type, key]: Column): string {
  return type === 'time' ? `to_timestamp(r."${key}" / 1000)` : `r."${key}"`;
}

function insert(table: string, columns: readonly Column[], json: string): string {
  const names = columns.map(([column]) => column).join(', ');
  return `INSERT INTO ${table} (${names}) SELECT ${columns.map(value).join(', ')} FROM guard, ${recordset(columns, json)}`;
}

function upsert(table: string, columns: readonly Column[], key: string, json: string): string {
  const sets = columns.filter(([column]) => column !== key).map(([column]) => `${column} = excluded.${column}`);
  return `${insert(table, columns, json)} ON CONFLICT (${key}) DO UPDATE SET ${sets.join(', ')}`;
}

/**
 * An UPDATE rather than an upsert: a run's input, which may be a megabyte, then travels only once. An output is
 * written when it is known and left alone by every later image.
 */
function updateRuns(json: string): string {
  const sets = RUN_UPDATE.map((column) => `${column[0]} = ${value(column)}`);
  const columns: Column[] = [['run_id', 'uuid', 'run_id'], ['output', 'text', 'output'], ...RUN_UPDATE];
  return `UPDATE runs t SET ${sets.join(', ')}, output = coalesce(r.output, t.output)
    FROM guard, ${recordset(columns, json)} WHERE t.run_id = r.run_id`;
}

const texts = new Map<string, string>();

/**
 * The statement that writes these parts; parameters: epoch, batch, then the rows of each part as JSON, in order.
 * The guard comes first and everything joins it: with another epoch, or another batch than the next, nothing is
 * written. Whatever is written renews the lease; without parts it does nothing else. The answer is one row: `guarded` (0 or 1), and the holder's epoch and batch as they were before.
 */
export function batchStatement(parts: readonly Part[]): string {
  const key = parts.join();
  let text = texts.get(key);
  if (text === undefined) {
    // As text first: a parameter typed json would be encoded a second time by the client.
    const writes = parts.map((part, index) => `${part} AS (${WRITES[part](`$${index + 3}::text::json`)})`);
    text = `WITH guard AS (
      UPDATE holder SET batch = $2::bigint, lease_end_time = clock_timestamp() + lease_ms * interval '1 millisecond' WHERE id = 1 AND epoch = $1::bigint AND batch = $2::bigint - 1 RETURNING 1
    )${writes.map((write) => `, ${write}`).join('')}
    SELECT (SELECT count(*) FROM guard)::int AS guarded, epoch::float8 AS epoch, batch::float8 AS batch FROM holder WHERE id = 1`;
    texts.set(key, text);
  }
  return text;
}
