/** Rows back into memory: what a killed server left is what the next one decides on. */
import type { DesiredLabel, LabelValue } from '../domain/labels.ts';
import type { Priority } from '../domain/priority.ts';
import type { RunState } from '../domain/run.ts';
import type { StepState } from '../domain/step.ts';
import type { MatchMode } from '../domain/tags.ts';
import { armExecution } from './facts.ts';
import { NAMESPACE_DEFAULT, newNamespace } from './namespaces.ts';
import type { LiveRunRow, NamespaceRow, WorkerRow } from './rows.ts';
import { demandOf, indexRun, newStep } from './runs.ts';
import { startGrace } from './sessions.ts';
import {
  type EngineState,
  type NamespaceRecord,
  nameKey,
  type RunRecord,
  type StepDefinition,
  type StepRecord,
  type WorkerRecord,
} from './state.ts';
import { armSchedule } from './steps.ts';
import { NO_TIMER } from './timers.ts';
import { putInQueue } from './waiting.ts';
import { freshWorkerState, indexWorker } from './workers.ts';

/** Everything the engine needs to go on: all workers and namespaces, and the runs that have not ended. */
export interface LiveRows {
  readonly namespaces: readonly NamespaceRow[];
  readonly workers: readonly WorkerRow[];
  readonly runs: readonly LiveRunRow[];
}

export function restore(state: EngineState, rows: LiveRows, nowMs: number): void {
  for (const row of rows.namespaces) state.namespaces.set(row.name, namespaceOf(row));
  if (!state.namespaces.has(NAMESPACE_DEFAULT))
    state.namespaces.set(NAMESPACE_DEFAULT, newNamespace(state, NAMESPACE_DEFAULT));
  for (const row of rows.workers) restoreWorker(state, row);
  for (const row of rows.runs) restoreRun(state, row, nowMs);
  // Every process may still be alive: each has its grace to come back, counted from now.
  for (const worker of state.workers.values()) {
    worker.slotsUsed = worker.assignments.size + worker.reserved.size;
    if (worker.sessionHash !== null || worker.assignments.size > 0) startGrace(state, nowMs, worker);
  }
}

function namespaceOf(row: NamespaceRow): NamespaceRecord {
  return {
    name: row.name,
    matchMode: row.match_mode as MatchMode,
    retentionMs: row.retention_ms,
    scheduleTimeoutMs: row.schedule_timeout_ms,
  };
}

function restoreWorker(state: EngineState, row: WorkerRow): void {
  const tags: string[] = JSON.parse(row.tags);
  const worker: WorkerRecord = {
    ...freshWorkerState(),
    workerId: row.worker_id,
    workerNumber: row.worker_number,
    namespace: row.namespace,
    name: row.name,
    displayName: row.display_name,
    nickname: row.nickname,
    defaultWorker: row.default_worker,
    tags: new Set(tags),
    tagList: tags,
    labels: new Map(JSON.parse(row.labels) as [string, LabelValue][]),
    labelsRevision: row.labels_revision,
    actions: new Set(JSON.parse(row.actions) as string[]),
    slots: row.slots,
    devices: row.devices === null ? null : JSON.parse(row.devices),
    sdk: row.sdk === null ? null : JSON.parse(row.sdk),
    draining: row.draining,
    crashed: row.crashed,
    sessionHash: row.session_hash,
    reserved: new Set(row.reserved === null ? [] : (JSON.parse(row.reserved) as string[])),
    completedCount: row.completed_count,
    registerMs: row.register_ms,
    connectMs: row.connect_ms,
    lastSeenMs: row.last_seen_ms,
  };
  indexWorker(state, worker);
  for (const action of worker.actions) {
    const key = nameKey(worker.namespace, action);
    state.workersListing.set(key, (state.workersListing.get(key) ?? 0) + 1);
  }
  state.workerNumber = Math.max(state.workerNumber, worker.workerNumber);
}

function restoreRun(state: EngineState, row: LiveRunRow, nowMs: number): void {
  const namespace = state.namespaces.get(row.namespace);
  if (namespace === undefined)
    throw new Error(`run ${row.run_id} is of namespace "${row.namespace}", which is not stored`);
  const { step: definition, desired } = JSON.parse(row.definition) as { step: StepDefinition; desired: DesiredLabel[] };
  const run: RunRecord = {
    runId: row.run_id,
    namespace,
    steps: [],
    runsOn: JSON.parse(row.runs_on),
    desired,
    metadata: JSON.parse(row.metadata),
    requestId: row.request_id ?? '',
    requestDigest: row.request_digest ?? '',
    createMs: row.create_ms,
    priority: row.priority as Priority,
    state: row.state as RunState,
    revision: row.revision,
    startMs: row.start_ms,
    endMs: row.end_ms,
    cancelReason: row.cancel_reason,
  };
  const step = newStep(run, definition, demandOf(state, run, definition));
  step.state = row.step_state as StepState;
  step.readySequence = row.ready_sequence;
  step.failures = row.failures;
  step.losses = row.losses;
  step.started = row.started;
  step.readyMs = row.ready_ms;
  step.scheduleDeadlineMs = row.schedule_deadline_ms;
  step.progress = row.progress === null ? null : JSON.parse(row.progress);
  step.failure = row.failure === null ? null : JSON.parse(row.failure);
  run.steps.push(step);
  indexRun(state, run);
  state.readySequence = Math.max(state.readySequence, row.ready_sequence);
  resumeStep(state, step, row, nowMs);
}

/** An outage times nobody out: every deadline is at least the grace away. */
function resumeStep(state: EngineState, step: StepRecord, row: LiveRunRow, nowMs: number): void {
  const earliestMs = nowMs + state.times.reconnectGraceMs;
  if (row.schedule_deadline_ms !== null && row.accept_ms === null && step.state !== 'BLOCKED') {
    step.scheduleDeadlineMs = Math.max(row.schedule_deadline_ms, earliestMs);
    armSchedule(state, step, step.scheduleDeadlineMs);
  }
  if (step.state === 'BLOCKED') {
    const readyMs = Math.max(row.ready_ms ?? 0, earliestMs);
    step.backoffTimer = state.timers.arm(readyMs, { kind: 'backoff', step });
  }
  if (step.state === 'PENDING') putInQueue(state, step);
  if (step.state === 'ASSIGNED' || step.state === 'RUNNING') restoreAssignment(state, step, row, earliestMs);
}

function restoreAssignment(state: EngineState, step: StepRecord, row: LiveRunRow, earliestMs: number): void {
  const worker = state.workers.get(row.worker_id ?? '');
  const assignmentId = row.assignment_id;
  if (worker === undefined || assignmentId === null)
    throw new Error(`run ${row.run_id} is ${row.step_state} without a stored worker`);
  step.assignment = {
    assignmentId,
    worker,
    number: row.assignment_number ?? 1,
    labelsRevision: row.labels_revision ?? 0,
    assignMs: row.assign_ms ?? 0,
    acceptMs: row.accept_ms,
    // Nobody remembers: the worker may know of it.
    handedOver: true,
    cancelReason: row.cancel_reason,
    acceptTimer: NO_TIMER,
    executionTimer: NO_TIMER,
    progressTimer: NO_TIMER,
    graceTimer: NO_TIMER,
    cancelTimer: NO_TIMER,
  };
  worker.assignments.set(assignmentId, step);
  state.assignments.set(assignmentId, step);
  if (row.accept_ms === null) {
    step.assignment.acceptTimer = state.timers.arm(earliestMs, { kind: 'accept', step });
  } else {
    const { executionTimeoutMs, progressTimeoutMs } = step.definition;
    const fromMs = Math.max(row.accept_ms, earliestMs - (executionTimeoutMs ?? 0));
    armExecution(state, step, step.assignment, fromMs, Math.max(row.accept_ms, earliestMs - (progressTimeoutMs ?? 0)));
    if (row.cancel_reason !== null)
      step.assignment.cancelTimer = state.timers.arm(earliestMs, { kind: 'cancel', step });
  }
}
