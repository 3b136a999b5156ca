/** Where a sticky run is pinned: set by its assignments, tentative until one of them is accepted. */
import { demandKey } from '../domain/demand.ts';
import type { Limits } from '../domain/limits.ts';
import { type Refusal, refuseLimit } from '../domain/refusal.ts';
import type { Pin } from '../domain/sticky.ts';
import type { TagSet } from '../domain/tags.ts';
import { addTo, removeFrom } from './index_of_sets.ts';
import {
  type AssignmentRecord,
  createDemand,
  type DemandRecord,
  type EngineState,
  type RunRecord,
  type StepDefinition,
  type StepRecord,
} from './state.ts';
import type { Turn } from './turn.ts';
import { requeue } from './waiting.ts';

type WhatRunAsks = Pick<RunRecord, 'namespace' | 'sticky' | 'runsOn' | 'desired' | 'pinnedWorkerId'>;

/** What the step asks for: its own tags and labels, the run's, and the worker the run is pinned to. */
export function demandOf(state: EngineState, run: WhatRunAsks, definition: StepDefinition): DemandRecord {
  const spec = {
    namespace: run.namespace.name,
    action: definition.action,
    runsOn: definition.runsOn.length === 0 ? run.runsOn : [...new Set([...run.runsOn, ...definition.runsOn])].sort(),
    desired: definition.desired.length === 0 ? run.desired : [...run.desired, ...definition.desired],
    device: definition.device,
    pin: pinOf(state, run),
  };
  const key = demandKey(spec);
  return state.demands.get(key) ?? createDemand(run.namespace, spec, key);
}

/** The tags of the run and those of a step have one limit together; what both name counts once. */
export function checkRunsOn(
  field: string,
  runsOn: TagSet,
  steps: readonly StepDefinition[],
  { runsOnMax }: Limits,
): Refusal | null {
  for (const step of steps) {
    if (runsOn.length + step.runsOn.length <= runsOnMax) continue;
    const count = new Set([...runsOn, ...step.runsOn]).size;
    if (count > runsOnMax) return refuseLimit(field, count, runsOnMax, `tags together with step "${step.name}"`);
  }
  return null;
}

function pinOf(state: EngineState, run: WhatRunAsks): Pin | null {
  if (run.sticky === 'NONE' || run.pinnedWorkerId === null) return null;
  const worker = state.workers.get(run.pinnedWorkerId);
  const hard = run.sticky === 'HARD';
  // A preference for a worker that is gone is none.
  if (worker === undefined && !hard) return null;
  return { workerId: run.pinnedWorkerId, workerName: worker?.name ?? run.pinnedWorkerId, hard };
}

/** Pins the run, and lets its waiting steps look for a worker anew. */
export function setPin(state: EngineState, turn: Turn, run: RunRecord, workerId: string | null): void {
  if (run.pinnedWorkerId === workerId) return;
  unindexPin(state, run);
  run.pinnedWorkerId = workerId;
  indexPin(state, run);
  for (const step of run.steps) {
    if (step.queued) requeue(state, turn, step, () => demandOf(state, run, step.definition));
  }
}

export function indexPin(state: EngineState, run: RunRecord): void {
  if (run.sticky !== 'NONE' && run.pinnedWorkerId !== null) addTo(state.pinnedRuns, run.pinnedWorkerId, run);
}

/** To be called with the run's end too: only runs that go on hold on to a worker. */
export function unindexPin(state: EngineState, run: RunRecord): void {
  if (run.pinnedWorkerId !== null) removeFrom(state.pinnedRuns, run.pinnedWorkerId, run);
}

/** The first assignment pins the run; of a SOFT one every assignment elsewhere moves the pin. */
export function pinByAssignment(state: EngineState, turn: Turn, step: StepRecord): void {
  const { run, assignment } = step;
  if (run.sticky !== 'NONE' && assignment !== null) setPin(state, turn, run, assignment.worker.workerId);
}

/** An accepted assignment makes its pin lasting, unless a later one did already. */
export function keepPin(run: RunRecord, { worker, sequence }: AssignmentRecord): void {
  if (run.sticky === 'NONE' || (run.keptPin !== null && run.keptPin.sequence > sequence)) return;
  run.keptPin = { workerId: worker.workerId, sequence };
}

/**
 * An assignment ended unaccepted: the pin is that of the latest assignment that is still open or was accepted. Without
 * any it goes back to what was given, or to none. What a deleted worker still holds will not be accepted either.
 */
export function reconsiderPin(state: EngineState, turn: Turn, run: RunRecord): void {
  if (run.sticky === 'NONE') return;
  let { workerId, sequence } = run.keptPin ?? { workerId: null, sequence: -1 };
  for (const { assignment } of run.steps) {
    if (assignment === null || assignment.acceptMs !== null || assignment.sequence <= sequence) continue;
    if (!state.workers.has(assignment.worker.workerId)) continue;
    workerId = assignment.worker.workerId;
    sequence = assignment.sequence;
  }
  // A preference for a worker that is gone is none, also when it comes back into force.
  const isGone = run.sticky === 'SOFT' && workerId !== null && !state.workers.has(workerId);
  setPin(state, turn, run, isGone ? null : workerId);
}
