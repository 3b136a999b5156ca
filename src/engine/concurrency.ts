/**
 * At most so many runs of one key are live: each from its first assignment to its end. While no place is free the others
 * are held, BLOCKED, in queue order; a run that waits for a worker takes no place.
 */
import { createSortedQueue } from './sorted_queue.ts';
import { type ConcurrencyRecord, type EngineState, nameKey, type RunRecord, type StepRecord } from './state.ts';
import { stepChanged, type Turn } from './turn.ts';
import { dequeue } from './waiting.ts';

/** The record of the run's key; made when there is none. Only for runs that have a key. */
export function concurrencyOf(state: EngineState, run: RunRecord): ConcurrencyRecord {
  const key = nameKey(run.namespace.name, run.concurrency?.key ?? '');
  let record = state.concurrency.get(key);
  if (record === undefined) {
    record = { key, live: 0, held: createSortedQueue(), waiting: new Set() };
    state.concurrency.set(key, record);
  }
  return record;
}

/** Whether the run has to wait for a place of its key. */
export function mustHold(state: EngineState, run: RunRecord): boolean {
  if (run.concurrency === null || run.live) return false;
  return concurrencyOf(state, run).live >= run.concurrency.limit;
}

/** A ready step of a run without a place: BLOCKED, and its schedule clock does not run. The caller moves its state. */
export function addHeld(state: EngineState, step: StepRecord): void {
  state.timers.disarm(step);
  step.scheduleDeadlineMs = null;
  step.blockedOn = 'HELD';
  concurrencyOf(state, step.run).held.add(step);
}

export function removeHeld(state: EngineState, step: StepRecord): void {
  if (step.blockedOn !== 'HELD' || step.run.concurrency === null) return;
  const record = concurrencyOf(state, step.run);
  record.held.remove(step);
  step.blockedOn = null;
  dropEmpty(state, record);
}

/** The run was given its first assignment. `hold` moves a waiting step of another run to BLOCKED. */
export function becomeLive(state: EngineState, turn: Turn, run: RunRecord, hold: (step: StepRecord) => void): void {
  if (run.concurrency === null || run.live) return;
  const record = concurrencyOf(state, run);
  run.live = true;
  record.live += 1;
  record.waiting.delete(run);
  // Its own other steps need no place any more.
  if (run.steps.some((step) => step.blockedOn === 'HELD')) turn.freedKeys.add(record);
  holdWaiting(state, turn, record, hold);
}

/** What waits for a worker, and may not be given one any more: another run took the place, or its own lost it. */
export function holdWaiting(
  state: EngineState,
  turn: Turn,
  record: ConcurrencyRecord,
  hold: (step: StepRecord) => void,
): void {
  for (const other of [...record.waiting]) {
    if (record.live < (other.concurrency?.limit ?? 1)) continue;
    for (const step of other.steps) {
      if (!step.queued) continue;
      dequeue(state, step);
      hold(step);
      addHeld(state, step);
      stepChanged(turn, step);
    }
  }
}

/** After an assignment of the run ended: live is what was accepted once, or is open. An end of the run ends it too. */
export function reconsiderLive(state: EngineState, turn: Turn, run: RunRecord, runEnded: boolean): void {
  if (!run.live) return;
  if (!runEnded && run.steps.some((step) => step.started || step.state === 'ASSIGNED')) return;
  run.live = false;
  const record = concurrencyOf(state, run);
  record.live -= 1;
  turn.freedKeys.add(record);
  // Its other steps wait on, from now on for the place too.
  if (run.steps.some((step) => step.queued)) record.waiting.add(run);
  dropEmpty(state, record);
}

/** To be called when the last step of a run that waited is gone from the queue. */
export function dropEmpty(state: EngineState, record: ConcurrencyRecord): void {
  if (record.live === 0 && record.held.size === 0 && record.waiting.size === 0) state.concurrency.delete(record.key);
}

/** Recovery counts as `becomeLive` does, and holds nobody: who is held is stored. */
export function restoreLive(state: EngineState, run: RunRecord): void {
  if (run.concurrency === null) return;
  const record = concurrencyOf(state, run);
  run.live = run.steps.some((step) => step.started || (step.assignment !== null && step.endMs === null));
  if (run.live) record.live += 1;
  for (const step of run.steps) {
    if (step.blockedOn === 'HELD') record.held.add(step);
    if (step.queued && !run.live) record.waiting.add(run);
  }
}
