/** Rows from records: the image that is written when a batch is sealed. */
import type { Device } from '../domain/devices.ts';
import { placedText } from '../domain/placed_text.ts';
import type { Sticky } from '../domain/sticky.ts';
import { invalidInputJson } from './generations.ts';
import type {
  LeaderboardRow,
  NamespaceRow,
  RunAssignRow,
  RunExecuteRow,
  RunInsertRow,
  RunTotalsRow,
  RunUpdateRow,
  StepColumns,
  StepInsertRow,
  StepOutputRow,
  StepTotalsRow,
  StepUpdateRow,
  WorkerRow,
  WorkflowNameRow,
} from './rows.ts';
import { textsOf } from './run_definition.ts';
import type {
  AssignmentRecord,
  NamespaceRecord,
  RunRecord,
  StepDefinition,
  StepFailure,
  StepRecord,
  WorkerRecord,
  WorkflowName,
} from './state.ts';
import type { LeaderboardLine, RunTotals, StepTotals } from './totals.ts';
import type { Change } from './turn.ts';

/** What the definition column of a workflow holds, as JSON. */
export interface WorkflowDefinition {
  readonly sticky: Sticky;
  readonly steps: readonly StepDefinition[];
}

const NO_STEP: RunColumns = {
  step_state: null,
  blocked_on: null,
  ready_sequence: null,
  failures: null,
  losses: null,
  invalid_input: null,
  attempt_base: null,
  started: null,
  assigned_once: null,
  assignment_id: null,
  assignment_number: null,
  worker_id: null,
  worker_name: null,
  device: null,
  labels_revision: null,
  assign_ms: null,
  accept_ms: null,
  ready_ms: null,
  schedule_deadline_ms: null,
  progress: null,
  why: null,
  output: null,
};

type RunColumns = Omit<{ [K in keyof StepColumns]: null }, 'end_ms' | 'cancel_reason' | 'failure'>;

/**
 * Rows are put together with Object.assign: a literal that spreads one object and adds a dozen keys costs a hundred
 * times as much.
 */
export function runUpdateRow(run: RunRecord, outputJson: string | null): RunUpdateRow {
  const step = run.onlyStep;
  const shared = step === null ? { ...NO_STEP } : stepColumns(step, outputJson);
  return Object.assign(shared, {
    run_id: run.runId,
    revision: run.revision,
    priority: run.priority,
    state: run.state,
    start_ms: run.startMs,
    end_ms: run.endMs,
    // One step of the run may have been told to stop, rather than the run.
    cancel_reason: run.cancelReason ?? ('cancel_reason' in shared ? shared.cancel_reason : null),
    failure: failureJson(run.failure ?? step?.failure ?? null),
    runs_on: run.edited ? JSON.stringify(run.runsOn) : null,
    pinned_worker_id: run.pinnedWorkerId,
    kept_pin_worker_id: run.keptPin?.workerId ?? null,
    executed_by_run_id: run.executedBy,
    step_backs: run.stepBacks,
  });
}

/** Of a run of one step that was given to a worker, and of which nothing else changed. */
export function runAssignRow(run: RunRecord): RunAssignRow {
  const step = run.steps[0] as StepRecord;
  const assignment = step.assignment as AssignmentRecord;
  return {
    run_id: run.runId,
    revision: run.revision,
    step_state: step.state,
    assigned_once: step.assignedOnce,
    assignment_id: assignment.assignmentId,
    assignment_number: assignment.number,
    worker_id: assignment.worker.workerId,
    worker_name: assignment.worker.name,
    device: deviceJson(assignment.device),
    labels_revision: assignment.labelsRevision,
    assign_ms: assignment.assignMs,
    pinned_worker_id: run.pinnedWorkerId,
    why: whyJson(step),
  };
}

/** Of a run of one step that was accepted, or has succeeded, and of which nothing else changed. */
export function runExecuteRow(run: RunRecord, outputJson: string | null): RunExecuteRow {
  const step = run.steps[0] as StepRecord;
  return {
    run_id: run.runId,
    revision: run.revision,
    state: run.state,
    start_ms: run.startMs,
    kept_pin_worker_id: run.keptPin?.workerId ?? null,
    step_state: step.state,
    started: step.started,
    accept_ms: step.assignment?.acceptMs ?? null,
    end_ms: run.endMs,
    progress: progressJson(step),
    output: outputJson,
  };
}

export function runInsertRow(run: RunRecord, inputJson: string, outputJson: string | null): RunInsertRow {
  const step = run.onlyStep;
  const { definition, metadata } = textsOf(run);
  return Object.assign(runUpdateRow(run, outputJson), {
    namespace: run.namespace.name,
    workflow: run.workflow?.name ?? null,
    workflow_version: run.workflow?.version ?? null,
    number: run.workflow === null ? null : run.number,
    action: step?.definition.action ?? null,
    step_name: step?.definition.name ?? null,
    sticky: run.sticky,
    concurrency: run.concurrency === null ? null : JSON.stringify(run.concurrency),
    depends_on: run.dependsOn.length === 0 ? null : JSON.stringify(run.dependsOn),
    definition,
    runs_on: JSON.stringify(run.runsOn),
    metadata,
    input: inputJson,
    request_id: run.requestId === '' ? null : run.requestId,
    request_digest: run.requestId === '' ? null : run.requestDigest,
    content_hash: run.equal?.contentHash ?? null,
    create_ms: run.createMs,
  });
}

function stepColumns(step: StepRecord, outputJson: string | null): StepColumns {
  const { assignment } = step;
  return {
    step_state: step.state,
    blocked_on: step.blockedOn,
    ready_sequence: step.readySequence,
    failures: step.failures,
    losses: step.losses,
    invalid_input: invalidInputJson(step),
    attempt_base: step.attemptBase,
    started: step.started,
    assigned_once: step.assignedOnce,
    assignment_id: assignment?.assignmentId ?? null,
    assignment_number: assignment?.number ?? null,
    worker_id: assignment?.worker.workerId ?? null,
    worker_name: assignment?.worker.name ?? null,
    device: deviceJson(assignment?.device ?? null),
    labels_revision: assignment?.labelsRevision ?? null,
    assign_ms: assignment?.assignMs ?? null,
    accept_ms: assignment?.acceptMs ?? null,
    ready_ms: step.readyMs,
    schedule_deadline_ms: step.scheduleDeadlineMs,
    end_ms: step.endMs,
    cancel_reason: assignment?.cancelReason ?? null,
    progress: progressJson(step),
    failure: failureJson(step.failure),
    why: whyJson(step),
    output: outputJson,
  };
}

function progressJson({ progress }: StepRecord): string | null {
  return progress === null ? null : JSON.stringify(progress);
}

/** Known from the moment of the assignment, and the same for as long as it lasts. */
function whyJson({ state, assignment }: StepRecord): string | null {
  return state === 'ASSIGNED' && assignment?.why ? placedText(assignment.why) : null;
}

export function stepUpdateRow(step: StepRecord, outputJson: string | null): StepUpdateRow {
  const { run, definition, generation, endSequence } = step;
  const own = { run_id: run.runId, name: definition.name, generation, end_sequence: endSequence };
  return Object.assign(stepColumns(step, outputJson), own);
}

export function stepInsertRow(step: StepRecord, outputJson: string | null): StepInsertRow {
  const { stepId, index, definition } = step;
  const own = { step_id: stepId, place: index, action: definition.action };
  return Object.assign(stepUpdateRow(step, outputJson), own);
}

export function stepOutputRow({ step, generation, outputJson }: StepOutput): StepOutputRow {
  return { run_id: step.run.runId, step_name: step.definition.name, generation, output: outputJson };
}

type StepOutput = Extract<Change, { table: 'step_outputs' }>;

export function stepTotalsRow({ namespace, workflow, action, succeeded, failed }: StepTotals): StepTotalsRow {
  return { namespace, workflow, action, succeeded, failed };
}

export function runTotalsRow({ namespace, workflow, ended }: RunTotals): RunTotalsRow {
  return { namespace, workflow, ended };
}

export function leaderboardRow({ namespace, nickname, completedCount }: LeaderboardLine): LeaderboardRow {
  return { namespace, nickname, completed_count: completedCount };
}

export function workflowNameRow({ namespace, name, latest, lastNumber }: WorkflowName): WorkflowNameRow {
  return { namespace, name, latest_version: latest.version, last_number: lastNumber };
}

export function workerRow(worker: WorkerRecord): WorkerRow {
  return {
    worker_id: worker.workerId,
    worker_number: worker.workerNumber,
    namespace: worker.namespace,
    name: worker.name,
    display_name: worker.displayName,
    nickname: worker.nickname,
    default_worker: worker.defaultWorker,
    tags: JSON.stringify(worker.tagList),
    labels: JSON.stringify([...worker.labels]),
    labels_revision: worker.labelsRevision,
    actions: JSON.stringify([...worker.actions]),
    slots: worker.slots,
    devices: worker.devices === null ? null : JSON.stringify(worker.devices),
    sdk: worker.sdk === null ? null : JSON.stringify(worker.sdk),
    draining: worker.draining,
    crashed: worker.crashed,
    session_hash: worker.sessionHash,
    reserved: reservedJson(worker),
    completed_count: worker.completedCount,
    register_ms: worker.registerMs,
    connect_ms: worker.connectMs,
    last_seen_ms: worker.lastSeenMs,
  };
}

export function namespaceRow(namespace: NamespaceRecord): NamespaceRow {
  return {
    name: namespace.name,
    match_mode: namespace.matchMode,
    retention_ms: namespace.retentionMs,
    schedule_timeout_ms: namespace.scheduleTimeoutMs,
  };
}

/** A lease as it is stored. */
export function deviceJson(device: Device | null): string | null {
  return device === null ? null : JSON.stringify(device);
}

/** Each kept place: the assignment's id, with its lease when it has one. */
function reservedJson({ reserved, leases }: WorkerRecord): string | null {
  if (reserved.size === 0) return null;
  return JSON.stringify([...reserved].map((id) => (leases.has(id) ? [id, leases.get(id)] : id)));
}

export function failureJson(failure: StepFailure | null): string | null {
  return failure === null ? null : JSON.stringify(failure);
}
