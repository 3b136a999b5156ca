/** Notices that this process did not run for a while: it was stopped, starved, or busy with one thing. */
import type { Clock, Timer } from '../lib/clock.ts';

/** A pause longer than this is not held against anybody. */
export const PAUSE_MS_MAX = 1_000;
/** Often enough that what is seen as a pause is hardly longer than the pause was. */
const LOOK_MS = 250;

export interface PauseWatch {
  /** To be asked before anything is decided by the time: calls `onPause` first when there was one. */
  look(): void;
  stop(): void;
}

export function watchPauses(clock: Clock, onPause: (pauseMs: number) => void): PauseWatch {
  let lookedMs = clock.nowMs();
  let timer: Timer = clock.after(LOOK_MS, lookAgain);

  function look(): void {
    const nowMs = clock.nowMs();
    const pauseMs = nowMs - lookedMs;
    lookedMs = nowMs;
    if (pauseMs > PAUSE_MS_MAX) onPause(pauseMs);
  }

  function lookAgain(): void {
    timer = clock.after(LOOK_MS, lookAgain);
    look();
  }

  return { look, stop: () => timer.clear() };
}
