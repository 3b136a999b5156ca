/**
 * How fast the commands of this agent may print. A stream carries 1 000 log lines a second by default, and the SDK
 * keeps at most 10 000 lines or 8 MiB that are still to be sent; beyond that it drops lines and says so. Staying below
 * both loses nothing: whoever prints faster finds a full pipe and waits, as with a slow terminal.
 */

const LINES_PER_SECOND = 800;
const BYTES_PER_SECOND = 1024 * 1024;
/** So much may come at once: 4 000 lines or 5 MiB. */
const BURST_MS = 5_000;
const MS_PER_SECOND = 1_000;

export interface LogRate {
  readonly linesPerSecond: number;
  readonly bytesPerSecond: number;
  readonly burstMs: number;
}

const RATE: LogRate = { linesPerSecond: LINES_PER_SECOND, bytesPerSecond: BYTES_PER_SECOND, burstMs: BURST_MS };

/** One for all commands of the agent: they share its stream. */
export class LogGate {
  readonly #rate: LogRate;
  /** What was let through so far takes until then at the steady rate. */
  #paidUntilMs = 0;

  constructor(rate: LogRate = RATE) {
    this.#rate = rate;
  }

  /** Counts what was let through; the milliseconds to wait before more is read. */
  charge(lines: number, bytes: number, nowMs: number): number {
    const { linesPerSecond, bytesPerSecond, burstMs } = this.#rate;
    const costMs = Math.max(lines / linesPerSecond, bytes / bytesPerSecond) * MS_PER_SECOND;
    this.#paidUntilMs = Math.max(this.#paidUntilMs, nowMs) + costMs;
    return Math.max(0, this.#paidUntilMs - nowMs - burstMs);
  }
}
