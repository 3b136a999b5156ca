/**
 * Notices streams that say nothing for too long. Any message is life. One timer looks at all of them: one for each took
 * some 600 bytes of every idle worker.
 */
import type { Clock, Timer } from '../../lib/clock.ts';

/** When our own timer comes this late, the loop was paused: the silence may be ours, so the workers get another while. */
const LOOP_PAUSE_MS = 1_000;
/** So many looks fall into the limit: a silence is noticed that much later at most. 750 ms, where the limit is 15 s. */
const LOOKS = 20;

/** A stream that is watched. */
export interface Speaker {
  /** When it was heard last. */
  heardMs: number;
  /** Called once; it is not watched any more. */
  onSilent(): void;
}

export interface SilenceWatch {
  add(speaker: Speaker): void;
  delete(speaker: Speaker): void;
}

export function watchSilence(clock: Clock, silenceMs: number): SilenceWatch {
  const speakers = new Set<Speaker>();
  const lookMs = silenceMs / LOOKS;
  let timer: Timer | null = null;

  function arm(): void {
    const dueMs = clock.nowMs() + lookMs;
    timer = clock.after(lookMs, () => look(dueMs));
  }

  function look(dueMs: number): void {
    const nowMs = clock.nowMs();
    const paused = nowMs - dueMs > LOOP_PAUSE_MS;
    arm();
    for (const speaker of speakers) {
      if (nowMs - speaker.heardMs < silenceMs) continue;
      if (paused) {
        speaker.heardMs = nowMs;
        continue;
      }
      speakers.delete(speaker);
      speaker.onSilent();
    }
    stopIfIdle();
  }

  function stopIfIdle(): void {
    if (speakers.size > 0) return;
    timer?.clear();
    timer = null;
  }

  return {
    add(speaker) {
      speakers.add(speaker);
      if (timer === null) arm();
    },
    delete(speaker) {
      speakers.delete(speaker);
      stopIfIdle();
    },
  };
}
