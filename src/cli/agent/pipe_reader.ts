/** Reads one pipe of a command to its end, line by line, no faster than the log takes them. */
import type { Readable } from 'node:stream';
import { type Clock, sleep, type Timer } from '../../lib/clock.ts';
import { LineSplitter } from './lines.ts';
import type { LogGate } from './log_gate.ts';

/** So many lines are said before the gate is asked again: a pipe's buffer may hold tens of thousands. */
const LINES_PER_SLICE = 200;
/** Lines kept of a pipe whose command is being ended: they would take the place of what others print. */
const LAST_LINES_MAX = 1_000;
/** A line that is redrawn and never ends is shown this often. */
const GLIMPSE_MS = 10_000;

export interface PipePorts {
  readonly clock: Clock;
  readonly gate: LogGate;
  /** Once aborted nothing is slowed any more: whoever is to end must be able to print its last words, though not many. */
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
  /** Since the command was told to end. */
  #lastLines = 0;
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
    for (const line of this.#splitter.flush()) this.#line(line);
    const lost = this.#lastLines - LAST_LINES_MAX;
    if (lost > 0) this.#ports.line(`[${lost} lines not kept: printed while the command was being ended]`);
  }

  async #say(bytes: Buffer): Promise<void> {
    let lines = 0;
    for (const line of this.#splitter.push(bytes)) {
      this.#line(line);
      lines += 1;
      if (lines % LINES_PER_SLICE === 0) await this.#slow(LINES_PER_SLICE, 0);
    }
    await this.#slow(lines % LINES_PER_SLICE, bytes.length);
    this.#readMs = this.#ports.clock.nowMs();
  }

  #line(text: string): void {
    if (this.#ports.hurry.aborted) {
      this.#lastLines += 1;
      if (this.#lastLines > LAST_LINES_MAX) return;
    }
    this.#ports.line(text);
  }

  async #slow(lines: number, bytes: number): Promise<void> {
    const { clock, gate, hurry } = this.#ports;
    if (hurry.aborted) return;
    const waitMs = gate.charge(lines, bytes, clock.nowMs());
    if (waitMs === 0) return;
    this.#isSlowed = true;
    await sleep(clock, waitMs, hurry).catch(() => {});
    this.#isSlowed = false;
  }

  #glimpseLater(): void {
    this.#glimpse = this.#ports.clock.after(GLIMPSE_MS, () => {
      const line = this.#splitter.glimpse();
      if (line !== undefined) this.#line(line);
      this.#glimpseLater();
    });
  }
}
