/** Cancelling a run, or one step of it. */
import { isRefusal, type Refusal, refuse } from '../domain/refusal.ts';
import { runEnded } from '../domain/run.ts';
import { stepEnded } from '../domain/step.ts';
import { endAssignment } from './assignments.ts';
import type { CommandOf, ResultOf } from './commands.ts';
import { findRun } from './runs.ts';
import type { EngineState, StepFailure, StepRecord } from './state.ts';
import { endWaitingStep, failureOf, liveSteps, stepHasEnded, updateRun } from './steps.ts';
import type { Turn } from './turn.ts';

export function cancelRun(
  state: EngineState,
  turn: Turn,
  command: CommandOf<'cancel_run'>,
): ResultOf<'cancel_run'> | Refusal {
  const run = findRun(state, command.namespace, command.runId);
  if (isRefusal(run)) return run;
  const steps =
    command.stepName === '' ? run.steps : run.steps.filter((step) => step.definition.name === command.stepName);
  if (steps.length === 0) {
    return refuse('STEP_NOT_FOUND', `step_name "${command.stepName}" is not a step of run ${run.runId}`, {
      step_name: command.stepName,
    });
  }
  if (runEnded(run.state) && run.state !== 'CANCELLED') {
    return refuse('STEP_STATE', `run ${run.runId} has ended: ${run.state}`, { run_id: run.runId, state: run.state });
  }
  const [named] = steps;
  if (command.stepName !== '' && named !== undefined && stepEnded(named.state) && named.state !== 'CANCELLED') {
    return refuse('STEP_STATE', `step "${command.stepName}" of run ${run.runId} has ended: ${named.state}`, {
      run_id: run.runId,
      step_name: command.stepName,
      state: named.state,
    });
  }
  const busy = command.mode === 'IF_PENDING' ? run.steps.find((step) => step.assignedOnce) : undefined;
  if (busy) {
    return refuse(
      'NOT_PENDING',
      `step "${busy.definition.name}" of run ${run.runId} is ${busy.state}: it is or was assigned`,
      {
        run_id: run.runId,
        step_name: busy.definition.name,
        state: busy.state,
      },
    );
  }
  const reason = command.reason === '' ? 'cancelled by request' : command.reason;
  if (command.stepName === '') run.cancelReason ??= reason;
  for (const step of liveSteps(steps)) cancelStep(state, turn, step, reason);
  return { runId: run.runId };
}

function cancelStep(state: EngineState, turn: Turn, step: StepRecord, reason: string): void {
  // The end of one step may have been that of others.
  if (stepEnded(step.state)) return;
  const failure = failureOf('CANCELLED', reason);
  const { assignment } = step;
  if (assignment === null) endWaitingStep(state, turn, step, 'CANCEL', failure);
  else stopStep(state, turn, step, failure);
}

/** Takes a step from whoever has it: what was not accepted is over at once, a running handler is asked to stop. */
export function stopStep(state: EngineState, turn: Turn, step: StepRecord, failure: StepFailure): void {
  const { assignment } = step;
  if (assignment === null) return;
  if (assignment.acceptMs === null) {
    endAssignment(state, turn, step, { event: 'CANCEL', outcome: 'CANCELLED', failure, fact: null });
    stepHasEnded(state, turn, step, failure);
  } else if (assignment.cancelReason === null) {
    askToStop(state, turn, step, failure.message);
  }
}

/** A running handler is told to stop, and has a while to say that it did. */
function askToStop(state: EngineState, turn: Turn, step: StepRecord, reason: string): void {
  const { assignment } = step;
  if (assignment === null) return;
  assignment.cancelReason = reason;
  assignment.cancelTimer = state.timers.arm(turn.nowMs + state.times.cancelCloseMs, { kind: 'cancel', step });
  const { connection } = assignment.worker;
  if (connection !== null) {
    turn.effects.push({ kind: 'cancel_step', connection, assignmentId: assignment.assignmentId, reason });
  }
  updateRun(state, turn, step);
}
