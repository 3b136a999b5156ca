/** What becomes of a worker's assignments when it is gone. */
import { mayLoseMore } from '../domain/retry.ts';
import { endAssignment } from './assignments.ts';
import type { EngineState, FactKind, StepRecord, WorkerRecord } from './state.ts';
import { failureOf, startWaiting, stepHasEnded, updateRun } from './steps.ts';
import { type Turn, workerChanged } from './turn.ts';

export type LossReason = 'WORKER_LOST' | 'WORKER_GOODBYE' | 'WORKER_DELETED' | 'SUPERSEDED' | 'SESSION_DROPPED';

/** Everything the worker holds. What it had accepted is lost; what it had not goes back free of charge. */
export function loseAll(state: EngineState, turn: Turn, worker: WorkerRecord, reason: LossReason): void {
  for (const step of [...worker.assignments.values()]) lose(state, turn, step, reason);
}

export function lose(state: EngineState, turn: Turn, step: StepRecord, reason: LossReason): void {
  const { assignment } = step;
  if (assignment === null) return;
  if (reason === 'WORKER_LOST') {
    assignment.worker.crashed = true;
    workerChanged(turn, assignment.worker);
  }
  // A goodbye is the worker giving its work back in good order, and a delete is nobody's failure: no attempt and no
  // loss is counted.
  if (assignment.acceptMs === null || reason === 'WORKER_GOODBYE' || reason === 'WORKER_DELETED') {
    giveBack(state, turn, step, reason);
    return;
  }
  if (assignment.cancelReason !== null) {
    closeCancelled(state, turn, step, null);
    return;
  }
  step.losses += 1;
  const again = mayLoseMore(step.definition.retry, step.losses);
  const failure = failureOf(reason, `worker "${assignment.worker.name}" was lost while it held the step`);
  endAssignment(state, turn, step, { event: again ? 'RETRY' : 'CRASH', outcome: reason, failure, fact: null });
  if (again) {
    startWaiting(state, turn, step, 'FRESH');
    updateRun(state, turn, step);
  } else {
    stepHasEnded(state, turn, step, failure);
  }
}

/**
 * Back to its old place in the queue: no attempt used up, and the schedule clock goes on if it still runs. What was
 * cancelled goes nowhere any more.
 */
export function giveBack(
  state: EngineState,
  turn: Turn,
  step: StepRecord,
  reason: string,
  fact: 'returned' | null = null,
): void {
  if (step.assignment?.cancelReason != null) {
    closeCancelled(state, turn, step, fact);
    return;
  }
  const accepted = step.assignment?.acceptMs != null;
  endAssignment(state, turn, step, { event: 'RETURN', outcome: reason, failure: null, fact });
  startWaiting(state, turn, step, accepted ? 'FRESH' : 'GOES_ON');
  updateRun(state, turn, step);
}

/** Closes a cancelled step; without the worker's word (`fact` null) its place stays reserved. */
export function closeCancelled(state: EngineState, turn: Turn, step: StepRecord, fact: FactKind | null): void {
  const failure = failureOf('CANCELLED', step.assignment?.cancelReason ?? 'cancelled');
  endAssignment(state, turn, step, { event: 'CANCEL', outcome: 'CANCELLED', failure, fact });
  stepHasEnded(state, turn, step, failure);
}
