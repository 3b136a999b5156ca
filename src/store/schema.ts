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
    createTime: time('create_time').notNull(),
    revision: count('revision').notNull(),
    priority: smallint('priority').notNull(),
    state: text('state').notNull(),
    startTime: time('start_time'),
    pinnedWorkerId: uuid('pinned_worker_id'),
    keptPinWorkerId: uuid('kept_pin_worker_id'),
    ...stepColumns(),
  },
  (table) => [
    // Run ids are time-ordered, so this also pages a namespace's runs by age.
    index('runs_by_namespace').on(table.namespace, table.runId),
    // Recovery and the default list read only what has not ended, however much has.
    index('runs_live').on(table.namespace, table.runId).where(sql`end_time IS NULL`),
    // Not unique on purpose: the engine decides uniqueness, so that no batch can fail by it.
    index('runs_by_request').on(table.namespace, table.requestId).where(sql`request_id IS NOT NULL`),
    index('runs_by_number').on(table.namespace, table.workflow, table.number).where(sql`workflow IS NOT NULL`),
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

/** Assignments that ended without success; the successful one is in its step's row. */
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
