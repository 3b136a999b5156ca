/**
 * A worker reports that its input cannot be worked on. The step is offered again after a pause, to others rather than to
 * whoever reported; when that did not help, the step that made the input runs again, for this one alone.
 */
import { isRefusal, type Refusal, refuse } from '../domain/refusal.ts';
import { invalidInputPauseMs } from '../domain/retry.ts';
import { stepEnded } from '../domain/step.ts';
import { endAssignment, successRow } from './assignments.ts';
import { stopStep } from './cancel.ts';
import type { CommandOf } from './commands.ts';
import { held, notRunning } from './facts.ts';
import { forgetReports, invalidInputOf, needsOf } from './generations.ts';
import { closeCancelled } from './losses.ts';
import { demandOf } from './pins.ts';
import type { EngineState, StepFailure, StepRecord } from './state.ts';
import { becomeReady, causedBy, failureOf, liveSteps, moveStep, skipStep, stepHasEnded, updateRun } from './steps.ts';
import { endedStepsChanged } from './totals.ts';
import { stepChanged, type Turn } from './turn.ts';

export function reportInputInvalid(
  state: EngineState,
  turn: Turn,
  command: CommandOf<'report_input_invalid'>,
): null | Refusal {
  const found = held(state, turn, command.connection, command.assignmentId, 'input_invalid');
  if (found === null || isRefusal(found)) return found;
  const { step, assignment, worker } = found;
  if (assignment.acceptMs === null) return notRunning(found, 'input_invalid');
  const producer = producerOf(step, command.stepName);
  if (isRefusal(producer)) return producer;
  if (assignment.cancelReason !== null) {
    closeCancelled(state, turn, step, 'input_invalid');
    return null;
  }
  const input = invalidInputOf(step);
  input.reports += 1;
  input.reporters.add(worker.workerId);
  const failure = failureOf('INPUT_INVALID', command.reason);
  if (producer === null || input.reports < step.definition.maxInvalidReports) pause(state, turn, step, failure);
  else if (step.run.stepBacks < state.limits.stepBacksPerRunMax) stepBack(state, turn, step, producer, failure);
  else giveUp(state, turn, step, producer, failure);
  return null;
}

/** The step that made the reported input; null: it is the run's own. */
function producerOf(step: StepRecord, stepName: string): StepRecord | null | Refusal {
  const needs = needsOf(step).map((place) => step.run.steps[place] as StepRecord);
  const [only] = needs;
  if (only === undefined) return null;
  const named =
    stepName === '' && needs.length === 1 ? only : needs.find(({ definition }) => definition.name === stepName);
  if (named !== undefined) return named;
  const names = needs.map(({ definition }) => `"${definition.name}"`).join(', ');
  return refuse('INVALID_FIELD', `input_invalid.step_name: "${stepName}" is none of what the step needs: ${names}`, {
    field: 'input_invalid.step_name',
  });
}

/** Ends the attempt without using one up; the numbers of attempts go on. The step is BLOCKED, and nothing else yet. */
function endReported(state: EngineState, turn: Turn, step: StepRecord, failure: StepFailure): void {
  endAssignment(state, turn, step, {
    event: 'BACK_OFF',
    outcome: 'INPUT_INVALID',
    failure,
    fact: 'input_invalid',
  });
  step.attemptBase += 1;
}

function pause(state: EngineState, turn: Turn, step: StepRecord, failure: StepFailure): void {
  endReported(state, turn, step, failure);
  const { invalidInputPauseMs: firstMs, invalidInputPauseMsMax } = state.times;
  const reports = step.invalidInput?.reports ?? 1;
  step.readyMs = turn.nowMs + invalidInputPauseMs(reports, firstMs, invalidInputPauseMsMax);
  step.blockedOn = 'BACKING_OFF';
  step.backoffTimer = state.timers.arm(step.readyMs, { kind: 'backoff', step });
  updateRun(state, turn, step);
}

/** The step waits for another output of what made this one. */
function stepBack(state: EngineState, turn: Turn, step: StepRecord, producer: StepRecord, failure: StepFailure): void {
  endReported(state, turn, step, failure);
  step.run.stepBacks += 1;
  forgetReports(step);
  if (stepEnded(producer.state) && producer.state !== 'SUCCEEDED') {
    // Somebody else sent it back before, and it failed: there will be no other output.
    skipStep(state, turn, step, causedBy(producer.stepId, `step "${producer.definition.name}" is ${producer.state}`));
    return;
  }
  const mustRun = producer.state === 'SUCCEEDED';
  // On its way already when another step sent it back: one more output serves both.
  invalidInputOf(step).takes.set(producer.index, producer.generation + (mustRun ? 1 : 0));
  step.blockedOn = 'NEEDS';
  step.openNeeds += 1;
  if (mustRun) runAgain(state, turn, producer);
  updateRun(state, turn, step);
}

/** A step that succeeded starts again on the input it had, with fresh budgets. What it made before stays. */
function runAgain(state: EngineState, turn: Turn, step: StepRecord): void {
  const attempt = successRow(turn, step);
  if (attempt !== null) turn.changes.push({ table: 'attempts', attempt });
  moveStep(step, 'STEP_BACK');
  endedStepsChanged(turn, step);
  step.generation += 1;
  step.attemptBase += step.failures + step.losses + 1;
  step.failures = 0;
  step.losses = 0;
  step.assignment = null;
  step.storedSuccess = null;
  step.progress = null;
  step.endMs = null;
  step.endSequence = 0;
  step.demand = demandOf(state, step.run, step.definition);
  becomeReady(state, turn, step);
  stepChanged(turn, step);
}

/** It was sent back too often: the run fails, and with it whatever of it has not ended. */
function giveUp(state: EngineState, turn: Turn, step: StepRecord, producer: StepRecord, reported: StepFailure): void {
  const { run } = step;
  const name = producer.definition.name;
  const message = `the output of step "${name}" is still reported as invalid after ${run.stepBacks} steps back: ${reported.message}`;
  const failure = failureOf('INVALID_DATA', message);
  endAssignment(state, turn, step, {
    event: 'FAIL',
    outcome: 'INPUT_INVALID',
    failure: reported,
    fact: 'input_invalid',
  });
  stepHasEnded(state, turn, step, failure);
  const cause = causedBy(step.stepId, `step "${step.definition.name}" is FAILED: INVALID_DATA`);
  for (const other of liveSteps(run.steps)) {
    // The end of one may have been that of others.
    if (stepEnded(other.state)) continue;
    if (other.assignment === null) skipStep(state, turn, other, cause);
    else stopStep(state, turn, other, failureOf('CANCELLED', cause.message));
  }
}
