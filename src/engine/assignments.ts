/** An assignment from its birth to its end: the step, the worker's slot and every timer of it, changed together. */
import { assignmentIdFor } from '../domain/assignment_id.ts';
import { type Device, freeDevice } from '../domain/devices.ts';
import { placedText } from '../domain/placed_text.ts';
import type { StepEvent } from '../domain/step.ts';
import { capacityChanged } from './capacity.ts';
import { becomeLive, reconsiderLive } from './concurrency.ts';
import { offerOf } from './effects.ts';
import { armForget } from './forgetting.ts';
import { deviceJson, failureJson } from './images.ts';
import { pinByAssignment, reconsiderPin } from './pins.ts';
import type { AttemptRow } from './rows.ts';
import type { AssignmentRecord, EngineState, FactKind, StepFailure, StepRecord, WorkerRecord } from './state.ts';
import { moveStep } from './steps.ts';
import { NO_TIMER } from './timers.ts';
import { countOnLeaderboard } from './totals.ts';
import { stepChanged, type Turn, workerChanged } from './turn.ts';
import { dequeue } from './waiting.ts';

/** Gives the step to the worker; the caller has checked that it may take it. */
export function assign(
  state: EngineState,
  turn: Turn,
  step: StepRecord,
  worker: WorkerRecord,
  why: AssignmentRecord['why'],
): void {
  dequeue(state, step);
  moveStep(step, 'ASSIGN');
  state.assignSequence += 1;
  const device = leaseFor(step, worker);
  const assignment: AssignmentRecord = {
    assignmentId: assignmentIdFor(step.run.runId, turn.ids.randomId()),
    worker,
    number: step.attemptBase + step.failures + step.losses + 1,
    sequence: state.assignSequence,
    why,
    device,
    labelsRevision: worker.labelsRevision,
    assignMs: turn.nowMs,
    acceptMs: null,
    handedOver: false,
    cancelReason: null,
    acceptTimer: NO_TIMER,
    executionTimer: NO_TIMER,
    progressTimer: NO_TIMER,
    graceTimer: NO_TIMER,
    cancelTimer: NO_TIMER,
  };
  step.assignment = assignment;
  step.assignedOnce = true;
  armAccept(state, turn, step);
  step.progress = null;
  worker.lastAssignSequence = state.assignSequence;
  worker.lastAssignMs = turn.nowMs;
  worker.assignments.set(assignment.assignmentId, step);
  if (device !== null) worker.leases.set(assignment.assignmentId, device);
  state.assignments.set(assignment.assignmentId, step);
  // It has less room than before: what waits did not become possible for it by this.
  const wasFreed = turn.freedWorkers.has(worker);
  capacityChanged(turn, worker);
  if (!wasFreed) turn.freedWorkers.delete(worker);
  becomeLive(state, turn, step.run, (other) => moveStep(other, 'HOLD'));
  pinByAssignment(state, turn, step);
  stepChanged(turn, step, null, 'ASSIGNMENT');
  turn.effects.push({
    kind: 'run_step',
    connection: worker.connection as number,
    offer: offerOf(step, assignment),
  });
}

/**
 * Counted from the hand-over to the transport, and from a resume; until then from the assignment, since what never gets
 * that far must not wait for ever.
 */
export function armAccept(state: EngineState, turn: Turn, step: StepRecord): void {
  const { assignment } = step;
  if (assignment === null) return;
  state.timers.disarm(assignment.acceptTimer);
  assignment.acceptTimer = state.timers.arm(turn.nowMs + state.times.acceptTimeoutMs, { kind: 'accept', step });
}

function leaseFor(step: StepRecord, { devices, slots, devicesInUse }: WorkerRecord): Device | null {
  const { device } = step.demand.spec;
  return device === null ? null : freeDevice(devices, slots, devicesInUse, device);
}

export interface Ending {
  /** What becomes of the step. */
  readonly event: StepEvent;
  /** Written beside the attempt; a reason of the one list, or SUCCEEDED. */
  readonly outcome: string;
  readonly failure: StepFailure | null;
  /** The worker's own fact that ended it; null when the server did. */
  readonly fact: FactKind | null;
}

/**
 * Ends the step's assignment and moves the step on. What the worker itself ended frees the slot; what the server
 * ended keeps it reserved, since the handler may still run, and tells the worker.
 */
export function endAssignment(state: EngineState, turn: Turn, step: StepRecord, ending: Ending): void {
  const assignment = step.assignment as AssignmentRecord;
  const { worker, assignmentId } = assignment;
  disarmAll(state, assignment);
  moveStep(step, ending.event);
  state.assignments.delete(assignmentId);
  const untilMs = turn.nowMs + state.times.endedInMemoryMs;
  state.endedAssignments.set(assignmentId, { fact: ending.fact, untilMs });
  armForget(state, untilMs);
  worker.assignments.delete(assignmentId);
  if (ending.fact === null) {
    if (assignment.handedOver) reserve(turn, worker, assignmentId);
    pushCancel(turn, worker, assignmentId, ending.outcome);
  }
  if (ending.event !== 'SUCCEED') {
    turn.changes.push({ table: 'attempts', attempt: attemptRow(turn, step, assignment, ending) });
    step.assignment = null;
    step.progress = null;
    if (assignment.acceptMs === null) {
      reconsiderPin(state, turn, step.run);
      reconsiderLive(state, turn, step.run, false);
    }
  }
  capacityChanged(turn, worker);
}

/** Keeps the place for a handler that may still run: as long as there is a process that could be running it. */
function reserve(turn: Turn, worker: WorkerRecord, assignmentId: string): void {
  if (worker.sessionHash === null) return;
  worker.reserved.add(assignmentId);
  workerChanged(turn, worker);
}

/** What has not left yet is taken out of the stream's queue by it. */
function pushCancel(turn: Turn, worker: WorkerRecord, assignmentId: string, reason: string): void {
  if (worker.connection === null) return;
  turn.effects.push({ kind: 'cancel_step', connection: worker.connection, assignmentId, reason });
}

/** It ended while it was on its way out: the worker will be told to stop it, and says when it has. */
export function reserveLate(turn: Turn, worker: WorkerRecord, assignmentId: string): void {
  reserve(turn, worker, assignmentId);
  capacityChanged(turn, worker);
}

/** The worker said that what the server had ended is over: its place is free. */
export function freeReserved(turn: Turn, worker: WorkerRecord, assignmentId: string): boolean {
  if (!worker.reserved.delete(assignmentId)) return false;
  workerChanged(turn, worker);
  capacityChanged(turn, worker);
  return true;
}

/** One more accepted completion. */
export function countCompletion(state: EngineState, turn: Turn, worker: WorkerRecord): void {
  worker.completedCount += 1;
  countOnLeaderboard(state, turn, worker.namespace, worker.nickname);
  workerChanged(turn, worker);
}

function disarmAll(state: EngineState, assignment: AssignmentRecord): void {
  state.timers.disarm(assignment.acceptTimer);
  state.timers.disarm(assignment.executionTimer);
  state.timers.disarm(assignment.progressTimer);
  state.timers.disarm(assignment.graceTimer);
  state.timers.disarm(assignment.cancelTimer);
}

/** How the step succeeded, as a row: its own will soon show another assignment. */
export function successRow(turn: Turn, step: StepRecord): AttemptRow | null {
  const { assignment, endMs } = step;
  if (assignment === null) return step.storedSuccess;
  const ending: Ending = { event: 'SUCCEED', outcome: 'SUCCEEDED', failure: null, fact: 'succeeded' };
  return { ...attemptRow(turn, step, assignment, ending), end_ms: endMs ?? turn.nowMs };
}

function attemptRow(turn: Turn, step: StepRecord, assignment: AssignmentRecord, ending: Ending): AttemptRow {
  return {
    assignment_id: assignment.assignmentId,
    run_id: step.run.runId,
    step_name: step.definition.name,
    number: assignment.number,
    worker_id: assignment.worker.workerId,
    worker_name: assignment.worker.name,
    device: deviceJson(assignment.device),
    labels_revision: assignment.labelsRevision,
    assign_ms: assignment.assignMs,
    accept_ms: assignment.acceptMs,
    end_ms: turn.nowMs,
    outcome: ending.outcome,
    fact: ending.fact,
    failure: failureJson(ending.failure),
    why: assignment.why === null ? null : placedText(assignment.why),
  };
}
