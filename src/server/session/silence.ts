/** Notices a stream that says nothing for too long. Any message is life. */
import type { Clock, Timer } from '../../lib/clock.ts';

/** When our own timer comes this late, the loop was paused: the silence may be ours, so the worker gets another while. */
const LOOP_PAUSE_MS = 1_000;

export interface SilenceWatch {
  heard(): void;
  stop(): void;
}

/** `onSilent` is called once, when nothing was heard for `silenceMs`. One timer per stream, however much is heard. */
export function watchSilence(clock: Clock, silenceMs: number, onSilent: () => void): SilenceWatch {
  let heardMs = clock.nowMs();
  let timer: Timer = arm();

  function arm(): Timer {
    const dueMs = heardMs + silenceMs;
    return clock.after(Math.max(0, dueMs - clock.nowMs()), () => look(dueMs));
  }

  function look(dueMs: number): void {
    const nowMs = clock.nowMs();
    const heardSince = nowMs - heardMs < silenceMs;
    const paused = nowMs - dueMs > LOOP_PAUSE_MS;
    if (!heardSince && !paused) {
      onSilent();
      return;
    }
    if (paused) heardMs = nowMs;
    timer = arm();
  }

  return {
    heard() {
      heardMs = clock.nowMs();
    },
    stop: () => timer.clear(),
  };
}
