/** Runs on the wire. */
import type { MessageInitShape } from '@bufbuild/protobuf';
import {
  type RunSchema,
  type Priority as WirePriority,
  RunState as WireRunState,
  StepState as WireStepState,
} from '../../../gen/yardmaster/v1/run_pb.ts';
import type { RunState } from '../../domain/run.ts';
import type { StepState } from '../../domain/step.ts';
import type { StepFailure } from '../../engine/state.ts';
import type { AttemptView, RunView, StepView } from '../../engine/views.ts';
import { writeDevice } from './device.ts';
import { writeExplanation } from './explain.ts';
import { writeSticky } from './sticky.ts';
import { optionalTime, timeOrNone, timestamp } from './time.ts';

const RUN_STATES: Readonly<Record<RunState, WireRunState>> = {
  PENDING: WireRunState.PENDING,
  RUNNING: WireRunState.RUNNING,
  SUCCEEDED: WireRunState.SUCCEEDED,
  FAILED: WireRunState.FAILED,
  CRASHED: WireRunState.CRASHED,
  TIMED_OUT: WireRunState.TIMED_OUT,
  CANCELLED: WireRunState.CANCELLED,
};

const STEP_STATES: Readonly<Record<StepState, WireStepState>> = {
  BLOCKED: WireStepState.BLOCKED,
  PENDING: WireStepState.PENDING,
  ASSIGNED: WireStepState.ASSIGNED,
  RUNNING: WireStepState.RUNNING,
  SUCCEEDED: WireStepState.SUCCEEDED,
  FAILED: WireStepState.FAILED,
  CRASHED: WireStepState.CRASHED,
  TIMED_OUT: WireStepState.TIMED_OUT,
  CANCELLED: WireStepState.CANCELLED,
  SKIPPED: WireStepState.SKIPPED,
};

/** The rule's name of a state on the wire, or undefined for a number that names none. */
export function runStateFromWire(state: WireRunState): RunState | undefined {
  return (Object.keys(RUN_STATES) as RunState[]).find((name) => RUN_STATES[name] === state);
}

/** A Run before it is a message: on gRPC it is written as it is. */
export type WrittenRun = MessageInitShape<typeof RunSchema>;

/** As lists show it. */
export function writeListedRun(view: RunView): WrittenRun {
  const steps = view.steps.map((step) => ({ ...step, attempts: [], outputJson: '' }));
  return writeRun({ ...view, inputJson: '', outputJson: '', steps });
}

export function writeRun(view: RunView): WrittenRun {
  return {
    runId: view.runId,
    number: BigInt(view.number),
    namespace: view.namespace,
    workflow: view.workflow,
    workflowVersion: view.workflowVersion,
    state: RUN_STATES[view.state],
    steps: view.steps.map(writeStep),
    runsOn: [...view.runsOn],
    priority: view.priority as WirePriority,
    sticky: writeSticky(view.sticky),
    pinnedWorkerId: view.pinnedWorkerId,
    inputJson: view.inputJson,
    outputJson: view.outputJson,
    error: errorOf(view.failure),
    dependsOnRunIds: [...view.dependsOn],
    concurrency: view.concurrency ?? undefined,
    contentHash: view.contentHash,
    executedByRunId: view.executedByRunId,
    metadata: { ...view.metadata },
    requestId: view.requestId,
    revision: BigInt(view.revision),
    createTime: timestamp(view.createMs),
    startTime: timeOrNone(view.startMs),
    endTime: timeOrNone(view.endMs),
  };
}

function writeStep(step: StepView) {
  return {
    stepId: step.stepId,
    name: step.name,
    action: step.action,
    state: STEP_STATES[step.state],
    blockedReason: step.blockedReason,
    attempts: step.attempts.map(writeAttempt),
    generation: step.generation,
    invalidReports: step.invalidReports,
    progressText: step.progress?.text ?? '',
    progressPhase: step.progress?.phase ?? '',
    progressFraction: step.progress?.fraction ?? undefined,
    readyTime: timeOrNone(step.readyMs),
    endTime: timeOrNone(step.endMs),
    outputJson: step.outputJson,
    error: errorOf(step.failure),
  };
}

function writeAttempt(attempt: AttemptView) {
  return {
    number: attempt.number,
    assignmentId: attempt.assignmentId,
    workerId: attempt.workerId,
    workerName: attempt.workerName,
    ...(attempt.device === null ? {} : { device: writeDevice(attempt.device) }),
    labelsRevision: BigInt(attempt.labelsRevision),
    assignTime: timestamp(attempt.assignMs),
    ...optionalTime('acceptTime', attempt.acceptMs),
    ...optionalTime('endTime', attempt.endMs),
    outcome: attempt.outcome,
    error: errorOf(attempt.failure),
    ...(attempt.why === null ? {} : { why: writeExplanation(attempt.why) }),
  };
}

function errorOf(failure: StepFailure | null) {
  if (failure === null) return undefined;
  const { reason, type, message, stack, retryable, causedById, explanation } = failure;
  return {
    reason,
    type,
    message,
    stack,
    ...(retryable === null ? {} : { retryable }),
    ...(causedById === undefined ? {} : { causedById }),
    ...(explanation === undefined ? {} : { explanation: writeExplanation(explanation) }),
  };
}
