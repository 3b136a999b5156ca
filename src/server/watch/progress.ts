/** Lets changes of a run through at once, and progress only so often: what is shown then is the newest of each step. */
import type { Clock, Timer } from '../../lib/clock.ts';
import type { RunPicture } from './pictures.ts';

type Progressed = RunPicture & { readonly kind: 'progressed' };

export interface ProgressPace {
  put(picture: RunPicture): void;
  close(): void;
}

export function createProgressPace(clock: Clock, intervalMs: number, put: (picture: RunPicture) => void): ProgressPace {
  let waiting: Progressed | null = null;
  let timer: Timer | null = null;
  let shownMs = Number.NEGATIVE_INFINITY;

  function drop(): void {
    timer?.clear();
    timer = null;
    waiting = null;
  }

  function show(): void {
    const picture = waiting;
    drop();
    if (picture === null) return;
    shownMs = clock.nowMs();
    put(picture);
  }

  return {
    put(picture) {
      if (picture.kind === 'changed') {
        // It shows the newest progress as well.
        drop();
        put(picture);
        return;
      }
      // Each holds the progress of all steps, so the newest one says everything.
      waiting = picture;
      const waitMs = shownMs + intervalMs - clock.nowMs();
      if (waitMs <= 0) show();
      else timer ??= clock.after(waitMs, show);
    },
    close: drop,
  };
}
