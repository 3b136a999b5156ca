/** Moves of a step that belong to no single assignment, and what they mean for its run. */
import { isRefusal } from '../domain/refusal.ts';
import { runEnded, runStateOf } from '../domain/run.ts';
import { nextStepState, type StepEvent, stepEnded } from '../domain/step.ts';
import { armForget } from './forgetting.ts';
import type { EngineState, StepFailure, StepRecord } from './state.ts';
import { runChanged, type Turn } from './turn.ts';
import { dequeue, disarm, enqueue } from './waiting.ts';

/** The only place that writes a step's state. The rules check before; a refusal here is a bug of ours. */
export function moveStep(step: StepRecord, event: StepEvent): void {
  const next = nextStepState(step.state, event);
  if (isRefusal(next)) throw new Error(`step ${step.stepId}: ${next.message}`);
  step.state = next;
}

/** The step has become PENDING (again). A fresh wait starts the schedule clock; a returned step's goes on. */
export function startWaiting(state: EngineState, turn: Turn, step: StepRecord, clock: 'FRESH' | 'GOES_ON'): void {
  if (step.readySequence === 0) {
    state.readySequence += 1;
    step.readySequence = state.readySequence;
  }
  if (clock === 'FRESH') {
    step.readyMs = turn.nowMs;
    const timeoutMs = step.definition.scheduleTimeoutMs ?? step.run.namespace.scheduleTimeoutMs;
    step.scheduleDeadlineMs = timeoutMs === 0 ? null : turn.nowMs + timeoutMs;
    if (step.scheduleDeadlineMs !== null) armSchedule(state, step, step.scheduleDeadlineMs);
  }
  enqueue(state, turn, step);
}

export function armSchedule(state: EngineState, step: StepRecord, deadlineMs: number): void {
  disarm(state, step, 'scheduleTimer');
  step.scheduleTimer = state.timers.arm(deadlineMs, { kind: 'schedule', step });
}

/** The step is over; its run follows. `outputJson` is the step's output when it succeeded. */
export function stepHasEnded(
  state: EngineState,
  turn: Turn,
  step: StepRecord,
  failure: StepFailure | null,
  outputJson: string | null = null,
): void {
  dequeue(state, step);
  disarm(state, step, 'scheduleTimer');
  disarm(state, step, 'backoffTimer');
  disarm(state, step, 'reofferTimer');
  step.exclusions = null;
  step.failure = failure;
  step.endMs = turn.nowMs;
  state.endSequence += 1;
  step.endSequence = state.endSequence;
  updateRun(state, turn, step, outputJson);
}

/** Derives the run's state from its steps, and writes the run. */
export function updateRun(state: EngineState, turn: Turn, step: StepRecord, outputJson: string | null = null): void {
  const { run } = step;
  run.state = runStateOf(run.steps, run.cancelReason !== null);
  if (run.state === 'RUNNING' && run.startMs === null) run.startMs = turn.nowMs;
  if (runEnded(run.state) && run.endMs === null) {
    run.endMs = turn.nowMs;
    const untilMs = turn.nowMs + state.times.endedInMemoryMs;
    state.endedRuns.set(run.runId, untilMs);
    armForget(state, untilMs);
  }
  runChanged(turn, run, outputJson);
}

/** Ends a step that nobody holds. */
export function endWaitingStep(
  state: EngineState,
  turn: Turn,
  step: StepRecord,
  event: StepEvent,
  failure: StepFailure,
): void {
  dequeue(state, step);
  moveStep(step, event);
  stepHasEnded(state, turn, step, failure);
}

export function failureOf(reason: string, message: string): StepFailure {
  return { reason, type: '', message, stack: '', retryable: null };
}

export function liveSteps(steps: readonly StepRecord[]): StepRecord[] {
  return steps.filter((step) => !stepEnded(step.state));
}
