/** An ended, unsuccessful run starts again: the steps that did not succeed go back with fresh budgets. */
import { isRefusal, type Refusal, refuse } from '../domain/refusal.ts';
import { runEnded } from '../domain/run.ts';
import type { CommandOf, ResultOf, StoredRun, StoredSuccess } from './commands.ts';
import { dependOn, failByDependency, keptDependencyStates } from './dependencies.ts';
import { countOpenNeeds, forgetReports } from './generations.ts';
import { demandOf, indexPin, unindexPin } from './pins.ts';
import { restoreRun } from './restore.ts';
import { begin, findRun } from './runs.ts';
import type { EngineState, RunRecord, StepRecord } from './state.ts';
import { liveSteps, moveStep } from './steps.ts';
import { countReopenedRun, endedStepsChanged } from './totals.ts';
import { runChanged, stepChanged, type Turn } from './turn.ts';
import { workflowOf } from './workflows.ts';

export function retryRun(
  state: EngineState,
  turn: Turn,
  command: CommandOf<'retry_run'>,
): ResultOf<'retry_run'> | Refusal {
  const { namespace, runId, stored } = command;
  // It may have been read just before retention deleted it.
  const isThere = stored !== null && !state.retiredRuns.has(runId) && stored.run.namespace === namespace;
  const ended = isThere && !state.runs.has(runId) ? stored : null;
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
  const dependencies = keptDependencyStates(state, namespace, dependsOn, command.storedDependencies);
  const run = found ?? bringBack(state, ended as StoredRun, turn.nowMs);
  reopenRun(state, turn, run, command.keepPin);
  const failed = dependOn(state, run, dependencies);
  if (failed !== null) failByDependency(state, turn, run, failed.runId, failed.state);
  else startAgain(state, turn, run, stored?.success ?? null);
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

function reopenRun(state: EngineState, turn: Turn, run: RunRecord, keepPin: boolean): void {
  state.endedRuns.delete(run.runId);
  run.state = 'PENDING';
  run.endMs = null;
  run.cancelReason = null;
  run.failure = null;
  run.failureState = 'FAILED';
  run.executedBy = null;
  run.openDependencies = 0;
  // Read from the store it is indexed already, by the pin it had.
  unindexPin(state, run);
  if (!keepPin) run.pinnedWorkerId = null;
  run.keptPin = run.pinnedWorkerId === null ? null : { workerId: run.pinnedWorkerId, sequence: 0 };
  indexPin(state, run);
  run.stepBacks = 0;
  countReopenedRun(state, turn, run);
  for (const step of run.steps) {
    // Neither running nor live until a worker takes a step anew, whatever was accepted before.
    step.started = false;
    if (step.state === 'SUCCEEDED') stepChanged(turn, step);
    else reopenStep(turn, step);
  }
  countOpenNeeds(run);
}

function reopenStep(turn: Turn, step: StepRecord): void {
  moveStep(step, 'REOPEN');
  endedStepsChanged(turn, step);
  forgetReports(step);
  // Edits of the run passed it by while it had ended.
  step.priority = step.run.priority;
  step.attemptBase += step.failures + step.losses;
  step.failures = 0;
  step.losses = 0;
  step.assignedOnce = false;
  step.assignment = null;
  step.progress = null;
  step.failure = null;
  step.endMs = null;
  step.endSequence = 0;
  step.exclusions = null;
}

function startAgain(state: EngineState, turn: Turn, run: RunRecord, stored: StoredSuccess | null): void {
  const steps = liveSteps(run.steps);
  for (const step of steps) step.demand = demandOf(state, run, step.definition);
  begin(state, turn, run, stored);
  for (const step of steps) stepChanged(turn, step);
}
