/**
 * Who gets what. Between two commands no waiting step has a worker that could take it; so after a command only the
 * demands with a new step and the workers with new room need a look, in the order of the one queue.
 */
import { placedExplanation } from '../domain/explain.ts';
import { hasDevice, suits } from '../domain/feasibility.ts';
import { comparePlaces } from '../domain/priority.ts';
import { compareRanks, type Rank, rankOf } from '../domain/rank.ts';
import { assign } from './assignments.ts';
import { listOpenWorkers } from './capacity.ts';
import { holdWithoutPlace, offerHeld, releaseHeld } from './held.ts';
import type { DemandRecord, EngineState, NamespaceRecord, StepRecord, WorkerRecord } from './state.ts';
import { pinnedKey } from './state.ts';
import type { Turn } from './turn.ts';
import { isExcluded } from './waiting.ts';

/** Assigns until nothing that waits has a worker that may take it. */
export function match(state: EngineState, turn: Turn): void {
  holdWithoutPlace(state, turn);
  for (;;) {
    offerHeld(state, turn, (step) => candidateFor(state, turn, step) !== null);
    const next = earlier(firstOfOpened(state, turn), firstForFreed(state, turn));
    if (next !== null) assign(state, turn, next.step, next.worker, explained(next, turn));
    else if (!releaseHeld(state, turn)) return;
  }
}

interface Ranked {
  readonly worker: WorkerRecord;
  readonly rank: Rank;
}

interface Candidate {
  readonly step: StepRecord;
  readonly worker: WorkerRecord;
  /** The winner and the runners-up. */
  readonly ranked: readonly Ranked[];
  /** How many could have taken it. */
  readonly fitting: number;
}

function explained({ ranked, fitting }: Candidate, turn: Turn) {
  return placedExplanation(ranked, fitting, turn.nowMs);
}

function earlier(a: Candidate | null, b: Candidate | null): Candidate | null {
  if (a === null || b === null) return a ?? b;
  return comparePlaces(a.step, b.step) <= 0 ? a : b;
}

/**
 * The earliest step of the opened demands that somebody may take, with the best who may. Exhausted ones are dropped; an
 * assignment can open others, as a pin moves the run's other steps.
 */
function firstOfOpened(state: EngineState, turn: Turn): Candidate | null {
  let best: Candidate | null = null;
  for (const demand of turn.openedDemands) {
    const isEmpty = demand.queue.size === 0;
    if (!isEmpty && best !== null && comparePlaces(best.step, demand) < 0) continue;
    const found = isEmpty ? null : firstPlaceable(state, turn, demand);
    if (found === null) turn.openedDemands.delete(demand);
    else if (best === null || comparePlaces(found.step, best.step) < 0) best = found;
  }
  return best;
}

function firstPlaceable(state: EngineState, turn: Turn, demand: DemandRecord): Candidate | null {
  const fitting = fittingWorkers(state, turn, demand);
  if (fitting.length === 0) return null;
  for (const step of demand.queue) {
    const candidate = bestWorker(fitting, step, turn.nowMs);
    if (candidate !== null) return candidate;
    // Only what a worker gave back itself makes one step of a demand different from the next.
    if (step.exclusions === null) return null;
  }
  return null;
}

function candidateFor(state: EngineState, turn: Turn, step: StepRecord): Candidate | null {
  return bestWorker(fittingWorkers(state, turn, step.demand), step, turn.nowMs);
}

/** Open workers that meet the demand. */
function fittingWorkers(state: EngineState, turn: Turn, demand: DemandRecord): WorkerRecord[] {
  const { spec, actionKey, namespace } = demand;
  if (spec.pin?.hard) {
    const pinned = state.workers.get(spec.pin.workerId);
    return pinned?.open && mayTake(pinned, spec, namespace) ? [pinned] : [];
  }
  const fitting: WorkerRecord[] = [];
  listOpenWorkers(state, turn);
  for (const worker of state.openWorkers.get(actionKey)?.near(demand) ?? []) {
    if (mayTake(worker, spec, namespace)) fitting.push(worker);
  }
  return fitting;
}

/** Of a worker that is open. */
function mayTake(worker: WorkerRecord, spec: DemandRecord['spec'], { matchMode }: NamespaceRecord): boolean {
  return suits(worker, spec, matchMode) && hasDevice(worker, spec);
}

/** The winner and the runners-up that are recorded with an assignment. */
const RANKED_MAX = 4;

function bestWorker(fitting: readonly WorkerRecord[], step: StepRecord, nowMs: number): Candidate | null {
  const ranked: Ranked[] = [];
  let count = 0;
  for (const worker of fitting) {
    if (isExcluded(step, worker, nowMs)) continue;
    count += 1;
    const rank = rankOf(worker, step.demand.spec, step.invalidInput?.reporters);
    const last = ranked.at(-1);
    if (ranked.length === RANKED_MAX && last !== undefined && compareRanks(last.rank, rank) <= 0) continue;
    if (ranked.length === RANKED_MAX) ranked.pop();
    insertRanked(ranked, { worker, rank });
  }
  const [winner] = ranked;
  return winner === undefined ? null : { step, worker: winner.worker, ranked, fitting: count };
}

function insertRanked(ranked: Ranked[], one: Ranked): void {
  let place = ranked.length;
  while (place > 0 && compareRanks(one.rank, (ranked[place - 1] as Ranked).rank) < 0) place -= 1;
  ranked.splice(place, 0, one);
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
  const fitting = freed.filter((worker) => mayTake(worker, spec, namespace));
  return bestWorker(fitting, step, turn.nowMs);
}

/** The earliest step this worker may take, if it goes before `before`; else `before`. */
function earliestFor(
  state: EngineState,
  turn: Turn,
  worker: WorkerRecord,
  before: StepRecord | null,
): StepRecord | null {
  let earliest = before;
  for (const demands of nearTo(state, worker)) {
    for (const demand of demands) {
      // Comparing places is far cheaper than asking whether the worker fits, so it goes first.
      if (earliest !== null && comparePlaces(earliest, demand) <= 0) continue;
      if (!mayTake(worker, demand.spec, demand.namespace)) continue;
      earliest = firstOffered(demand, worker, turn.nowMs, earliest);
    }
  }
  return earliest;
}

/** Sets of waiting demands that hold every one which the worker suits. */
function nearTo(state: EngineState, worker: WorkerRecord): readonly ReadonlySet<DemandRecord>[] {
  const near: ReadonlySet<DemandRecord>[] = [];
  const isPinned = state.pinnedRuns.has(worker.workerId);
  for (const key of worker.actionKeys) {
    state.demandsByLookup.get(key)?.nearTo(worker, near);
    if (isPinned) state.demandsByLookup.get(pinnedKey(key, worker.workerId))?.nearTo(worker, near);
  }
  return near;
}

/** Of a demand whose first step goes before `before`. */
function firstOffered(
  demand: DemandRecord,
  worker: WorkerRecord,
  nowMs: number,
  before: StepRecord | null,
): StepRecord | null {
  const first = demand.queue.first();
  // As a rule; walking through a queue makes an iterator.
  if (first !== undefined && first.exclusions === null) return first;
  for (const step of demand.queue) {
    if (before !== null && comparePlaces(before, step) <= 0) return before;
    if (!isExcluded(step, worker, nowMs)) return step;
  }
  return before;
}
