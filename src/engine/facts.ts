/** What workers state about the assignments they hold. */
import { isRefusal, type Refusal, refuse } from '../domain/refusal.ts';
import { retryDelayMs } from '../domain/retry.ts';
import { armAccept, countCompletion, endAssignment, freeReserved, reserveLate } from './assignments.ts';
import { capacityChanged } from './capacity.ts';
import type { CommandOf, ResultOf } from './commands.ts';
import { executionTimeoutOf } from './effects.ts';
import { closeCancelled, giveBack } from './losses.ts';
import { keepPin } from './pins.ts';
import { clearMissedAccept, workerOf } from './sessions.ts';
import type { AssignmentRecord, EngineState, FactKind, StepFailure, StepRecord, WorkerRecord } from './state.ts';
import { moveStep, startWaiting, stepHasEnded, updateRun } from './steps.ts';
import type { Turn } from './turn.ts';
import { exclude } from './waiting.ts';

export interface Held {
  readonly worker: WorkerRecord;
  readonly step: StepRecord;
  readonly assignment: AssignmentRecord;
}

/**
 * The assignment a fact is about, if this stream's worker holds it. `ends` is the ending the fact states: the very
 * fact that ended an assignment may come again (null: acknowledged, nothing to do); any other is stale.
 */
export function held(
  state: EngineState,
  turn: Turn,
  connection: number,
  assignmentId: string,
  ends: FactKind | null,
): Held | Refusal | null {
  const worker = workerOf(state, connection);
  if (isRefusal(worker)) return worker;
  worker.lastSeenMs = turn.nowMs;
  if (worker.acceptMissed) {
    clearMissedAccept(state, worker);
    capacityChanged(turn, worker);
  }
  const step = state.assignments.get(assignmentId);
  if (step?.assignment?.worker === worker) return { worker, step, assignment: step.assignment };
  if (ends !== null) {
    freeReserved(turn, worker, assignmentId);
    if (state.endedAssignments.get(assignmentId)?.fact === ends) return null;
  }
  return refuse('STALE_ASSIGNMENT', `assignment_id "${assignmentId}" is not held by this stream`, {
    assignment_id: assignmentId,
  });
}

export function notRunning(found: Held, fact: string): Refusal {
  return refuse('STEP_STATE', `${fact} of assignment "${found.assignment.assignmentId}": it was not accepted yet`, {
    assignment_id: found.assignment.assignmentId,
    state: found.step.state,
  });
}

export function handedOver(state: EngineState, turn: Turn, command: CommandOf<'handed_over'>): null {
  const { connection, assignmentId } = command;
  const step = state.assignments.get(assignmentId);
  if (step?.assignment == null) {
    const worker = state.workersByConnection.get(connection);
    if (worker) reserveLate(turn, worker, assignmentId);
    return null;
  }
  if (step.assignment.acceptMs !== null) return null;
  step.assignment.handedOver = true;
  armAccept(state, turn, step);
  return null;
}

export function acceptStep(state: EngineState, turn: Turn, command: CommandOf<'accept_step'>): null | Refusal {
  const found = held(state, turn, command.connection, command.assignmentId, null);
  if (found === null || isRefusal(found)) return found;
  const { step, assignment } = found;
  if (assignment.acceptMs !== null) return null;
  moveStep(step, 'ACCEPT');
  assignment.acceptMs = turn.nowMs;
  assignment.handedOver = true;
  step.started = true;
  keepPin(step.run, assignment);
  state.timers.disarm(assignment.acceptTimer);
  state.timers.disarm(step);
  armExecution(state, step, assignment, turn.nowMs);
  updateRun(state, turn, step, null, 'EXECUTION');
  return null;
}

/** The clocks of a running attempt: its time counts from `fromMs`, its silence from `heardMs`. */
export function armExecution(
  state: EngineState,
  step: StepRecord,
  assignment: AssignmentRecord,
  fromMs: number,
  heardMs: number = fromMs,
): void {
  const executionTimeoutMs = executionTimeoutOf(step);
  if (executionTimeoutMs !== null) {
    assignment.executionTimer = state.timers.arm(fromMs + executionTimeoutMs, { kind: 'execution', step });
  }
  heardOf(state, step, assignment, heardMs);
}

/** Progress or a log line: the silence of the attempt starts anew. */
function heardOf(state: EngineState, step: StepRecord, assignment: AssignmentRecord, nowMs: number): void {
  const { progressTimeoutMs } = step.definition;
  if (progressTimeoutMs === null) return;
  state.timers.disarm(assignment.progressTimer);
  assignment.progressTimer = state.timers.arm(nowMs + progressTimeoutMs, { kind: 'progress', step });
}

export function returnStep(state: EngineState, turn: Turn, command: CommandOf<'return_step'>): null | Refusal {
  const found = held(state, turn, command.connection, command.assignmentId, 'returned');
  if (found === null || isRefusal(found)) return found;
  const { worker, step, assignment } = found;
  // Only a worker whose labels moved on after the match can have been matched under stale ones.
  const stale = assignment.labelsRevision < worker.labelsRevision;
  const reason = command.reason === 'STALE_LABELS' && !stale ? 'NOT_READY' : command.reason;
  exclude(state, turn, step, worker);
  giveBack(state, turn, step, reason, 'returned');
  return null;
}

export function progressStep(state: EngineState, turn: Turn, command: CommandOf<'progress_step'>): null | Refusal {
  const found = held(state, turn, command.connection, command.assignmentId, null);
  if (found === null || isRefusal(found)) return found;
  if (found.assignment.acceptMs === null) return notRunning(found, 'step_progressed');
  // Progress is the last word, not a fact to keep: it is written with the next change of the run, never on its own.
  found.step.progress = command.progress;
  heardOf(state, found.step, found.assignment, turn.nowMs);
  return null;
}

export function logStep(
  state: EngineState,
  turn: Turn,
  command: CommandOf<'log_step'>,
): ResultOf<'log_step'> | Refusal {
  const found = held(state, turn, command.connection, command.assignmentId, null);
  if (found === null) return refuse('STALE_ASSIGNMENT', `assignment_id "${command.assignmentId}" has ended`);
  if (isRefusal(found)) return found;
  if (found.assignment.acceptMs === null) return notRunning(found, 'step_logged');
  heardOf(state, found.step, found.assignment, turn.nowMs);
  const { step, assignment } = found;
  return { runId: step.run.runId, stepName: step.definition.name, attempt: assignment.number };
}

export function succeedStep(state: EngineState, turn: Turn, command: CommandOf<'succeed_step'>): null | Refusal {
  const found = held(state, turn, command.connection, command.assignmentId, 'succeeded');
  if (found === null || isRefusal(found)) return found;
  const { worker, step, assignment } = found;
  if (assignment.acceptMs === null) return notRunning(found, 'step_succeeded');
  endAssignment(state, turn, step, { event: 'SUCCEED', outcome: 'SUCCEEDED', failure: null, fact: 'succeeded' });
  countCompletion(state, turn, worker);
  stepHasEnded(state, turn, step, null, command.outputJson);
  return null;
}

export function failStep(state: EngineState, turn: Turn, command: CommandOf<'fail_step'>): null | Refusal {
  const found = held(state, turn, command.connection, command.assignmentId, 'failed');
  if (found === null || isRefusal(found)) return found;
  if (found.assignment.acceptMs === null) return notRunning(found, 'step_failed');
  attemptFailed(state, turn, found.step, command.failure, { fact: 'failed', exhausted: 'FAIL' });
  return null;
}

/** One attempt failed: another follows while the budget lasts, else the step ends by `exhausted`. */
export function attemptFailed(
  state: EngineState,
  turn: Turn,
  step: StepRecord,
  failure: StepFailure,
  how: { fact: 'failed' | null; exhausted: 'FAIL' | 'TIME_OUT' },
): void {
  step.failures += 1;
  const cancelled = step.assignment?.cancelReason != null;
  const delayMs = cancelled ? null : retryDelayMs(step.definition.retry, step.failures, failure.retryable ?? true);
  const event = delayMs === null ? how.exhausted : delayMs === 0 ? 'RETRY' : 'BACK_OFF';
  endAssignment(state, turn, step, { event, outcome: failure.reason, failure, fact: how.fact });
  if (delayMs === null) {
    stepHasEnded(state, turn, step, failure);
  } else if (delayMs === 0) {
    startWaiting(state, turn, step, 'FRESH');
    updateRun(state, turn, step);
  } else {
    // Stored with the row, so that a restart does not shorten the wait.
    step.readyMs = turn.nowMs + delayMs;
    step.blockedOn = 'BACKING_OFF';
    step.backoffTimer = state.timers.arm(turn.nowMs + delayMs, { kind: 'backoff', step });
    updateRun(state, turn, step);
  }
}

/** The handler stopped as it was told to. */
export function confirmCancel(state: EngineState, turn: Turn, command: CommandOf<'confirm_cancel'>): null | Refusal {
  const found = held(state, turn, command.connection, command.assignmentId, 'cancelled');
  if (found === null || isRefusal(found)) return found;
  const { step, assignment } = found;
  if (assignment.cancelReason === null) {
    return refuse('STEP_STATE', `step_cancelled of assignment "${assignment.assignmentId}": nobody asked it to stop`, {
      assignment_id: assignment.assignmentId,
    });
  }
  closeCancelled(state, turn, step, 'cancelled');
  return null;
}
