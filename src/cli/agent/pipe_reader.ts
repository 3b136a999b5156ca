/** Reads one pipe of a command to its end, line by line, no faster than the log takes them. */
import type { Readable } from 'node:stream';
import { type Clock, sleep, type Timer } from '../../lib/clock.ts';
import { LineSplitter } from './lines.ts';
import type { LogGate } from './log_gate.ts';

/** So many lines are said before the gate is asked again: a pipe's buffer may hold tens of thousands. */
const LINES_PER_SLICE = 200;
/** A line that is redrawn and never ends is shown this often. */
const GLIMPSE_MS = 10_000;

export interface PipePorts {
  readonly clock: Clock;
  readonly gate: LogGate;
  /** Once aborted nothing is slowed any more: whoever is to end must be able to print its last words. */
  readonly hurry: AbortSignal;
  line(text: string): void;
}

export class PipeReader {
  readonly ended: Promise<void>;
  readonly #stream: Readable;
  readonly #ports: PipePorts;
  readonly #splitter = new LineSplitter();
  #hasEnded = false;
  #isSlowed = false;
  #readMs: number;
  #glimpse: Timer | undefined;

  constructor(stream: Readable, ports: PipePorts) {
    this.#stream = stream;
    this.#ports = ports;
    this.#readMs = ports.clock.nowMs();
    this.#glimpseLater();
    this.ended = this.#readAll();
  }

  get hasEnded(): boolean {
    return this.#hasEnded;
  }

  /** Since when nothing has come, although somebody was reading. */
  quietSinceMs(nowMs: number): number {
    return this.#isSlowed ? nowMs : this.#readMs;
  }

  /** Whoever holds the other end may keep it. */
  close(): void {
    this.#stream.destroy();
  }

  async #readAll(): Promise<void> {
    try {
      for await (const bytes of this.#stream) await this.#say(bytes);
    } catch {
      // Closed from this side, or broken: what has been read is all there is.
    }
    this.#hasEnded = true;
    this.#glimpse?.clear();
    for (const line of this.#splitter.flush()) this.#ports.line(line);
  }

  async #say(bytes: Buffer): Promise<void> {
    let lines = 0;
    let charged = 0;
    for (const line of this.#splitter.push(bytes)) {
      this.#ports.line(line);
      lines += 1;
      if (lines % LINES_PER_SLICE !== 0) continue;
      const share = Math.floor((bytes.length * LINES_PER_SLICE) / Math.max(lines, LINES_PER_SLICE));
      charged += share;
      await this.#slow(LINES_PER_SLICE, share);
    }
    await this.#slow(lines % LINES_PER_SLICE, Math.max(0, bytes.length - charged));
    this.#readMs = this.#ports.clock.nowMs();
  }

  async #slow(lines: number, bytes: number): Promise<void> {
    const { clock, gate, hurry } = this.#ports;
    const waitMs = gate.charge(lines, bytes, clock.nowMs());
    if (waitMs === 0 || hurry.aborted) return;
    this.#isSlowed = true;
    await sleep(clock, waitMs, hurry).catch(() => {});
    this.#isSlowed = false;
  }

  #glimpseLater(): void {
    this.#glimpse = this.#ports.clock.after(GLIMPSE_MS, () => {
      const line = this.#splitter.glimpse();
      if (line !== undefined) this.#ports.line(line);
      this.#glimpseLater();
    });
  }
}
