/**
 * Who gets what. Between two commands no waiting step has a worker that could take it; so after a command only the
 * demands with a new step and the workers with new room need a look, in the order of the one queue.
 */
import { suits } from '../domain/feasibility.ts';
import { comparePlaces } from '../domain/priority.ts';
import { compareRanks, type Rank, rankOf } from '../domain/rank.ts';
import { assign } from './assignments.ts';
import type { DemandRecord, EngineState, StepRecord, WorkerRecord } from './state.ts';
import { nameKey } from './state.ts';
import type { Turn } from './turn.ts';
import { isExcluded } from './waiting.ts';

/** Assigns until nothing that waits has a worker that may take it. */
export function match(state: EngineState, turn: Turn): void {
  const lanes = [...turn.openedDemands];
  for (;;) {
    const fromDemands = firstOfLanes(state, turn, lanes);
    const fromWorkers = firstForFreed(state, turn);
    const next = earlier(fromDemands, fromWorkers);
    if (next === null) return;
    assign(state, turn, next.step, next.worker);
  }
}

interface Candidate {
  readonly step: StepRecord;
  readonly worker: WorkerRecord;
}

function earlier(a: Candidate | null, b: Candidate | null): Candidate | null {
  if (a === null || b === null) return a ?? b;
  return comparePlaces(a.step, b.step) <= 0 ? a : b;
}

/** The earliest step of the opened demands that somebody may take, with the best who may. Exhausted lanes are dropped. */
function firstOfLanes(state: EngineState, turn: Turn, lanes: DemandRecord[]): Candidate | null {
  let best: Candidate | null = null;
  for (let index = lanes.length - 1; index >= 0; index--) {
    const lane = lanes[index] as DemandRecord;
    const head = lane.queue.first();
    if (head !== undefined && best !== null && comparePlaces(best.step, head) < 0) continue;
    const found = head === undefined ? null : firstPlaceable(state, turn, lane);
    if (found === null) lanes.splice(index, 1);
    else if (best === null || comparePlaces(found.step, best.step) < 0) best = found;
  }
  return best;
}

function firstPlaceable(state: EngineState, turn: Turn, demand: DemandRecord): Candidate | null {
  const open = state.openWorkers.get(demand.actionKey);
  if (open === undefined) return null;
  const fitting = [...open].filter((worker) => suits(worker, demand.spec, demand.namespace.matchMode));
  if (fitting.length === 0) return null;
  for (const step of demand.queue) {
    const worker = bestWorker(fitting, step, turn.nowMs);
    if (worker !== null) return { step, worker };
    // Only what a worker gave back itself makes one step of a demand different from the next.
    if (step.exclusions === null) return null;
  }
  return null;
}

function bestWorker(fitting: readonly WorkerRecord[], step: StepRecord, nowMs: number): WorkerRecord | null {
  let best: WorkerRecord | null = null;
  let bestRank: Rank | null = null;
  for (const worker of fitting) {
    if (isExcluded(step, worker, nowMs)) continue;
    if (fitting.length === 1) return worker;
    const rank = rankOf(worker, step.demand.spec);
    if (bestRank !== null && compareRanks(bestRank, rank) <= 0) continue;
    best = worker;
    bestRank = rank;
  }
  return best;
}

/** The earliest waiting step that one of the workers with new room may take, and the best of those for it. */
function firstForFreed(state: EngineState, turn: Turn): Candidate | null {
  let step: StepRecord | null = null;
  const freed: WorkerRecord[] = [];
  for (const worker of turn.freedWorkers) {
    if (!worker.open) {
      turn.freedWorkers.delete(worker);
      continue;
    }
    freed.push(worker);
    step = earliestFor(state, turn, worker, step);
  }
  if (step === null) return null;
  const { spec, namespace } = step.demand;
  const fitting = freed.filter((worker) => suits(worker, spec, namespace.matchMode));
  const worker = bestWorker(fitting, step, turn.nowMs);
  return worker === null ? null : { step, worker };
}

/** The earliest step this worker may take, if it goes before `before`; else `before`. */
function earliestFor(
  state: EngineState,
  turn: Turn,
  worker: WorkerRecord,
  before: StepRecord | null,
): StepRecord | null {
  let earliest = before;
  for (const action of worker.actions) {
    for (const demand of state.demandsByAction.get(nameKey(worker.namespace, action)) ?? []) {
      const head = demand.queue.first();
      // Comparing places is far cheaper than asking whether the worker fits, so it goes first.
      if (head === undefined || (earliest !== null && comparePlaces(earliest, head) <= 0)) continue;
      if (!suits(worker, demand.spec, demand.namespace.matchMode)) continue;
      earliest = firstOffered(demand, worker, turn.nowMs, earliest);
    }
  }
  return earliest;
}

function firstOffered(
  demand: DemandRecord,
  worker: WorkerRecord,
  nowMs: number,
  before: StepRecord | null,
): StepRecord | null {
  for (const step of demand.queue) {
    if (before !== null && comparePlaces(before, step) <= 0) return before;
    if (!isExcluded(step, worker, nowMs)) return step;
  }
  return before;
}
