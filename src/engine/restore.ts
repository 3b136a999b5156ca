/** Rows back into memory: what a killed server left is what the next one decides on. */
import type { Device } from '../domain/devices.ts';
import type { LabelValue } from '../domain/labels.ts';
import type { Priority } from '../domain/priority.ts';
import type { RunState } from '../domain/run.ts';
import { type StepState, stepEnded } from '../domain/step.ts';
import type { Sticky } from '../domain/sticky.ts';
import type { MatchMode } from '../domain/tags.ts';
import { countDevices, listActions } from './capacity.ts';
import { restoreLive } from './concurrency.ts';
import { waitFor } from './dependencies.ts';
import { postponeTo } from './due.ts';
import { executionTimeoutOf } from './effects.ts';
import { equalKeyOf, restoreEqual, restoreSuccess } from './equal_records.ts';
import { armExecution } from './facts.ts';
import { countOpenNeeds, restoreInvalidInput } from './generations.ts';
import { NAMESPACE_DEFAULT, newNamespace } from './namespaces.ts';
import type {
  AttemptRow,
  LeaderboardRow,
  LiveRunRow,
  LiveStepRow,
  NamespaceRow,
  ResultRow,
  RunTotalsRow,
  StepTotalsRow,
  WorkerRow,
  WorkflowNameRow,
  WorkflowRow,
} from './rows.ts';
import type { RunDefinition } from './run_definition.ts';
import type { RunFields } from './run_record.ts';
import { newRun } from './run_terms.ts';
import { indexRun } from './runs.ts';
import { startGrace } from './sessions.ts';
import { sharedRunIds, sharedTags } from './shared.ts';
import {
  type AssignmentRecord,
  type BlockedOn,
  type EngineState,
  type NamespaceRecord,
  nameKey,
  type RunRecord,
  type StepRecord,
  type WorkerRecord,
  type WorkflowRecord,
} from './state.ts';
import { armSchedule } from './steps.ts';
import { createTexts, type Texts } from './texts.ts';
import { NO_TIMER } from './timers.ts';
import { countLiveRun, countRestored, runTotalsOf, stepTotalsOf } from './totals.ts';
import { hasStepRows } from './turn.ts';
import { putInQueue } from './waiting.ts';
import { sharedActions, sharedLabels, tagSetOf } from './worker_parts.ts';
import { freshWorkerState, indexWorker } from './workers.ts';
import { workflowOf } from './workflows.ts';

/** Everything the engine needs to go on: all workers and namespaces, and the runs that have not ended. */
export interface LiveRows {
  readonly namespaces: readonly NamespaceRow[];
  readonly workers: readonly WorkerRow[];
  readonly runs: readonly LiveRunRow[];
  /** Of those runs that have several. */
  readonly steps: readonly LiveStepRow[];
  /** The newest version of every name, and those that the runs are of. */
  readonly workflows: readonly WorkflowRow[];
  readonly workflowNames: readonly WorkflowNameRow[];
  /** Successes equal to runs that have not ended. */
  readonly results: readonly ResultRow[];
  readonly stepTotals: readonly StepTotalsRow[];
  readonly runTotals: readonly RunTotalsRow[];
  readonly leaderboard: readonly LeaderboardRow[];
}

/** What a restoration begins with. */
export type OtherRows = Omit<LiveRows, 'runs' | 'results'>;

export function restore(state: EngineState, rows: LiveRows, nowMs: number): void {
  const restoration = beginRestoration(state, rows);
  for (const row of rows.runs) restoration.addRun(row, nowMs);
  restoration.finish(rows.results, nowMs);
}

/** The runs come one by one, in any order: their rows need not be in memory together. */
export interface Restoration {
  addRun(row: LiveRunRow, nowMs: number): void;
  /** To be called once, with the results that belong to the runs, and the time from which everybody's grace counts. */
  finish(results: readonly ResultRow[], nowMs: number): void;
}

export function beginRestoration(state: EngineState, rows: OtherRows): Restoration {
  for (const row of rows.namespaces) state.namespaces.set(row.name, namespaceOf(row));
  if (!state.namespaces.has(NAMESPACE_DEFAULT))
    state.namespaces.set(NAMESPACE_DEFAULT, newNamespace(state, NAMESPACE_DEFAULT));
  for (const row of rows.workers) restoreWorker(state, row);
  const versions = restoreWorkflows(state, rows);
  const steps = new Map<string, LiveStepRow[]>();
  for (const row of rows.steps) {
    const known = steps.get(row.run_id);
    if (known) known.push(row);
    else steps.set(row.run_id, [row]);
  }
  const takeSteps = (runId: string) => {
    const rowsOfRun = steps.get(runId) ?? NO_STEPS;
    steps.delete(runId);
    return rowsOfRun;
  };
  const texts = createTexts();
  return {
    addRun(row, nowMs) {
      const stepRows = row.action === null ? takeSteps(row.run_id) : NO_STEPS;
      restoreRun(state, row, stepRows, workflowOfRun(versions, row), nowMs, texts);
    },
    finish: (results, nowMs) => finishRestoration(state, { ...rows, results }, nowMs),
  };
}

const NO_STEPS: readonly LiveStepRow[] = [];

function finishRestoration(state: EngineState, rows: Omit<LiveRows, 'runs'>, nowMs: number): void {
  restoreTotals(state, rows);
  numberAssignments(state);
  restoreDependencies(state);
  for (const run of state.runs.values()) {
    restoreEqual(state, run);
    restoreLive(state, run);
    countLiveRun(state, run);
  }
  for (const { namespace, target, version, content_hash: contentHash, run_id: runId } of rows.results)
    restoreSuccess(state, namespace, { target, version, contentHash }, runId);
  // Every process may still be alive: each has its grace to come back, counted from now.
  for (const worker of state.workers.values()) {
    worker.slotsUsed = worker.assignments.size + worker.reserved.size;
    countDevices(worker);
    if (worker.sessionHash !== null || worker.assignments.size > 0) startGrace(state, nowMs, worker);
  }
  // The first rows were read a while ago.
  postponeTo(state, nowMs + state.times.reconnectGraceMs);
}

function restoreWorkflows(state: EngineState, rows: OtherRows): ReadonlyMap<string, WorkflowRecord> {
  const versions = new Map<string, WorkflowRecord>();
  for (const row of rows.workflows) versions.set(versionKey(row), workflowOf(state, row));
  for (const { namespace, name, latest_version: version, last_number: lastNumber } of rows.workflowNames) {
    const latest = versions.get(versionKey({ namespace, name, version }));
    if (latest === undefined) throw new Error(`version ${version} of workflow "${name}" is not stored`);
    state.workflows.set(nameKey(namespace, name), { namespace, name, latest, lastNumber });
  }
  return versions;
}

/** Counts of what has ended; live runs and steps count themselves. */
function restoreTotals(state: EngineState, rows: OtherRows): void {
  for (const { namespace, workflow, action, succeeded, failed } of rows.stepTotals)
    Object.assign(stepTotalsOf(state, namespace, workflow, action), { succeeded, failed });
  for (const { namespace, workflow, ended } of rows.runTotals) runTotalsOf(state, namespace, workflow).ended = ended;
  for (const { namespace, nickname, completed_count: completedCount } of rows.leaderboard)
    state.leaderboard.set(nameKey(namespace, nickname), { namespace, nickname, completedCount });
}

function workflowOfRun(versions: ReadonlyMap<string, WorkflowRecord>, row: LiveRunRow): WorkflowRecord | null {
  const { namespace, workflow: name, workflow_version: version } = row;
  if (name === null || version === null) return null;
  const workflow = versions.get(versionKey({ namespace, name, version }));
  if (workflow === undefined) throw new Error(`run ${row.run_id} is of workflow "${name}" ${version}, not stored`);
  return workflow;
}

function versionKey({ namespace, name, version }: { namespace: string; name: string; version: number }): string {
  return nameKey(namespace, `${name}\n${version}`);
}

/** A kept place is stored as the assignment's id, or as the id and its lease. */
function reservedOf(json: string | null): Pick<WorkerRecord, 'reserved' | 'leases'> {
  const reserved = new Set<string>();
  const leases = new Map<string, Device>();
  for (const kept of json === null ? [] : (JSON.parse(json) as (string | [string, Device])[])) {
    const [assignmentId, device] = typeof kept === 'string' ? [kept, null] : kept;
    reserved.add(assignmentId);
    if (device !== null) leases.set(assignmentId, device);
  }
  return { reserved, leases };
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
    tags: tagSetOf(tags),
    tagList: sharedTags(tags),
    labels: sharedLabels(new Map(JSON.parse(row.labels) as [string, LabelValue][])),
    labelsRevision: row.labels_revision,
    actions: sharedActions(JSON.parse(row.actions) as string[]),
    slots: row.slots,
    devices: row.devices === null ? null : JSON.parse(row.devices),
    sdk: row.sdk === null ? null : JSON.parse(row.sdk),
    draining: row.draining,
    crashed: row.crashed,
    sessionHash: row.session_hash,
    ...reservedOf(row.reserved),
    completedCount: row.completed_count,
    registerMs: row.register_ms,
    connectMs: row.connect_ms,
    lastSeenMs: row.last_seen_ms,
  };
  indexWorker(state, worker);
  listActions(state, worker);
  state.workerNumber = Math.max(state.workerNumber, worker.workerNumber);
}

/** A run as the store has it. `nowMs` is when its deadlines are looked at again; an ended run has none. */
export function restoreRun(
  state: EngineState,
  row: LiveRunRow,
  stepRows: readonly LiveStepRow[],
  workflow: WorkflowRecord | null,
  nowMs: number,
  texts = createTexts(),
): RunRecord {
  const namespace = state.namespaces.get(row.namespace);
  if (namespace === undefined)
    throw new Error(`run ${row.run_id} is of namespace "${row.namespace}", which is not stored`);
  const definition = texts.definition(row.definition);
  const definitions = workflow?.steps ?? (definition.step === null ? [] : [definition.step]);
  const rows = new Map(stepRows.map((step) => [step.name, step]));
  const fields = fieldsOf(namespace, row, definition, workflow, texts);
  const run = newRun(state, fields, definitions, (name) => rows.get(name)?.step_id ?? '');
  const own = hasStepRows(run) ? null : ownStep(row);
  for (const step of run.steps) restoreStep(step, own ?? rowOf(rows, step), texts);
  for (const [name, stepRow] of rows) restoreGeneration(run, name, stepRow);
  countOpenNeeds(run);
  indexRun(state, run);
  // The pins are known now, and the demands rest on them.
  for (const step of run.steps) resumeStep(state, step, own ?? rowOf(rows, step), nowMs);
  return run;
}

function fieldsOf(
  namespace: NamespaceRecord,
  row: LiveRunRow,
  definition: RunDefinition,
  workflow: WorkflowRecord | null,
  texts: Texts,
): RunFields {
  const kept = row.kept_pin_worker_id;
  return {
    runId: row.run_id,
    namespace,
    workflow,
    number: row.number ?? 0,
    sticky: texts.shared(row.sticky) as Sticky,
    concurrency: row.concurrency === null ? null : JSON.parse(row.concurrency),
    dependsOn: sharedRunIds(row.depends_on === null ? [] : JSON.parse(row.depends_on)),
    scheduleTimeoutMs: definition.scheduleTimeoutMs,
    executionTimeoutMs: definition.executionTimeoutMs,
    runsOn: texts.parsed(row.runs_on) as RunRecord['runsOn'],
    desired: definition.desired,
    pinnedWorkerId: row.pinned_worker_id,
    keptPin: kept === null ? null : { workerId: kept, sequence: 0 },
    equal: equalKeyOf(row.content_hash ?? '', workflow, row.action ?? ''),
    executedBy: row.executed_by_run_id ?? null,
    stepBacks: row.step_backs ?? 0,
    failure: row.end_ms === null || row.failure === null ? null : JSON.parse(row.failure),
    metadata: texts.parsed(row.metadata) as RunRecord['metadata'],
    requestId: row.request_id ?? '',
    requestDigest: row.request_digest ?? '',
    createMs: row.create_ms,
    priority: row.priority as Priority,
    state: texts.shared(row.state) as RunState,
    revision: row.revision,
    startMs: row.start_ms,
    endMs: row.end_ms,
    cancelReason: row.cancel_reason,
  };
}

/** What is stored of a step, in the run's row or in one of its own. */
type StoredStep = Omit<LiveStepRow, 'run_id' | 'name' | 'step_id' | 'place' | 'generation'>;

function rowOf(rows: ReadonlyMap<string, LiveStepRow>, step: StepRecord): StoredStep {
  const row = rows.get(step.definition.name);
  if (row === undefined) throw new Error(`step "${step.definition.name}" of run ${step.run.runId} is not stored`);
  return row;
}

/** The run's row as its single step's. */
function ownStep(row: LiveRunRow): StoredStep {
  // Field by field: spreading a row costs more than all else that is done for a run.
  return {
    step_state: row.step_state ?? 'PENDING',
    blocked_on: row.blocked_on,
    invalid_input: row.invalid_input,
    assignment_id: row.assignment_id,
    assignment_number: row.assignment_number,
    worker_id: row.worker_id,
    worker_name: row.worker_name,
    device: row.device,
    labels_revision: row.labels_revision,
    assign_ms: row.assign_ms,
    accept_ms: row.accept_ms,
    ready_ms: row.ready_ms,
    schedule_deadline_ms: row.schedule_deadline_ms,
    end_ms: row.end_ms,
    cancel_reason: row.cancel_reason,
    progress: row.progress,
    failure: row.failure,
    output_bytes: row.output_bytes,
    ready_sequence: row.ready_sequence ?? 0,
    failures: row.failures ?? 0,
    losses: row.losses ?? 0,
    attempt_base: row.attempt_base ?? 0,
    started: row.started ?? false,
    assigned_once: row.assigned_once ?? row.started ?? false,
    end_sequence: 0,
  };
}

/** What only steps of a run with several have. */
function restoreGeneration(run: RunRecord, name: string, row: LiveStepRow): void {
  const step = run.steps.find(({ definition }) => definition.name === name);
  if (step === undefined) return;
  step.generation = row.generation;
  if (row.step_state === 'SUCCEEDED') step.storedSuccess = successOf(run, row);
}

/** null: nobody carried it out. */
function successOf(run: RunRecord, row: LiveStepRow): AttemptRow | null {
  if (row.assignment_id === null) return null;
  return {
    assignment_id: row.assignment_id,
    run_id: run.runId,
    step_name: row.name,
    number: row.assignment_number ?? 1,
    worker_id: row.worker_id ?? '',
    worker_name: row.worker_name ?? '',
    device: row.device ?? null,
    labels_revision: row.labels_revision ?? 0,
    assign_ms: row.assign_ms ?? 0,
    accept_ms: row.accept_ms,
    end_ms: row.end_ms ?? 0,
    outcome: 'SUCCEEDED',
    fact: 'succeeded',
    failure: null,
    why: null,
  };
}

function restoreStep(step: StepRecord, row: StoredStep, texts: Texts): void {
  const stepState = texts.shared(row.step_state) as StepState;
  countRestored(step, stepState);
  step.state = stepState;
  step.blockedOn = (row.blocked_on ?? (step.state === 'BLOCKED' ? 'BACKING_OFF' : null)) as BlockedOn | null;
  step.outputBytes = row.output_bytes;
  step.readySequence = row.ready_sequence;
  step.failures = row.failures;
  step.losses = row.losses;
  step.attemptBase = row.attempt_base;
  step.started = row.started;
  step.assignedOnce = row.assigned_once;
  step.endMs = row.end_ms;
  step.endSequence = row.end_sequence;
  step.setWait(row.ready_ms, row.schedule_deadline_ms);
  step.progress = row.progress === null ? null : JSON.parse(row.progress);
  step.failure = row.failure === null ? null : JSON.parse(row.failure);
  restoreInvalidInput(step, row.invalid_input ?? null);
}

/** An outage times nobody out: every deadline is at least the grace away. */
function resumeStep(state: EngineState, step: StepRecord, row: StoredStep, nowMs: number): void {
  const earliestMs = nowMs + state.times.reconnectGraceMs;
  state.readySequence = Math.max(state.readySequence, step.readySequence);
  state.endSequence = Math.max(state.endSequence, step.endSequence);
  if (stepEnded(step.state)) return;
  if (row.schedule_deadline_ms !== null && row.accept_ms === null && step.state !== 'BLOCKED') {
    step.scheduleDeadlineMs = Math.max(row.schedule_deadline_ms, earliestMs);
    armSchedule(state, step, step.scheduleDeadlineMs);
  }
  if (step.blockedOn === 'BACKING_OFF') {
    // A wait, not a deadline: nobody is timed out by its end.
    const readyMs = Math.max(row.ready_ms ?? nowMs, nowMs);
    step.backoffTimer = state.timers.arm(readyMs, { kind: 'backoff', step });
  }
  if (step.state === 'PENDING') putInQueue(state, step);
  if (step.state === 'ASSIGNED' || step.state === 'RUNNING') restoreAssignment(state, step, row, earliestMs);
}

function restoreAssignment(state: EngineState, step: StepRecord, row: StoredStep, earliestMs: number): void {
  const worker = state.workers.get(row.worker_id ?? '');
  const assignmentId = row.assignment_id;
  if (worker === undefined || assignmentId === null)
    throw new Error(`run ${step.run.runId} is ${row.step_state} without a stored worker`);
  const assignment: AssignmentRecord = {
    assignmentId,
    worker,
    number: row.assignment_number ?? 1,
    sequence: 0,
    why: null,
    device: row.device === null ? null : JSON.parse(row.device),
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
  step.assignment = assignment;
  worker.assignments.set(assignmentId, step);
  if (assignment.device !== null) worker.leases.set(assignmentId, assignment.device);
  state.assignments.set(assignmentId, step);
  if (row.accept_ms === null) {
    assignment.acceptTimer = state.timers.arm(earliestMs, { kind: 'accept', step });
  } else {
    const { progressTimeoutMs } = step.definition;
    const fromMs = Math.max(row.accept_ms, earliestMs - (executionTimeoutOf(step) ?? 0));
    armExecution(state, step, assignment, fromMs, Math.max(row.accept_ms, earliestMs - (progressTimeoutMs ?? 0)));
    if (row.cancel_reason !== null) assignment.cancelTimer = state.timers.arm(earliestMs, { kind: 'cancel', step });
  }
}

/** Assignments of before the restart come before all later ones, in the order they were made. */
function numberAssignments(state: EngineState): void {
  const steps = [...state.assignments.values()];
  steps.sort((a, b) => (a.assignment?.assignMs ?? 0) - (b.assignment?.assignMs ?? 0));
  for (const step of steps) {
    state.assignSequence += 1;
    if (step.assignment !== null) step.assignment = renumbered(state, step.assignment);
  }
}

function renumbered(state: EngineState, assignment: AssignmentRecord): AssignmentRecord {
  return { ...assignment, sequence: state.assignSequence };
}

/** Had one of them ended without success, the run would have ended in the same commit: what is not live succeeded. */
function restoreDependencies(state: EngineState): void {
  for (const run of state.runs.values()) {
    for (const runId of run.dependsOn) if (state.runs.has(runId)) waitFor(state, run, runId);
  }
}
