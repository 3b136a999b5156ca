/** What happens when a deadline has come. */

import { endAssignment } from './assignments.ts';
import { capacityChanged } from './capacity.ts';
import { explainWaiting } from './explain.ts';
import { attemptFailed } from './facts.ts';
import { forgetEnded } from './forgetting.ts';
import { closeCancelled, giveBack, lose } from './losses.ts';
import type { AssignmentRecord, Due, EngineState, StepRecord, WorkerRecord } from './state.ts';
import { becomeReady, endWaitingStep, failureOf, stepHasEnded, updateRun } from './steps.ts';
import { NO_TIMER } from './timers.ts';
import { type Turn, workerChanged } from './turn.ts';
import { armReoffer, exclude } from './waiting.ts';

/** Fires everything due at the turn's time. */
export function tick(state: EngineState, turn: Turn): null {
  for (let due = state.timers.takeDue(turn.nowMs); due !== null; due = state.timers.takeDue(turn.nowMs)) {
    fire(state, turn, due);
  }
  return null;
}

/** Waits, rather than deadlines: nobody is timed out by their end. */
const WAITS: ReadonlySet<Due['kind']> = new Set(['backoff', 'reoffer', 'accept_missed', 'forget']);

/**
 * Nothing could be heard or stored for a while, by no fault of the workers or of whoever waits: every deadline is at
 * least the grace away, as after a restart.
 */
export function postponeDeadlines(state: EngineState, turn: Turn): null {
  postponeTo(state, turn.nowMs + state.times.reconnectGraceMs);
  return null;
}

export function postponeTo(state: EngineState, earliestMs: number): void {
  state.timers.postpone(earliestMs, (due) => {
    if (due.kind === 'schedule') due.step.scheduleDeadlineMs = Math.max(due.step.scheduleDeadlineMs ?? 0, earliestMs);
    return !WAITS.has(due.kind);
  });
}

function fire(state: EngineState, turn: Turn, due: Due): void {
  switch (due.kind) {
    case 'schedule':
      scheduleTimedOut(state, turn, due.step);
      break;
    case 'backoff':
      backoffOver(state, turn, due.step);
      break;
    case 'reoffer':
      due.step.reofferTimer = NO_TIMER;
      turn.openedDemands.add(due.step.demand);
      armReoffer(state, turn, due.step);
      break;
    case 'accept':
      acceptMissed(state, turn, due.step);
      break;
    case 'execution':
      attemptTimedOut(state, turn, due.step, 'EXECUTION_TIMEOUT', 'the attempt took longer than its execution_timeout');
      break;
    case 'progress':
      attemptTimedOut(
        state,
        turn,
        due.step,
        'EXECUTION_TIMEOUT',
        'the attempt was silent for longer than its progress_timeout',
      );
      break;
    case 'cancel':
      closeCancelled(state, turn, due.step, null);
      break;
    case 'grace':
      lose(state, turn, due.step, 'WORKER_LOST');
      break;
    case 'worker_grace':
      sessionOver(state, turn, due.worker);
      break;
    case 'accept_missed':
      due.worker.acceptMissed = false;
      due.worker.acceptMissedTimer = NO_TIMER;
      capacityChanged(turn, due.worker);
      break;
    case 'forget':
      forgetEnded(state, turn.nowMs);
      break;
  }
}

function scheduleTimedOut(state: EngineState, turn: Turn, step: StepRecord): void {
  const waitedMs = turn.nowMs - (step.readyMs ?? turn.nowMs);
  const explanation = explainWaiting(state, turn, step);
  const message = `no worker took the step within ${Math.round(waitedMs)} ms: ${explanation.summary}`;
  const failure = { ...failureOf('SCHEDULE_TIMEOUT', message), explanation };
  if (step.assignment === null) {
    endWaitingStep(state, turn, step, 'TIME_OUT', failure);
  } else {
    // Offered, and not accepted: the wait is over all the same.
    endAssignment(state, turn, step, { event: 'TIME_OUT', outcome: 'SCHEDULE_TIMEOUT', failure, fact: null });
    stepHasEnded(state, turn, step, failure);
  }
}

function backoffOver(state: EngineState, turn: Turn, step: StepRecord): void {
  step.backoffTimer = NO_TIMER;
  becomeReady(state, turn, step);
  updateRun(state, turn, step);
}

/** Withdrawn and given to somebody else; the worker gets nothing more until it shows that it reads. */
function acceptMissed(state: EngineState, turn: Turn, step: StepRecord): void {
  const { worker } = step.assignment as AssignmentRecord;
  worker.acceptMissed = true;
  state.timers.disarm(worker.acceptMissedTimer);
  const untilMs = turn.nowMs + state.times.missedAcceptPauseMsMax;
  worker.acceptMissedTimer = state.timers.arm(untilMs, { kind: 'accept_missed', worker });
  exclude(state, turn, step, worker);
  giveBack(state, turn, step, 'ACCEPT_TIMEOUT');
}

function attemptTimedOut(state: EngineState, turn: Turn, step: StepRecord, reason: string, message: string): void {
  attemptFailed(state, turn, step, failureOf(reason, message), { fact: null, exhausted: 'TIME_OUT' });
}

/** The process cannot resume any more; a default worker's id is free for the next one. */
function sessionOver(state: EngineState, turn: Turn, worker: WorkerRecord): void {
  worker.graceTimer = NO_TIMER;
  // After a restart the row tells when it connected, and it may have been there until the end: it counts as seen until then.
  worker.lastSeenMs = Math.max(worker.lastSeenMs ?? 0, turn.nowMs - state.times.reconnectGraceMs);
  worker.sessionHash = null;
  worker.reserved.clear();
  capacityChanged(turn, worker);
  workerChanged(turn, worker);
}
