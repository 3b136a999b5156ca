/** Which workers could take something now. Kept up to date, so that a new step looks at no worker that could not. */
import { isOpen } from '../domain/feasibility.ts';
import { OpenWorkers } from './open_workers.ts';
import { type EngineState, nameKey, type WorkerRecord } from './state.ts';
import type { Turn } from './turn.ts';

/** To be called after anything that decides whether, or what, the worker may take. */
export function capacityChanged(turn: Turn, worker: WorkerRecord): void {
  turn.touchedWorkers.add(worker);
  worker.slotsUsed = worker.assignments.size + worker.reserved.size;
  if (worker.leases.size > 0) countDevices(worker);
  worker.notReadyReason = notReadyReason(worker);
  const open = isOpen(worker);
  worker.open = open;
  if (open) turn.freedWorkers.add(worker);
  if (open || worker.listed) turn.unlistedWorkers.push(worker);
}

/**
 * Brings the lists of open workers up to date; to be called before they are looked at, and when the turn ends. Until then
 * most workers that end a step have been given the next: of all their lists they have left and entered none.
 */
export function listOpenWorkers(state: EngineState, turn: Turn): void {
  for (const worker of turn.unlistedWorkers) {
    if (worker.open && worker.listed) replaceOpen(state, worker);
    else if (worker.open) addOpen(state, worker);
    else if (worker.listed) removeOpen(state, worker);
    worker.listed = worker.open;
  }
  turn.unlistedWorkers.length = 0;
}

function addOpen(state: EngineState, worker: WorkerRecord): void {
  for (const key of worker.actionKeys) {
    const open = state.openWorkers.get(key);
    if (open) open.add(worker);
    else state.openWorkers.set(key, new OpenWorkers([worker]));
  }
}

function removeOpen(state: EngineState, worker: WorkerRecord): void {
  for (const key of worker.actionKeys) {
    const open = state.openWorkers.get(key);
    open?.delete(worker);
    if (open?.size === 0) state.openWorkers.delete(key);
  }
}

/** Its labels may be others now; where one action has them already, all have. */
function replaceOpen(state: EngineState, worker: WorkerRecord): void {
  for (const key of worker.actionKeys) if (!state.openWorkers.get(key)?.replace(worker)) return;
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
  listActions(state, worker);
  capacityChanged(turn, worker);
}

/** Puts the worker's actions into the indexes; nothing of it may be there. */
export function listActions(state: EngineState, worker: WorkerRecord): void {
  worker.actionKeys = [...worker.actions].map((action) => nameKey(worker.namespace, action));
  for (const key of worker.actionKeys) state.workersListing.set(key, (state.workersListing.get(key) ?? 0) + 1);
}

/** Takes the worker out of every index of its actions. */
export function forgetActions(state: EngineState, worker: WorkerRecord): void {
  if (worker.listed) removeOpen(state, worker);
  for (const key of worker.actionKeys) {
    const listing = (state.workersListing.get(key) ?? 0) - 1;
    if (listing > 0) state.workersListing.set(key, listing);
    else state.workersListing.delete(key);
  }
  worker.actionKeys = [];
  worker.open = false;
  worker.listed = false;
}

function notReadyReason(worker: WorkerRecord): string | null {
  if (worker.connection === null) return 'DISCONNECTED';
  if (worker.backPressured) return 'BACK_PRESSURE';
  return worker.acceptMissed ? 'ACCEPT_MISSED' : null;
}
