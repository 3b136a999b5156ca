/** Runs that wait for other runs: told once those have ended. */
import { type Refusal, refuse } from '../domain/refusal.ts';
import { type RunState, runEnded } from '../domain/run.ts';
import { arrive, settleEquals } from './equal.ts';
import { stopAwaiting } from './equal_records.ts';
import { addTo, removeFrom } from './index_of_sets.ts';
import type { EngineState, RunRecord } from './state.ts';
import { causedBy, liveSteps, skipStep } from './steps.ts';
import { stepChanged, type Turn } from './turn.ts';

/** States of the runs `dependsOn`, memory first; a refusal names the first that does not exist in the namespace. */
export function dependencyStates(
  state: EngineState,
  namespace: string,
  dependsOn: readonly string[],
  stored: ReadonlyMap<string, RunState>,
): ReadonlyMap<string, RunState> | Refusal {
  const states = keptDependencyStates(state, namespace, dependsOn, stored);
  const missing = dependsOn.find((runId) => !states.has(runId));
  if (missing === undefined) return states;
  return refuse('RUN_NOT_FOUND', `depends_on_run_ids: "${missing}" does not exist in namespace "${namespace}"`, {
    run_id: missing,
  });
}

/** The same without those that are no longer kept: they had ended, and hold nothing back. */
export function keptDependencyStates(
  state: EngineState,
  namespace: string,
  dependsOn: readonly string[],
  stored: ReadonlyMap<string, RunState>,
): ReadonlyMap<string, RunState> {
  const states = new Map<string, RunState>();
  for (const runId of dependsOn) {
    const run = state.runs.get(runId);
    const known = run === undefined ? stored.get(runId) : run.namespace.name === namespace ? run.state : undefined;
    if (known !== undefined) states.set(runId, known);
  }
  return states;
}

/** Has the run wait for those that have not ended. Answers the first that ended without success, or null. */
export function dependOn(
  state: EngineState,
  run: RunRecord,
  states: ReadonlyMap<string, RunState>,
): { readonly runId: string; readonly state: RunState } | null {
  for (const [runId, dependency] of states) {
    if (runEnded(dependency) && dependency !== 'SUCCEEDED') return { runId, state: dependency };
  }
  for (const [runId, dependency] of states) {
    if (dependency !== 'SUCCEEDED') waitFor(state, run, runId);
  }
  return null;
}

export function waitFor(state: EngineState, run: RunRecord, runId: string): void {
  run.openDependencies += 1;
  addTo(state.dependents, runId, run);
}

/** Tells the runs that wait for those which ended in this turn, and those that wait for them in turn. */
export function settleDependents(state: EngineState, turn: Turn): void {
  for (let ended = turn.endedRuns.shift(); ended !== undefined; ended = turn.endedRuns.shift()) {
    stopWaiting(state, ended);
    settleEquals(state, turn, ended);
    const dependents = state.dependents.get(ended.runId);
    if (dependents === undefined) continue;
    state.dependents.delete(ended.runId);
    for (const run of dependents) {
      if (ended.state !== 'SUCCEEDED') failByDependency(state, turn, run, ended.runId, ended.state);
      else dependencySucceeded(state, turn, run);
    }
  }
}

/** It ended before what it waited for, by a cancel: nobody needs to tell it any more. */
function stopWaiting(state: EngineState, run: RunRecord): void {
  if (run.openDependencies === 0) return;
  for (const runId of run.dependsOn) removeFrom(state.dependents, runId, run);
  run.openDependencies = 0;
  stopAwaiting(state, run);
}

function dependencySucceeded(state: EngineState, turn: Turn, run: RunRecord): void {
  run.openDependencies -= 1;
  if (run.openDependencies > 0) return;
  const steps = liveSteps(run.steps);
  arrive(state, turn, run, null);
  for (const step of steps) stepChanged(turn, step);
}

/** The run ends without a try: FAILED, its steps SKIPPED. */
export function failByDependency(
  state: EngineState,
  turn: Turn,
  run: RunRecord,
  runId: string,
  dependency: RunState,
): void {
  const failure = causedBy(runId, `run ${runId}, which this one depends on, is ${dependency}`);
  run.failure = failure;
  for (const step of liveSteps(run.steps)) if (step.state === 'BLOCKED') skipStep(state, turn, step, failure);
}
