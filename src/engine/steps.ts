/** Moves of a step that belong to no single assignment, and what they mean for its run. */
import { isRefusal } from '../domain/refusal.ts';
import { type RunState, runEnded, runStateOf } from '../domain/run.ts';
import { nextStepState, type StepEvent, stepEnded } from '../domain/step.ts';
import { utf8Bytes } from '../domain/text.ts';
import { addHeld, concurrencyOf, dropEmpty, mustHold, reconsiderLive, removeHeld } from './concurrency.ts';
import { armForget } from './forgetting.ts';
import { needsOf, rememberBytes, takenBytes, takesWhatIsMade } from './generations.ts';
import { demandOf, unindexPin } from './pins.ts';
import { waitOf } from './run_terms.ts';
import type { BlockedOn, EngineState, RunRecord, StepFailure, StepRecord } from './state.ts';
import { countEndedRun, countMove, endedStepsChanged } from './totals.ts';
import { type RunExtent, stepChanged, type Turn } from './turn.ts';
import { dequeue, disarm, enqueue } from './waiting.ts';

/** The only place that writes a step's state. The rules check before; a refusal here is a bug of ours. */
export function moveStep(step: StepRecord, event: StepEvent): void {
  const next = nextStepState(step.state, event);
  if (isRefusal(next)) throw new Error(`step ${step.stepId}: ${next.message}`);
  countMove(step, step.state, next);
  step.state = next;
}

/** BLOCKED no more: it looks for a worker, or is held for a place of its key. */
export function becomeReady(state: EngineState, turn: Turn, step: StepRecord): void {
  moveStep(step, 'READY');
  step.blockedOn = null;
  const tooLarge = inputTooLarge(state, step);
  if (tooLarge === null) startWaiting(state, turn, step, 'FRESH');
  else endWaitingStep(state, turn, step, 'FAIL', tooLarge);
}

/** The step has become PENDING (again). A fresh wait starts the schedule clock; a returned step's goes on. */
export function startWaiting(state: EngineState, turn: Turn, step: StepRecord, clock: 'FRESH' | 'GOES_ON'): void {
  const { run } = step;
  takePlace(state, step);
  if (run.sticky !== 'NONE' || run.edited) step.demand = demandOf(state, run, step.definition);
  const { pin } = step.demand.spec;
  if (pin?.hard && !state.workers.has(pin.workerId)) {
    endWaitingStep(state, turn, step, 'FAIL', stickyWorkerDeleted(pin.workerName));
    return;
  }
  if (mustHold(state, run)) {
    moveStep(step, 'HOLD');
    addHeld(state, step);
    return;
  }
  if (clock === 'FRESH') startScheduleClock(state, turn, step);
  enqueue(state, turn, step);
}

/** Its place in the order of readiness, which it keeps for ever. */
export function takePlace(state: EngineState, step: StepRecord): void {
  if (step.readySequence !== 0) return;
  state.readySequence += 1;
  step.readySequence = state.readySequence;
}

function startScheduleClock(state: EngineState, turn: Turn, step: StepRecord): void {
  const timeoutMs = waitOf(step.run, step.definition);
  const deadlineMs = timeoutMs === 0 ? null : turn.nowMs + timeoutMs;
  step.setWait(turn.nowMs, deadlineMs);
  if (deadlineMs !== null) armSchedule(state, step, deadlineMs);
}

export function armSchedule(state: EngineState, step: StepRecord, deadlineMs: number): void {
  state.timers.disarm(step);
  state.timers.armItself(deadlineMs, step);
}

/** Starts a new step, or blocks it on what has to end first. */
export function startStep(state: EngineState, turn: Turn, step: StepRecord): void {
  const blockedOn = blockerOf(step);
  step.blockedOn = blockedOn;
  if (blockedOn === null) becomeReady(state, turn, step);
}

function blockerOf(step: StepRecord): BlockedOn | null {
  if (step.run.openDependencies > 0) return 'DEPENDS_ON_RUN';
  return step.openNeeds > 0 ? 'NEEDS' : null;
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
  removeHeld(state, step);
  state.timers.disarm(step);
  disarm(state, step, 'backoffTimer');
  disarm(state, step, 'reofferTimer');
  step.exclusions = null;
  step.blockedOn = null;
  step.failure = failure;
  step.endMs = turn.nowMs;
  state.endSequence += 1;
  step.endSequence = state.endSequence;
  if (outputJson !== null && step.run.steps.length > 1) rememberBytes(step, utf8Bytes(outputJson));
  endedStepsChanged(turn, step);
  tellDependents(state, turn, step);
  // With an output it is a success of its own.
  updateRun(state, turn, step, outputJson, outputJson === null ? 'ALL' : 'EXECUTION');
}

/** Success brings the steps that need this one nearer; any other end is theirs as well. */
function tellDependents(state: EngineState, turn: Turn, step: StepRecord): void {
  for (const place of step.run.workflow?.graph.dependents[step.index] ?? []) {
    const dependent = step.run.steps[place] as StepRecord;
    if (dependent.state !== 'BLOCKED' || !waitsForNeeds(dependent)) continue;
    if (!takesWhatIsMade(dependent, step)) continue;
    if (step.state === 'SUCCEEDED') {
      dependent.openNeeds -= 1;
      if (dependent.blockedOn === 'NEEDS' && dependent.openNeeds === 0) {
        becomeReady(state, turn, dependent);
        stepChanged(turn, dependent);
      }
    } else {
      followFailure(state, turn, dependent, step);
    }
  }
}

/** One whose backoff runs, or that is held, has all it needs; one that follows an equal run ends with that. */
function waitsForNeeds({ blockedOn }: StepRecord): boolean {
  return blockedOn !== 'BACKING_OFF' && blockedOn !== 'HELD' && blockedOn !== 'EQUAL';
}

/** What a step needs did not succeed. A cancelled run ends all its steps alike. */
function followFailure(state: EngineState, turn: Turn, dependent: StepRecord, need: StepRecord): void {
  const { cancelReason } = dependent.run;
  if (cancelReason !== null) endWaitingStep(state, turn, dependent, 'CANCEL', failureOf('CANCELLED', cancelReason));
  else skipStep(state, turn, dependent, causedBy(need.stepId, `step "${need.definition.name}" is ${need.state}`));
}

export function skipStep(state: EngineState, turn: Turn, step: StepRecord, failure: StepFailure): void {
  endWaitingStep(state, turn, step, 'SKIP', failure);
}

/** Derives the run's state from its steps, and writes both. */
export function updateRun(
  state: EngineState,
  turn: Turn,
  step: StepRecord,
  outputJson: string | null = null,
  extent: RunExtent = 'ALL',
): void {
  const { run } = step;
  run.state = derivedState(run);
  if (run.state === 'RUNNING' && run.startMs === null) run.startMs = turn.nowMs;
  if (runEnded(run.state) && run.endMs === null) endRun(state, turn, run);
  stepChanged(turn, step, outputJson, extent);
}

function derivedState(run: RunRecord): RunState {
  const state = runStateOf(run.steps, run.cancelReason !== null);
  // All its steps were skipped because of another run: that is no success.
  return state === 'SUCCEEDED' && run.failure !== null ? run.failureState : state;
}

function endRun(state: EngineState, turn: Turn, run: RunRecord): void {
  run.endMs = turn.nowMs;
  run.failure ??= decidingFailure(run);
  reconsiderLive(state, turn, run, true);
  if (run.concurrency !== null) dropEmpty(state, concurrencyOf(state, run));
  unindexPin(state, run);
  countEndedRun(state, turn, run);
  turn.endedRuns.push(run);
  const untilMs = turn.nowMs + state.times.endedInMemoryMs;
  state.endedRuns.set(run.runId, untilMs);
  armForget(state, untilMs);
}

/** The failure of the first step that ended without success: what the run's state follows from. */
function decidingFailure(run: RunRecord): StepFailure | null {
  let first: StepRecord | null = null;
  for (const step of run.steps) {
    if (step.state === 'SUCCEEDED' || step.state === 'SKIPPED') continue;
    if (first === null || step.endSequence < first.endSequence) first = step;
  }
  return first?.failure ?? null;
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

export function causedBy(id: string, message: string): StepFailure {
  return { ...failureOf('CAUSED_BY', message), causedById: id };
}

export function stickyWorkerDeleted(workerName: string): StepFailure {
  return failureOf('STICKY_WORKER_DELETED', `the run is pinned (HARD) to worker "${workerName}", which was deleted`);
}

/** Braces, quotes, colons and commas around the outputs of several needs. */
const JOINT_BYTES = 4;

/** An object of several outputs can be larger than any of them was allowed to be. */
function inputTooLarge(state: EngineState, step: StepRecord): StepFailure | null {
  const needs = needsOf(step);
  if (needs.length < 2) return null;
  let bytes = 1;
  for (const place of needs) {
    const need = step.run.steps[place] as StepRecord;
    bytes += takenBytes(step, need) + utf8Bytes(JSON.stringify(need.definition.name)) + JOINT_BYTES - 2;
  }
  const limit = state.limits.payloadBytesMax;
  if (bytes <= limit) return null;
  return failureOf(
    'INPUT_TOO_LARGE',
    `the outputs of its ${needs.length} needs have ${bytes} bytes together, the limit is ${limit}`,
  );
}

export function liveSteps(steps: readonly StepRecord[]): StepRecord[] {
  return steps.filter((step) => !stepEnded(step.state));
}
