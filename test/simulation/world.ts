/** Simulated time: events in one queue, run one after the other, each with everything that promises do after it. */
import { createHash } from 'node:crypto';
import { createTimerHeap, NO_TIMER } from '../../src/engine/timers.ts';
import type { Timer } from '../../src/lib/clock.ts';

/** Simulations begin at this instant; the trace counts from it. */
export const START_MS = 1_700_000_000_000;

/** Thrown out of a simulation at the first promise that was broken. */
class BrokenPromiseError extends Error {
  override readonly name = 'BrokenPromiseError';
}

export interface World {
  nowMs(): number;
  /** Milliseconds since the start. */
  elapsedMs(): number;
  at(atMs: number, run: () => void): Timer;
  after(delayMs: number, run: () => void): Timer;
  /** One line of the trace; it is part of the hash. */
  note(who: string, what: string): void;
  /** A promise was broken: the simulation ends with the first. */
  broken(message: string): void;
  /** Runs events until then, or until `done`. */
  run(untilMs: number, done?: () => boolean): Promise<void>;
  readonly lines: readonly string[];
  /** Of all lines so far. */
  hash(): string;
  readonly events: number;
}

export function createWorld(keepLines: boolean): World {
  const heap = createTimerHeap<() => void>();
  const digest = createHash('sha256');
  const lines: string[] = [];
  let nowMs = START_MS;
  let events = 0;
  let failure: BrokenPromiseError | null = null;

  function at(atMs: number, run: () => void): Timer {
    const handle = heap.arm(Math.max(nowMs, atMs), run);
    return { clear: () => heap.disarm(handle ?? NO_TIMER) };
  }

  function note(who: string, what: string): void {
    const line = `${((nowMs - START_MS) / 1000).toFixed(4).padStart(10)}  ${who.padEnd(9)} ${what}`;
    digest.update(line);
    if (keepLines) lines.push(line);
  }

  return {
    nowMs: () => nowMs,
    elapsedMs: () => nowMs - START_MS,
    at,
    after: (delayMs, run) => at(nowMs + Math.max(0, delayMs), run),
    note,
    broken(message) {
      if (failure !== null) return;
      note('PROMISE', `BROKEN: ${message}`);
      failure = new BrokenPromiseError(message);
    },
    async run(untilMs, done = () => false) {
      // What was begun before the first event has its promises too.
      await promisesDone();
      for (;;) {
        if (done()) return;
        const next = heap.nextMs();
        if (next === null || next > untilMs) break;
        nowMs = next;
        events += 1;
        heap.takeDue(nowMs)?.();
        await promisesDone();
        if (failure !== null) throw failure;
      }
      nowMs = Math.max(nowMs, untilMs);
      if (failure !== null) throw failure;
    },
    lines,
    hash: () => digest.copy().digest('hex').slice(0, 16),
    get events() {
      return events;
    },
  };
}

/** A macrotask comes only after every microtask: by then all that promises can do by themselves has been done. */
function promisesDone(): Promise<void> {
  return new Promise((resolve) => {
    setImmediate(resolve);
  });
}
