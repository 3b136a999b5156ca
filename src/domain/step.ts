/** The life of a step: one table of transitions; anything else is refused. */
import { type Refusal, refuse } from './refusal.ts';

export type StepState =
  | 'BLOCKED'
  | 'PENDING'
  | 'ASSIGNED'
  | 'RUNNING'
  | 'SUCCEEDED'
  | 'FAILED'
  | 'CRASHED'
  | 'TIMED_OUT'
  | 'CANCELLED'
  | 'SKIPPED';

export type StepEvent =
  | 'READY' // nothing holds it any more
  | 'HOLD' // no place of its concurrency key is free any more
  | 'ASSIGN'
  | 'ACCEPT'
  | 'RETURN' // given back, withdrawn or not accepted: no attempt used up
  | 'RETRY' // failed or lost, and tries again at once
  | 'BACK_OFF' // failed, or its input is invalid, and tries again later
  | 'SUCCEED'
  | 'FAIL'
  | 'CRASH'
  | 'TIME_OUT'
  | 'CANCEL'
  | 'SKIP'
  | 'REOPEN' // its run is retried
  | 'STEP_BACK'; // what it made was reported invalid: it runs again

const TRANSITIONS: Record<StepState, Partial<Record<StepEvent, StepState>>> = {
  BLOCKED: {
    READY: 'PENDING',
    // As an equal run that it follows.
    SUCCEED: 'SUCCEEDED',
    CRASH: 'CRASHED',
    TIME_OUT: 'TIMED_OUT',
    FAIL: 'FAILED',
    CANCEL: 'CANCELLED',
    SKIP: 'SKIPPED',
  },
  PENDING: {
    HOLD: 'BLOCKED',
    ASSIGN: 'ASSIGNED',
    FAIL: 'FAILED',
    TIME_OUT: 'TIMED_OUT',
    CANCEL: 'CANCELLED',
    SKIP: 'SKIPPED',
  },
  ASSIGNED: { ACCEPT: 'RUNNING', RETURN: 'PENDING', TIME_OUT: 'TIMED_OUT', CANCEL: 'CANCELLED' },
  RUNNING: {
    RETURN: 'PENDING',
    RETRY: 'PENDING',
    BACK_OFF: 'BLOCKED',
    SUCCEED: 'SUCCEEDED',
    FAIL: 'FAILED',
    CRASH: 'CRASHED',
    TIME_OUT: 'TIMED_OUT',
    CANCEL: 'CANCELLED',
  },
  SUCCEEDED: { STEP_BACK: 'BLOCKED' },
  FAILED: { REOPEN: 'BLOCKED' },
  CRASHED: { REOPEN: 'BLOCKED' },
  TIMED_OUT: { REOPEN: 'BLOCKED' },
  CANCELLED: { REOPEN: 'BLOCKED' },
  SKIPPED: { REOPEN: 'BLOCKED' },
};

const ENDED: ReadonlySet<StepState> = new Set(['SUCCEEDED', 'FAILED', 'CRASHED', 'TIMED_OUT', 'CANCELLED', 'SKIPPED']);

export function stepEnded(state: StepState): boolean {
  return ENDED.has(state);
}

/** The state after `event`, or why there is none. */
export function nextStepState(state: StepState, event: StepEvent): StepState | Refusal {
  return (
    TRANSITIONS[state][event] ?? refuse('STEP_STATE', `a step that is ${state} takes no ${event}`, { state, event })
  );
}
