/** An ended, unsuccessful run starts again: the steps that did not succeed go back with fresh budgets. */
import { isRefusal, type Refusal, refuse } from '../domain/refusal.ts';
import { runEnded } from '../domain/run.ts';
import { stepEnded } from '../domain/step.ts';
import type { CommandOf, ResultOf, StoredRun } from './commands.ts';
import { dependencyStates, dependOn, failByDependency } from './dependencies.ts';
import { demandOf, indexPin } from './pins.ts';
import { restoreRun } from './restore.ts';
import { findRun } from './runs.ts';
import type { EngineState, RunRecord, StepRecord } from './state.ts';
import { moveStep, startStep } from './steps.ts';
import { runChanged, stepChanged, type Turn } from './turn.ts';
import { workflowOf } from './workflows.ts';

export function retryRun(
  state: EngineState,
  turn: Turn,
  command: CommandOf<'retry_run'>,
): ResultOf<'retry_run'> | Refusal {
  const { namespace, runId, stored } = command;
  const ended = stored !== null && !state.runs.has(runId) && stored.run.namespace === namespace ? stored : null;
  const found = ended === null ? findRun(state, namespace, runId) : null;
  if (isRefusal(found)) return found;
  const stateNow = found?.state ?? ended?.run.state;
  if (stateNow === 'SUCCEEDED' || (found !== null && !runEnded(found.state))) {
    return refuse('RUN_STATE', `run ${runId} is ${stateNow}: only an ended run that did not succeed is retried`, {
      run_id: runId,
      state: String(stateNow),
    });
  }
  const dependsOn = found?.dependsOn ?? dependenciesOf(ended);
  const states = dependencyStates(state, namespace, dependsOn, command.storedDependencies);
  // One that is no longer kept can only have been seen ended; it holds nothing back.
  const dependencies = isRefusal(states) ? new Map() : states;
  const run = found ?? bringBack(state, ended as StoredRun, turn.nowMs);
  reopenRun(state, run, command.keepPin);
  const failed = dependOn(state, run, dependencies);
  if (failed !== null) failByDependency(state, turn, run, failed.runId, failed.state);
  else for (const step of run.steps) if (!stepEnded(step.state)) startAgain(state, turn, step);
  runChanged(turn, run);
  return { runId };
}

function dependenciesOf(stored: StoredRun | null): readonly string[] {
  const json = stored?.run.depends_on ?? null;
  return json === null ? [] : JSON.parse(json);
}

function bringBack(state: EngineState, stored: StoredRun, nowMs: number): RunRecord {
  const workflow = stored.workflow === null ? null : workflowOf(state, stored.workflow);
  return restoreRun(state, stored.run, stored.steps, workflow, nowMs);
}

function reopenRun(state: EngineState, run: RunRecord, keepPin: boolean): void {
  state.endedRuns.delete(run.runId);
  run.state = 'PENDING';
  run.endMs = null;
  run.cancelReason = null;
  run.failure = null;
  run.openDependencies = 0;
  if (!keepPin) run.pinnedWorkerId = null;
  run.keptPin = run.pinnedWorkerId === null ? null : { workerId: run.pinnedWorkerId, sequence: 0 };
  indexPin(state, run);
  for (const step of run.steps) if (step.state !== 'SUCCEEDED') reopenStep(step);
  for (const step of run.steps) {
    const needs = run.workflow?.graph.needs[step.index] ?? [];
    step.openNeeds = needs.filter((place) => run.steps[place]?.state !== 'SUCCEEDED').length;
  }
}

function reopenStep(step: StepRecord): void {
  moveStep(step, 'REOPEN');
  step.attemptBase += step.failures + step.losses;
  step.failures = 0;
  step.losses = 0;
  step.started = false;
  step.assignedOnce = false;
  step.assignment = null;
  step.progress = null;
  step.failure = null;
  step.endMs = null;
  step.endSequence = 0;
  step.exclusions = null;
}

function startAgain(state: EngineState, turn: Turn, step: StepRecord): void {
  step.demand = demandOf(state, step.run, step.definition);
  startStep(state, turn, step);
  stepChanged(turn, step);
}
