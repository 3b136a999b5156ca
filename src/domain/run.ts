/** A run's state follows from its steps. */
import { type StepState, stepEnded } from './step.ts';

export type RunState = 'PENDING' | 'RUNNING' | 'SUCCEEDED' | 'FAILED' | 'CRASHED' | 'TIMED_OUT' | 'CANCELLED';

export interface StepOutcome {
  readonly state: StepState;
  /** A step of the run was accepted at least once. */
  readonly started: boolean;
  /** Order in which steps ended; 0 while it has not. */
  readonly endSequence: number;
}

export function runEnded(state: RunState): boolean {
  return state !== 'PENDING' && state !== 'RUNNING';
}

/** CANCELLED if it was cancelled, else what the first non-success to end was (SKIPPED never decides), else SUCCEEDED. */
export function runStateOf(steps: readonly StepOutcome[], cancelled: boolean): RunState {
  if (!steps.every((step) => stepEnded(step.state))) {
    return steps.some((step) => step.started) ? 'RUNNING' : 'PENDING';
  }
  if (cancelled) return 'CANCELLED';
  let first: StepOutcome | null = null;
  for (const step of steps) {
    if (step.state === 'SUCCEEDED' || step.state === 'SKIPPED') continue;
    if (first === null || step.endSequence < first.endSequence) first = step;
  }
  return first === null ? 'SUCCEEDED' : (first.state as RunState);
}
