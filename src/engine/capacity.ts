/** Which workers could take something now. Kept up to date, so that a new step looks at no worker that could not. */
import { isOpen } from '../domain/feasibility.ts';
import { type EngineState, nameKey, type WorkerRecord } from './state.ts';
import type { Turn } from './turn.ts';

/** To be called after anything that decides whether, or what, the worker may take. */
export function capacityChanged(state: EngineState, turn: Turn, worker: WorkerRecord): void {
  turn.touchedWorkers.add(worker);
  worker.slotsUsed = worker.assignments.size + worker.reserved.size;
  if (worker.leases.size > 0) countDevices(worker);
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

/** Leases end with their assignments, or with the place that is kept for one. */
export function countDevices(worker: WorkerRecord): void {
  const gpuIds = new Set<string>();
  let cpus = 0;
  for (const [assignmentId, { kind, id }] of worker.leases) {
    if (!worker.assignments.has(assignmentId) && !worker.reserved.has(assignmentId)) worker.leases.delete(assignmentId);
    else if (kind === 'GPU') gpuIds.add(id);
    else cpus += 1;
  }
  worker.devicesInUse = { gpuIds, cpus };
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
