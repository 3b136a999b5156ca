/** Which workers could take something now. Kept up to date, so that a new step looks at no worker that could not. */
import { isOpen } from '../domain/feasibility.ts';
import { type EngineState, nameKey, type WorkerRecord } from './state.ts';
import type { Turn } from './turn.ts';

/** To be called after anything that decides whether, or what, the worker may take. */
export function capacityChanged(state: EngineState, turn: Turn, worker: WorkerRecord): void {
  turn.touchedWorkers.add(worker);
  worker.slotsUsed = worker.assignments.size + worker.reserved.size;
  worker.notReadyReason = notReadyReason(worker);
  const open = isOpen(worker);
  if (open) turn.freedWorkers.add(worker);
  if (open === worker.open) return;
  worker.open = open;
  for (const action of worker.actions) {
    const key = nameKey(worker.namespace, action);
    if (open) addTo(state.openWorkers, key, worker);
    else removeFrom(state.openWorkers, key, worker);
  }
}

/** Replaces the actions a worker serves, in the indexes too. */
export function setActions(state: EngineState, turn: Turn, worker: WorkerRecord, actions: ReadonlySet<string>): void {
  forgetActions(state, worker);
  worker.actions = actions;
  for (const action of actions) {
    const key = nameKey(worker.namespace, action);
    state.workersListing.set(key, (state.workersListing.get(key) ?? 0) + 1);
  }
  capacityChanged(state, turn, worker);
}

/** Takes the worker out of every index of its actions. */
export function forgetActions(state: EngineState, worker: WorkerRecord): void {
  for (const action of worker.actions) {
    const key = nameKey(worker.namespace, action);
    if (worker.open) removeFrom(state.openWorkers, key, worker);
    const listing = (state.workersListing.get(key) ?? 0) - 1;
    if (listing > 0) state.workersListing.set(key, listing);
    else state.workersListing.delete(key);
  }
  worker.open = false;
}

function notReadyReason(worker: WorkerRecord): string | null {
  if (worker.connection === null) return 'DISCONNECTED';
  if (worker.backPressured) return 'BACK_PRESSURE';
  return worker.acceptMissed ? 'ACCEPT_MISSED' : null;
}

export function addTo<T>(index: Map<string, Set<T>>, key: string, item: T): void {
  const set = index.get(key);
  if (set) set.add(item);
  else index.set(key, new Set([item]));
}

export function removeFrom<T>(index: Map<string, Set<T>>, key: string, item: T): void {
  const set = index.get(key);
  if (!set) return;
  set.delete(item);
  if (set.size === 0) index.delete(key);
}
