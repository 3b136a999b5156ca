/**
 * What was stated and is not yet settled, oldest first. Pure: it is told the time, and hands messages to `transmit`.
 * Facts about one assignment never overtake each other; facts about different ones may, while one of them must wait.
 */
import { assignmentOf, type Fact } from './facts.ts';

interface Entry {
  readonly fact: Fact;
  readonly assignmentId: string;
  /** Number on the stream that is open now; 0 = not sent on it. */
  sequence: number;
  /** Not sent before; milliseconds of the clock. */
  notBeforeMs: number;
}

/** Sends one fact and tells the sequence number it went out under. */
export type Transmit = (fact: Fact) => number;
/** 0 lets a fact out now; otherwise the time at which to ask again. */
export type Gate = (fact: Fact, nowMs: number) => number;

export class Outbox {
  #entries: Entry[] = [];
  #unsent = 0;
  // Set while a fact may carry a higher number than one behind it; acknowledging is a plain prefix otherwise.
  #disordered = false;

  get size(): number {
    return this.#entries.length;
  }

  /** Every fact that is not settled, oldest first. */
  facts(): Fact[] {
    return this.#entries.map((entry) => entry.fact);
  }

  add(fact: Fact): void {
    // Only the newest number of slots says anything.
    if (fact.case === 'slotsChanged') {
      this.#removeWhere((entry) => entry.fact.case === 'slotsChanged' && entry.sequence === 0);
    }
    this.#entries.push({ fact, assignmentId: assignmentOf(fact), sequence: 0, notBeforeMs: 0 });
    this.#unsent += 1;
  }

  /** Sends what may go, oldest first; returns when to call again for the rest (Infinity: nothing waits for time). */
  pump(nowMs: number, transmit: Transmit, gate: Gate): number {
    if (this.#unsent === 0) return Number.POSITIVE_INFINITY;
    const waiting = new Set<string>();
    let dueMs = Number.POSITIVE_INFINITY;
    for (const entry of this.#entries) {
      if (entry.sequence !== 0 || waiting.has(entry.assignmentId)) continue;
      const atMs = entry.notBeforeMs > nowMs ? entry.notBeforeMs : gate(entry.fact, nowMs);
      if (atMs > nowMs) {
        waiting.add(entry.assignmentId);
        dueMs = Math.min(dueMs, atMs);
        continue;
      }
      if (waiting.size > 0) this.#disordered = true;
      this.#unsent -= 1;
      entry.sequence = transmit(entry.fact);
    }
    return dueMs;
  }

  /** Removes and returns every fact sent under a number up to `upTo`. */
  acknowledge(upTo: number): Fact[] {
    if (this.#disordered) {
      return this.#removeWhere((entry) => entry.sequence !== 0 && entry.sequence <= upTo);
    }
    let settled = 0;
    for (const entry of this.#entries) {
      if (entry.sequence === 0 || entry.sequence > upTo) break;
      settled += 1;
    }
    return this.#entries.splice(0, settled).map((entry) => entry.fact);
  }

  /** Removes and returns the fact sent under this number. */
  refuse(sequence: number): Fact | undefined {
    return this.#removeWhere((entry) => entry.sequence === sequence)[0];
  }

  /** The fact sent under this number is to be sent again, unchanged, at `atMs`; it keeps its place. */
  postpone(sequence: number, atMs: number): Fact | undefined {
    const at = this.#entries.findIndex((entry) => entry.sequence === sequence);
    const entry = this.#entries[at];
    if (entry === undefined) return undefined;
    const newer = this.#entries.slice(at + 1).some(({ fact }) => fact.case === 'slotsChanged');
    if (entry.fact.case === 'slotsChanged' && newer) return this.refuse(sequence);
    entry.sequence = 0;
    entry.notBeforeMs = atMs;
    this.#unsent += 1;
    this.#disordered = true;
    return entry.fact;
  }

  /** Everything said about one assignment is void. */
  drop(assignmentId: string): Fact[] {
    return this.#removeWhere((entry) => entry.assignmentId === assignmentId);
  }

  /**
   * The stream is gone, and its numbers with it: all that is left goes out again on the next one, in order.
   * Only the number of slots does not: the next hello says it.
   */
  disconnected(): void {
    this.#entries = this.#entries.filter((entry) => entry.fact.case !== 'slotsChanged');
    for (const entry of this.#entries) entry.sequence = 0;
    this.#unsent = this.#entries.length;
    this.#disordered = false;
  }

  #removeWhere(gone: (entry: Entry) => boolean): Fact[] {
    const removed: Fact[] = [];
    const kept: Entry[] = [];
    for (const entry of this.#entries) {
      if (gone(entry)) {
        removed.push(entry.fact);
        if (entry.sequence === 0) this.#unsent -= 1;
      } else {
        kept.push(entry);
      }
    }
    this.#entries = kept;
    return removed;
  }
}
