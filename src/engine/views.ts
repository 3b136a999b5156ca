/** Plain pictures of what is, made for answers; nothing in them changes afterwards. */

import type { Device } from '../domain/devices.ts';
import type { Explanation } from '../domain/explain.ts';
import type { Labels } from '../domain/labels.ts';
import type { RunState } from '../domain/run.ts';
import type { StepState } from '../domain/step.ts';
import type { Sticky } from '../domain/sticky.ts';
import type { MatchMode } from '../domain/tags.ts';
import { type WorkerState, workerStateOf } from '../domain/worker.ts';
import { openNeeds } from './generations.ts';
import type {
  Concurrency,
  DeviceDeclaration,
  NamespaceRecord,
  Progress,
  RunRecord,
  SdkInfo,
  StepFailure,
  StepRecord,
  WorkerRecord,
  WorkflowRecord,
} from './state.ts';

export interface NamespaceView {
  readonly name: string;
  readonly matchMode: MatchMode;
  readonly retentionMs: number;
  readonly scheduleTimeoutMs: number;
}

export interface WorkflowView {
  readonly name: string;
  readonly version: number;
  readonly sticky: Sticky;
  readonly createMs: number;
}

export interface WorkerView {
  readonly workerId: string;
  readonly workerNumber: number;
  readonly name: string;
  readonly namespace: string;
  readonly displayName: string;
  readonly nickname: string;
  readonly state: WorkerState;
  readonly draining: boolean;
  readonly defaultWorker: boolean;
  readonly tags: readonly string[];
  readonly labels: Labels;
  readonly labelsRevision: number;
  readonly actions: readonly string[];
  readonly slots: number;
  readonly slotsUsed: number;
  readonly devices: DeviceDeclaration | null;
  readonly assignments: readonly {
    readonly assignmentId: string;
    readonly runId: string;
    readonly stepName: string;
    readonly progress: Progress | null;
  }[];
  readonly completedCount: number;
  readonly registerMs: number;
  readonly connectMs: number | null;
  readonly lastSeenMs: number | null;
  readonly sdk: SdkInfo | null;
  readonly notReadyReason: string;
}

export interface AttemptView {
  readonly number: number;
  readonly assignmentId: string;
  readonly workerId: string;
  readonly workerName: string;
  readonly device: Device | null;
  readonly labelsRevision: number;
  readonly assignMs: number;
  readonly acceptMs: number | null;
  readonly endMs: number | null;
  /** Empty while it goes on. */
  readonly outcome: string;
  readonly failure: StepFailure | null;
  /** Why this worker, as of the assignment; null: not recorded. */
  readonly why: Explanation | null;
}

export interface StepView {
  readonly stepId: string;
  readonly name: string;
  readonly action: string;
  readonly state: StepState;
  readonly blockedReason: string;
  readonly attempts: readonly AttemptView[];
  readonly generation: number;
  /** Of its input, since that last changed. */
  readonly invalidReports: number;
  readonly progress: Progress | null;
  readonly readyMs: number | null;
  readonly endMs: number | null;
  readonly outputJson: string;
  readonly failure: StepFailure | null;
}

export interface RunView {
  readonly runId: string;
  readonly namespace: string;
  /** Empty: none. */
  readonly workflow: string;
  readonly workflowVersion: number;
  readonly number: number;
  readonly state: RunState;
  readonly priority: number;
  readonly sticky: Sticky;
  /** Empty: none. */
  readonly pinnedWorkerId: string;
  readonly concurrency: Concurrency | null;
  readonly dependsOn: readonly string[];
  readonly runsOn: readonly string[];
  readonly inputJson: string;
  readonly outputJson: string;
  readonly failure: StepFailure | null;
  /** Empty: equal runs are not looked for. */
  readonly contentHash: string;
  /** The equal run that did the work; empty: its own. */
  readonly executedByRunId: string;
  readonly metadata: Readonly<Record<string, string>>;
  readonly requestId: string;
  readonly revision: number;
  readonly createMs: number;
  readonly startMs: number | null;
  readonly endMs: number | null;
  readonly steps: readonly StepView[];
}

export function namespaceView(namespace: NamespaceRecord): NamespaceView {
  return { ...namespace };
}

export function workflowView({ name, version, sticky, createMs }: WorkflowRecord): WorkflowView {
  return { name, version, sticky, createMs };
}

export function workerView(worker: WorkerRecord): WorkerView {
  return {
    workerId: worker.workerId,
    workerNumber: worker.workerNumber,
    name: worker.name,
    namespace: worker.namespace,
    displayName: worker.displayName,
    nickname: worker.nickname,
    state: workerStateOf({
      connected: worker.connection !== null,
      holds: worker.assignments.size,
      crashed: worker.crashed,
    }),
    draining: worker.draining,
    defaultWorker: worker.defaultWorker,
    tags: worker.tagList,
    labels: worker.labels,
    labelsRevision: worker.labelsRevision,
    actions: [...worker.actions],
    slots: worker.slots,
    slotsUsed: worker.slotsUsed,
    devices: worker.devices,
    assignments: [...worker.assignments].map(([assignmentId, step]) => ({
      assignmentId,
      runId: step.run.runId,
      stepName: step.definition.name,
      progress: step.progress,
    })),
    completedCount: worker.completedCount,
    registerMs: worker.registerMs,
    connectMs: worker.connectMs,
    lastSeenMs: worker.lastSeenMs,
    sdk: worker.sdk,
    notReadyReason: worker.notReadyReason ?? '',
  };
}

/** A run as memory knows it: without earlier attempts, and without the output, which only the store has. */
export function runView(run: RunRecord, inputJson: string): RunView {
  return {
    runId: run.runId,
    namespace: run.namespace.name,
    workflow: run.workflow?.name ?? '',
    workflowVersion: run.workflow?.version ?? 0,
    number: run.number,
    state: run.state,
    priority: run.priority,
    sticky: run.sticky,
    pinnedWorkerId: run.pinnedWorkerId ?? '',
    concurrency: run.concurrency,
    dependsOn: run.dependsOn,
    runsOn: run.runsOn,
    inputJson,
    outputJson: '',
    failure: run.failure,
    contentHash: run.equal?.contentHash ?? '',
    executedByRunId: run.executedBy ?? '',
    metadata: run.metadata,
    requestId: run.requestId,
    revision: run.revision,
    createMs: run.createMs,
    startMs: run.startMs,
    endMs: run.endMs,
    steps: run.steps.map(stepView),
  };
}

function stepView(step: StepRecord): StepView {
  return {
    stepId: step.stepId,
    name: step.definition.name,
    action: step.definition.action,
    state: step.state,
    blockedReason: blockedReason(step),
    attempts: step.assignment === null ? [] : [currentAttempt(step.assignment)],
    generation: step.generation,
    invalidReports: step.invalidInput?.reports ?? 0,
    progress: progressOf(step),
    readyMs: step.readyMs,
    endMs: step.endMs,
    outputJson: '',
    failure: step.failure,
  };
}

/** A run that follows an equal one shows how far that has come; their steps are the same ones. */
export function progressOf({ run, index, progress }: StepRecord): Progress | null {
  return run.follows?.record.leader?.steps[index]?.progress ?? progress;
}

/** What keeps the step from being ready, for a person; empty when nothing does. */
export function blockedReason(step: StepRecord): string {
  const { run } = step;
  switch (step.blockedOn) {
    case null:
      return '';
    case 'NEEDS':
      return `NEEDS ${openNeedsOf(step).join(', ')}`;
    case 'DEPENDS_ON_RUN':
      return `DEPENDS_ON_RUN ${run.dependsOn.join(', ')}`;
    case 'HELD':
      return run.concurrency === null ? 'HELD' : `HELD concurrency key "${run.concurrency.key}"`;
    case 'EQUAL':
      return `HELD equal run ${run.follows?.record.leader?.runId ?? ''}`;
    case 'BACKING_OFF':
      return 'BACKING_OFF';
  }
}

/** Names of the steps it takes outputs of that have not succeeded yet. */
export function openNeedsOf(step: StepRecord): string[] {
  return openNeeds(step).map((need) => need.definition.name);
}

function currentAttempt(assignment: NonNullable<StepRecord['assignment']>): AttemptView {
  return {
    number: assignment.number,
    assignmentId: assignment.assignmentId,
    workerId: assignment.worker.workerId,
    workerName: assignment.worker.name,
    device: assignment.device,
    labelsRevision: assignment.labelsRevision,
    assignMs: assignment.assignMs,
    acceptMs: assignment.acceptMs,
    endMs: null,
    outcome: '',
    failure: null,
    why: assignment.why,
  };
}
