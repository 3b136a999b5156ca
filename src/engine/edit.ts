/** Edits of a run that nobody has been given yet: priority and runs_on. */
import { isRefusal, type Refusal, refuse } from '../domain/refusal.ts';
import { runEnded } from '../domain/run.ts';
import { stepEnded } from '../domain/step.ts';
import type { CommandOf, ResultOf } from './commands.ts';
import { addHeld, removeHeld } from './concurrency.ts';
import { checkRunsOn, demandOf } from './pins.ts';
import { findRun } from './runs.ts';
import type { EngineState, RunRecord, StepRecord } from './state.ts';
import { runChanged, stepChanged, type Turn } from './turn.ts';
import { dequeue, enqueue } from './waiting.ts';

/** The edit re-matches at once: its steps stand in another queue, or at another place. */
export function updateRun(
  state: EngineState,
  turn: Turn,
  command: CommandOf<'update_run'>,
): ResultOf<'update_run'> | Refusal {
  const run = findRun(state, command.namespace, command.runId);
  if (isRefusal(run)) return run;
  const refusal = checkEdit(state, run, command);
  if (refusal) return refusal;
  run.priority = command.priority ?? run.priority;
  if (command.runsOn !== null) {
    run.runsOn = command.runsOn;
  }
  for (const step of run.steps) if (!stepEnded(step.state)) editStep(state, turn, step);
  runChanged(turn, run);
  return { runId: run.runId };
}

function checkEdit(state: EngineState, run: RunRecord, { runsOn }: CommandOf<'update_run'>): Refusal | null {
  if (runEnded(run.state)) {
    return refuse('RUN_STATE', `run ${run.runId} has ended: ${run.state}`, { run_id: run.runId, state: run.state });
  }
  const busy = run.steps.find((step) => step.state === 'ASSIGNED' || step.state === 'RUNNING');
  if (busy !== undefined) {
    return refuse('RUN_STATE', `step "${busy.definition.name}" of run ${run.runId} is ${busy.state}`, {
      run_id: run.runId,
      step_name: busy.definition.name,
      state: busy.state,
    });
  }
  if (runsOn === null) return null;
  const definitions = run.steps.map((step) => step.definition);
  return checkRunsOn('runs_on.tags', runsOn, definitions, state.limits);
}

function editStep(state: EngineState, turn: Turn, step: StepRecord): void {
  const { queued } = step;
  const held = step.blockedOn === 'HELD';
  // Out of its queue first: there it is found by the place it has.
  if (queued) dequeue(state, step);
  if (held) removeHeld(state, step);
  step.priority = step.run.priority;
  step.demand = demandOf(state, step.run, step.definition);
  if (held) addHeld(state, step);
  if (queued) enqueue(state, turn, step);
  stepChanged(turn, step);
}
