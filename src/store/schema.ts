/** The tables. Statements on the hot path are written out in `statement.ts`; this is where columns and indexes are decided. */
import { sql } from 'drizzle-orm';
import {
  bigint,
  boolean,
  index,
  integer,
  pgTable,
  primaryKey,
  smallint,
  text,
  timestamp,
  uuid,
} from 'drizzle-orm/pg-core';

const time = (name: string) => timestamp(name, { withTimezone: true, precision: 6 });
const count = (name: string) => bigint(name, { mode: 'number' });

/** One row: who decides (`epoch`), and how far it has come (`batch`). Every commit of the journal goes through it. */
export const holder = pgTable('holder', {
  id: smallint('id').primaryKey(),
  epoch: count('epoch').notNull(),
  batch: count('batch').notNull(),
  name: text('name').notNull(),
  acquireTime: time('acquire_time').notNull(),
  /** What a renewal adds to the lease. */
  leaseMs: integer('lease_ms'),
  /** By the clock of the database. Over: the holder hangs, and a standby may take its place. */
  leaseEndTime: time('lease_end_time'),
});

export const namespaces = pgTable('namespaces', {
  name: text('name').primaryKey(),
  matchMode: text('match_mode').notNull(),
  retentionMs: count('retention_ms').notNull(),
  scheduleTimeoutMs: count('schedule_timeout_ms').notNull(),
});

export const workers = pgTable('workers', {
  workerId: uuid('worker_id').primaryKey(),
  workerNumber: count('worker_number').notNull(),
  namespace: text('namespace').notNull(),
  name: text('name').notNull(),
  displayName: text('display_name').notNull(),
  nickname: text('nickname').notNull(),
  defaultWorker: boolean('default_worker').notNull(),
  tags: text('tags').notNull(),
  labels: text('labels').notNull(),
  labelsRevision: count('labels_revision').notNull(),
  actions: text('actions').notNull(),
  slots: integer('slots').notNull(),
  devices: text('devices'),
  sdk: text('sdk'),
  draining: boolean('draining').notNull(),
  crashed: boolean('crashed').notNull(),
  sessionHash: text('session_hash'),
  reserved: text('reserved'),
  completedCount: count('completed_count').notNull(),
  registerTime: time('register_time').notNull(),
  connectTime: time('connect_time'),
  lastSeenTime: time('last_seen_time'),
});

export const workflows = pgTable(
  'workflows',
  {
    namespace: text('namespace').notNull(),
    name: text('name').notNull(),
    version: integer('version').notNull(),
    definition: text('definition').notNull(),
    /** The steps as they were put, to be given back. */
    source: text('source').notNull(),
    createTime: time('create_time').notNull(),
  },
  (table) => [primaryKey({ columns: [table.namespace, table.name, table.version] })],
);

/** What counts on under a workflow's name, whatever becomes of its runs. */
export const workflowNames = pgTable(
  'workflow_names',
  {
    namespace: text('namespace').notNull(),
    name: text('name').notNull(),
    latestVersion: integer('latest_version').notNull(),
    lastNumber: count('last_number').notNull(),
  },
  (table) => [primaryKey({ columns: [table.namespace, table.name] })],
);

/** What a step has, whether it shares its run's row or has one of its own. */
const stepColumns = () => ({
  stepState: text('step_state'),
  blockedOn: text('blocked_on'),
  readySequence: count('ready_sequence'),
  failures: integer('failures'),
  losses: integer('losses'),
  /** Reports of its input as invalid, and what came of them; null: none. */
  invalidInput: text('invalid_input'),
  attemptBase: integer('attempt_base'),
  started: boolean('started'),
  assignedOnce: boolean('assigned_once'),
  assignmentId: uuid('assignment_id'),
  assignmentNumber: integer('assignment_number'),
  workerId: uuid('worker_id'),
  workerName: text('worker_name'),
  device: text('device'),
  labelsRevision: count('labels_revision'),
  assignTime: time('assign_time'),
  acceptTime: time('accept_time'),
  readyTime: time('ready_time'),
  scheduleDeadline: time('schedule_deadline'),
  endTime: time('end_time'),
  cancelReason: text('cancel_reason'),
  progress: text('progress'),
  failure: text('failure'),
  /** Of the assignment in this row. */
  why: text('why'),
  output: text('output'),
});

/** A run of one step is one row: its step's columns are filled here, and it has no row in `steps`. Of several, they are null. */
export const runs = pgTable(
  'runs',
  {
    runId: uuid('run_id').primaryKey(),
    namespace: text('namespace').notNull(),
    workflow: text('workflow'),
    workflowVersion: integer('workflow_version'),
    number: count('number'),
    action: text('action'),
    stepName: text('step_name'),
    sticky: text('sticky').notNull().default('NONE'),
    concurrency: text('concurrency'),
    dependsOn: text('depends_on'),
    definition: text('definition').notNull(),
    runsOn: text('runs_on').notNull(),
    metadata: text('metadata').notNull(),
    input: text('input').notNull(),
    requestId: text('request_id'),
    requestDigest: text('request_digest'),
    /** What equal runs are found by, besides what carries them out. */
    contentHash: text('content_hash'),
    createTime: time('create_time').notNull(),
    revision: count('revision').notNull(),
    priority: smallint('priority').notNull(),
    state: text('state').notNull(),
    startTime: time('start_time'),
    pinnedWorkerId: uuid('pinned_worker_id'),
    keptPinWorkerId: uuid('kept_pin_worker_id'),
    /** The equal run that did the work: the output is read through it. */
    executedByRunId: uuid('executed_by_run_id'),
    stepBacks: integer('step_backs').notNull().default(0),
    ...stepColumns(),
  },
  (table) => [
    // Run ids are time-ordered, so this also pages a namespace's runs by age.
    index('runs_by_namespace').on(table.namespace, table.runId),
    // Recovery and the default list read only what has not ended, however much has.
    index('runs_live').on(table.namespace, table.runId).where(sql`end_time IS NULL`),
    // Not unique on purpose: the engine decides uniqueness, so that no batch can fail by it.
    index('runs_by_request').on(table.namespace, table.requestId).where(sql`request_id IS NOT NULL`),
    // A run whose output others are read through is kept as long as they are.
    index('runs_by_executor').on(table.executedByRunId).where(sql`executed_by_run_id IS NOT NULL`),
    index('runs_by_number').on(table.namespace, table.workflow, table.number).where(sql`workflow IS NOT NULL`),
  ],
);

/** Successes that equal runs are answered with. Of a key, the last. */
export const results = pgTable(
  'results',
  {
    namespace: text('namespace').notNull(),
    contentHash: text('content_hash').notNull(),
    /** `action:NAME` or `workflow:NAME`. */
    target: text('target').notNull(),
    /** Of the workflow; 0: an action. */
    version: integer('version').notNull(),
    runId: uuid('run_id').notNull(),
  },
  (table) => [
    primaryKey({ columns: [table.namespace, table.contentHash, table.target, table.version] }),
    index('results_by_run').on(table.runId),
  ],
);

/** Steps of runs with more than one. */
export const steps = pgTable(
  'steps',
  {
    runId: uuid('run_id').notNull(),
    stepId: uuid('step_id').notNull(),
    name: text('name').notNull(),
    /** In the order of definition, from 0. */
    place: integer('place').notNull(),
    action: text('action').notNull(),
    generation: integer('generation').notNull().default(1),
    /** Among the ends of this server's steps: which came first decides what the run becomes. */
    endSequence: count('end_sequence').notNull(),
    ...stepColumns(),
  },
  (table) => [primaryKey({ columns: [table.runId, table.name] })],
);

/** Outputs of steps that ran again because the one before was reported invalid; the first one is in the step's row. */
export const stepOutputs = pgTable(
  'step_outputs',
  {
    runId: uuid('run_id').notNull(),
    stepName: text('step_name').notNull(),
    generation: integer('generation').notNull(),
    output: text('output').notNull(),
  },
  (table) => [primaryKey({ columns: [table.runId, table.stepName, table.generation] })],
);

/** Ended steps of runs that are kept, so that nobody has to count them. */
export const stepTotals = pgTable(
  'step_totals',
  {
    namespace: text('namespace').notNull(),
    /** Empty: runs without one. */
    workflow: text('workflow').notNull(),
    action: text('action').notNull(),
    succeeded: count('succeeded').notNull(),
    /** Ended otherwise. */
    failed: count('failed').notNull(),
  },
  (table) => [primaryKey({ columns: [table.namespace, table.workflow, table.action] })],
);

/** Ended runs that are kept. */
export const runTotals = pgTable(
  'run_totals',
  {
    namespace: text('namespace').notNull(),
    /** Empty: runs without one. */
    workflow: text('workflow').notNull(),
    ended: count('ended').notNull(),
  },
  (table) => [primaryKey({ columns: [table.namespace, table.workflow] })],
);

/** Accepted completions, never taken back. */
export const leaderboard = pgTable(
  'leaderboard',
  {
    namespace: text('namespace').notNull(),
    nickname: text('nickname').notNull(),
    completedCount: count('completed_count').notNull(),
  },
  (table) => [primaryKey({ columns: [table.namespace, table.nickname] })],
);

/** Assignments that ended: without success, or with one whose step ran again since. The other successful ones are in their step's row. */
export const attempts = pgTable(
  'attempts',
  {
    assignmentId: uuid('assignment_id').primaryKey(),
    runId: uuid('run_id').notNull(),
    stepName: text('step_name').notNull(),
    number: integer('number').notNull(),
    workerId: uuid('worker_id').notNull(),
    workerName: text('worker_name').notNull(),
    device: text('device'),
    labelsRevision: count('labels_revision').notNull(),
    assignTime: time('assign_time').notNull(),
    acceptTime: time('accept_time'),
    endTime: time('end_time').notNull(),
    outcome: text('outcome').notNull(),
    fact: text('fact'),
    failure: text('failure'),
    why: text('why'),
  },
  (table) => [index('attempts_by_run').on(table.runId)],
);

export const stepLogs = pgTable(
  'step_logs',
  {
    assignmentId: uuid('assignment_id').notNull(),
    lineNumber: count('line_number').notNull(),
    /** Order of arrival: the order over the attempts of a step. */
    logId: count('log_id').generatedAlwaysAsIdentity(),
    runId: uuid('run_id').notNull(),
    stepName: text('step_name').notNull(),
    attempt: integer('attempt').notNull(),
    lineTime: time('line_time').notNull(),
    level: smallint('level').notNull(),
    text: text('text').notNull(),
  },
  (table) => [
    primaryKey({ columns: [table.assignmentId, table.lineNumber] }),
    index('step_logs_by_run').on(table.runId, table.logId),
  ],
);

/** How much an assignment has logged, and how much of it was cut. */
export const stepLogTotals = pgTable(
  'step_log_totals',
  {
    assignmentId: uuid('assignment_id').primaryKey(),
    runId: uuid('run_id').notNull(),
    storedBytes: count('stored_bytes').notNull(),
    cutBytes: count('cut_bytes').notNull(),
  },
  (table) => [index('step_log_totals_by_run').on(table.runId)],
);
