/**
 * A place of a concurrency key became free: the first held run in queue order that somebody can take goes. Only when
 * nobody can take any of them do all of them wait for a worker, as there is a place for whichever is taken first.
 */

import { holdWaiting, removeHeld } from './concurrency.ts';
import { demandOf } from './pins.ts';
import type { ConcurrencyRecord, EngineState, StepRecord } from './state.ts';
import { becomeReady, moveStep } from './steps.ts';
import { stepChanged, type Turn } from './turn.ts';

/**
 * A run that lost its place can have steps that wait for a worker, and the place may not be free for it: its limit may be
 * lower than those of others. Only now, since whatever else the command did may have freed it after all.
 */
export function holdWithoutPlace(state: EngineState, turn: Turn): void {
  for (const record of turn.freedKeys) holdWaiting(state, turn, record, (step) => moveStep(step, 'HOLD'));
}

/** Lets the first held step of each freed key that `isPlaceable` compete with everything else that waits. */
export function offerHeld(state: EngineState, turn: Turn, isPlaceable: (step: StepRecord) => boolean): void {
  for (const record of turn.freedKeys) {
    const offered = turn.offeredHeld.get(record);
    // One whose worker went to somebody earlier keeps nobody else from the place.
    if (offered?.queued && isPlaceable(offered)) continue;
    const next = firstPlaceable(state, record, isPlaceable);
    if (next === null) continue;
    turn.offeredHeld.set(record, next);
    release(state, turn, next);
  }
}

function firstPlaceable(
  state: EngineState,
  record: ConcurrencyRecord,
  isPlaceable: (step: StepRecord) => boolean,
): StepRecord | null {
  for (const step of record.held) {
    if (!hasPlace(record, step)) continue;
    // While it was held its run may have been pinned elsewhere.
    step.demand = demandOf(state, step.run, step.definition);
    if (isPlaceable(step)) return step;
  }
  return null;
}

function hasPlace(record: ConcurrencyRecord, { run }: StepRecord): boolean {
  return run.live || record.live < (run.concurrency?.limit ?? 1);
}

function release(state: EngineState, turn: Turn, step: StepRecord): void {
  removeHeld(state, step);
  becomeReady(state, turn, step);
  stepChanged(turn, step);
}

/**
 * Called when nothing more can be assigned. True: a step was let out that may be assigned after all, or the offered one
 * lost its worker to somebody earlier and others are to be looked at; matching goes on.
 */
export function releaseHeld(state: EngineState, turn: Turn): boolean {
  let released = false;
  for (const record of turn.freedKeys) {
    const offered = turn.offeredHeld.get(record);
    if (offered?.queued) {
      turn.offeredHeld.delete(record);
      released = true;
      continue;
    }
    turn.freedKeys.delete(record);
    for (const step of [...record.held]) if (hasPlace(record, step)) release(state, turn, step);
  }
  return released;
}
