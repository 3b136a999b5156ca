/** Time in the hands of a test. */
import type { Clock, Timer } from '../../src/lib/clock.ts';

interface Waiting {
  atMs: number;
  run: () => void;
}

export class FakeClock implements Clock {
  #nowMs = 1_700_000_000_000;
  readonly #waiting = new Set<Waiting>();

  nowMs(): number {
    return this.#nowMs;
  }

  after(delayMs: number, run: () => void): Timer {
    const waiting = { atMs: this.#nowMs + Math.max(0, delayMs), run };
    this.#waiting.add(waiting);
    return { clear: () => this.#waiting.delete(waiting) };
  }

  /** Runs every timer that is due by then, each at its time, and lets promises go on in between. */
  async advance(ms: number): Promise<void> {
    const untilMs = this.#nowMs + ms;
    await settle();
    for (let next = this.#nextBy(untilMs); next; next = this.#nextBy(untilMs)) {
      this.#waiting.delete(next);
      this.#nowMs = Math.max(this.#nowMs, next.atMs);
      next.run();
      await settle();
    }
    this.#nowMs = untilMs;
    await settle();
  }

  /** The process stood still: the time is gone, and every timer is late. */
  async freeze(ms: number): Promise<void> {
    this.#nowMs += ms;
    await this.advance(0);
  }

  #nextBy(untilMs: number): Waiting | undefined {
    let first: Waiting | undefined;
    for (const waiting of this.#waiting) {
      if (waiting.atMs <= untilMs && (first === undefined || waiting.atMs < first.atMs)) first = waiting;
    }
    return first;
  }
}

/** Everything that promises can do by themselves has been done. */
export function settle(): Promise<void> {
  return new Promise((resolve) => {
    setImmediate(resolve);
  });
}
