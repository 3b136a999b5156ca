/** Steps that wait for a worker: into their demand's queue and out of it. */
import { DemandIndex } from './demand_index.ts';
import {
  type DemandRecord,
  type EngineState,
  type Exclusion,
  nameKey,
  type StepRecord,
  type WorkerRecord,
} from './state.ts';
import { NO_TIMER } from './timers.ts';
import type { Turn } from './turn.ts';

/** Puts a step that has just become PENDING at its place in the queue. */
export function enqueue(state: EngineState, turn: Turn, step: StepRecord): void {
  putInQueue(state, step);
  // Its pauses were not watched while somebody had it; one may still end while it waits.
  if (step.exclusions !== null) armReoffer(state, turn, step);
  turn.openedDemands.add(step.demand);
}

/** Into the queue and the indexes, and nothing more: recovery does not match what was matched before. */
export function putInQueue(state: EngineState, step: StepRecord): void {
  // A demand leaves the index with its last step; by now another record may stand for the same demand.
  const demand = state.demands.get(step.demand.key) ?? step.demand;
  if (demand.queue.size === 0) {
    state.demands.set(demand.key, demand);
    indexDemand(state, demand);
  }
  step.demand = demand;
  demand.queue.add(step);
  placeByFirst(demand);
  step.queued = true;
  const { run } = step;
  if (run.concurrency !== null && !run.live) waitingOfKey(state, step)?.add(run);
}

export function dequeue(state: EngineState, step: StepRecord): void {
  if (!step.queued) return;
  const { demand, run } = step;
  demand.queue.remove(step);
  step.queued = false;
  if (demand.queue.size === 0) forgetDemand(state, demand);
  else placeByFirst(demand);
  disarm(state, step, 'reofferTimer');
  if (run.concurrency !== null && !run.steps.some((other) => other.queued)) waitingOfKey(state, step)?.delete(run);
}

/** The same step asks for something else from now on, or stands at another place. */
export function requeue(state: EngineState, turn: Turn, step: StepRecord, demand: () => DemandRecord): void {
  dequeue(state, step);
  step.demand = demand();
  enqueue(state, turn, step);
}

/** The runs of its concurrency key that wait and are not live; kept only for runs that have a key. */
function waitingOfKey(state: EngineState, { run }: StepRecord) {
  return state.concurrency.get(nameKey(run.namespace.name, run.concurrency?.key ?? ''))?.waiting;
}

function placeByFirst(demand: DemandRecord): void {
  const first = demand.queue.first();
  if (first === undefined) return;
  demand.priority = first.priority;
  demand.readySequence = first.readySequence;
}

function forgetDemand(state: EngineState, demand: DemandRecord): void {
  state.demands.delete(demand.key);
  const index = state.demandsByLookup.get(demand.lookupKey);
  index?.delete(demand);
  if (index?.size === 0) state.demandsByLookup.delete(demand.lookupKey);
}

function indexDemand(state: EngineState, demand: DemandRecord): void {
  const index = state.demandsByLookup.get(demand.lookupKey) ?? new DemandIndex();
  index.add(demand);
  state.demandsByLookup.set(demand.lookupKey, index);
}

/**
 * After `worker` gave the step back, or did not accept it: it is not offered there again until the worker has
 * changed or a pause is over, longer each time.
 */
export function exclude(state: EngineState, turn: Turn, step: StepRecord, worker: WorkerRecord): void {
  const { reofferPauseMs, reofferPauseMsMax } = state.times;
  const earlier = step.exclusions?.get(worker.workerId);
  const pauseMs = earlier ? Math.min(reofferPauseMsMax, earlier.pauseMs * 2) : reofferPauseMs;
  const exclusion: Exclusion = { changeCount: worker.changeCount, untilMs: turn.nowMs + pauseMs, pauseMs };
  step.exclusions ??= new Map();
  step.exclusions.set(worker.workerId, exclusion);
}

export function isExcluded(step: StepRecord, worker: WorkerRecord, nowMs: number): boolean {
  const exclusion = step.exclusions?.get(worker.workerId);
  return exclusion !== undefined && exclusion.changeCount === worker.changeCount && nowMs < exclusion.untilMs;
}

/** Wakes the step when the first of its pauses is over. */
export function armReoffer(state: EngineState, turn: Turn, step: StepRecord): void {
  disarm(state, step, 'reofferTimer');
  let nextMs = Number.POSITIVE_INFINITY;
  for (const { untilMs } of step.exclusions?.values() ?? []) {
    if (untilMs > turn.nowMs) nextMs = Math.min(nextMs, untilMs);
  }
  if (nextMs < Number.POSITIVE_INFINITY) step.reofferTimer = state.timers.arm(nextMs, { kind: 'reoffer', step });
}

export function disarm(state: EngineState, step: StepRecord, timer: 'backoffTimer' | 'reofferTimer'): void {
  state.timers.disarm(step[timer]);
  step[timer] = NO_TIMER;
}
