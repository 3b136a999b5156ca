/** Staying under a rate that somebody else enforces. */

const WINDOW_MS = 1_000;
// The network can squeeze a second of messages into less: leave some air.
const SHARE_USED = 0.9;

/** What is used of a rate: units in any second, and so in one message. */
export function usedOf(limitPerSecond: number): number {
  return Math.max(1, Math.floor(limitPerSecond * SHARE_USED));
}

interface Spent {
  readonly atMs: number;
  readonly units: number;
}

/** Lets through at most nine tenths of `limit` units in any second. */
export class Pace {
  readonly #limit: number;
  #spent: Spent[] = [];
  #total = 0;

  constructor(limitPerSecond: number) {
    this.#limit = usedOf(limitPerSecond);
  }

  /** Takes `units` now and returns 0, or takes nothing and returns the time at which to ask again. */
  take(units: number, nowMs: number): number {
    const readyMs = this.#readyMs(units, nowMs);
    if (readyMs > nowMs) return readyMs;
    this.#spent.push({ atMs: nowMs, units });
    this.#total += units;
    return 0;
  }

  #readyMs(units: number, nowMs: number): number {
    this.#forget(nowMs);
    // More than the whole limit at once can never fit: it goes when nothing else does.
    const room = Math.max(0, this.#limit - units);
    let total = this.#total;
    for (const spent of this.#spent) {
      if (total <= room) return nowMs;
      total -= spent.units;
      if (total <= room) return spent.atMs + WINDOW_MS;
    }
    return nowMs;
  }

  #forget(nowMs: number): void {
    let over = 0;
    for (const spent of this.#spent) {
      if (spent.atMs + WINDOW_MS > nowMs) break;
      this.#total -= spent.units;
      over += 1;
    }
    if (over > 0) this.#spent.splice(0, over);
  }
}
