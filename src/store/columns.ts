/** The columns that a batch writes: their types, and where in a row's image each comes from. */

export type SqlType = 'uuid' | 'text' | 'bigint' | 'integer' | 'smallint' | 'boolean' | 'time';

/** [column, type, key of the row image]. A `time` comes as milliseconds and is stored as timestamptz. */
export type Column = readonly [column: string, type: SqlType, key: string];

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

export const RUN_ID: Column = ['run_id', 'uuid', 'run_id'];
export const RUN_KEY: readonly Column[] = [RUN_ID];

export const RUN_UPDATE: readonly Column[] = [
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
export const RUN_ASSIGN: readonly Column[] = [
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
export const RUN_EXECUTE: readonly Column[] = [
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

export const RUN_INSERT: readonly Column[] = [
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

export const STEP_KEY: readonly Column[] = [...RUN_KEY, ['name', 'text', 'name']];

export const STEP_UPDATE: readonly Column[] = [
  ['generation', 'integer', 'generation'],
  ['end_sequence', 'bigint', 'end_sequence'],
  ...STEP,
];

export const STEP_INSERT: readonly Column[] = [
  ...STEP_KEY,
  ['step_id', 'uuid', 'step_id'],
  ['place', 'integer', 'place'],
  ['action', 'text', 'action'],
  ...STEP_UPDATE,
];

export const STEP_OUTPUT: readonly Column[] = [
  ...RUN_KEY,
  ['step_name', 'text', 'step_name'],
  ['generation', 'integer', 'generation'],
  ['output', 'text', 'output'],
];

export const STEP_TOTALS: readonly Column[] = [
  ['namespace', 'text', 'namespace'],
  ['workflow', 'text', 'workflow'],
  ['action', 'text', 'action'],
  ['succeeded', 'bigint', 'succeeded'],
  ['failed', 'bigint', 'failed'],
];

export const RUN_TOTALS: readonly Column[] = [
  ['namespace', 'text', 'namespace'],
  ['workflow', 'text', 'workflow'],
  ['ended', 'bigint', 'ended'],
];

export const LEADERBOARD: readonly Column[] = [
  ['namespace', 'text', 'namespace'],
  ['nickname', 'text', 'nickname'],
  ['completed_count', 'bigint', 'completed_count'],
];

export const WORKFLOW: readonly Column[] = [
  ['namespace', 'text', 'namespace'],
  ['name', 'text', 'name'],
  ['version', 'integer', 'version'],
  ['definition', 'text', 'definition'],
  ['source', 'text', 'source'],
  ['create_time', 'time', 'create_ms'],
];

export const WORKFLOW_NAME: readonly Column[] = [
  ['namespace', 'text', 'namespace'],
  ['name', 'text', 'name'],
  ['latest_version', 'integer', 'latest_version'],
  ['last_number', 'bigint', 'last_number'],
];

export const RESULT: readonly Column[] = [
  ['namespace', 'text', 'namespace'],
  ['content_hash', 'text', 'content_hash'],
  ['target', 'text', 'target'],
  ['version', 'integer', 'version'],
  ['run_id', 'uuid', 'run_id'],
];

export const RESULTS_PURGE: readonly Column[] = [
  ['namespace', 'text', 'namespace'],
  ['content_hash', 'text', 'content_hash'],
];

export const ATTEMPT: readonly Column[] = [
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

export const WORKER: readonly Column[] = [
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

export const NAMESPACE: readonly Column[] = [
  ['name', 'text', 'name'],
  ['match_mode', 'text', 'match_mode'],
  ['retention_ms', 'bigint', 'retention_ms'],
  ['schedule_timeout_ms', 'bigint', 'schedule_timeout_ms'],
];
