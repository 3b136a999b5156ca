/**
 * Labels of this worker: what the server says they are, and what its author wants them to be.
 * One upsert is under way at a time; calls made meanwhile are merged into the next one. Pure: time and messages are handed in.
 */
import type { JsonObject } from '@bufbuild/protobuf';
import { LabelsRefusedError } from './errors.ts';
import { Pace } from './pace.ts';

export type LabelValue = string | number;
export type Labels = Record<string, LabelValue>;
/** `null` removes the key. */
export type LabelPatch = Record<string, LabelValue | null>;

interface Call {
  readonly patch: LabelPatch;
  readonly done: (labels: Labels) => void;
  readonly refused: (error: Error) => void;
  /** Sent by itself: the batch it was part of was refused, and only one of them need be at fault. */
  alone: boolean;
}

export class LabelBook {
  #told: Labels = {};
  #revision = 0n;
  /** False until the stored set is known: a whole set built without it would remove what it does not name. */
  #baseKnown: boolean;
  /** True once the author has said anything about labels; only then does hello carry them. */
  #owned: boolean;
  #waiting: Call[] = [];
  #inFlight: { sequence: number; calls: Call[] } | undefined;
  #inHello: Call[] = [];
  #notBeforeMs = 0;
  #pace = new Pace(1);

  constructor(initial: Labels | undefined) {
    this.#owned = initial !== undefined;
    this.#baseKnown = this.#owned;
    if (initial !== undefined) {
      checkLabels(initial);
      this.#told = { ...initial };
    }
  }

  /** The latest merged set told by the server. */
  get told(): Labels {
    return this.#told;
  }

  get revision(): bigint {
    return this.#revision;
  }

  upsert(patch: LabelPatch, done: Call['done'], refused: Call['refused']): void {
    try {
      checkLabels(patch);
    } catch (error) {
      refused(error as Error);
      return;
    }
    this.#waiting.push({ patch: { ...patch }, done, refused, alone: false });
  }

  /** Sends the next upsert if one may go; returns when to call again (Infinity: after the next answer or call). */
  pump(nowMs: number, transmit: (labels: JsonObject) => number): number {
    const first = this.#waiting[0];
    if (first === undefined || this.#inFlight !== undefined) return Number.POSITIVE_INFINITY;
    if (this.#notBeforeMs > nowMs) return this.#notBeforeMs;
    const readyMs = this.#pace.take(1, nowMs);
    if (readyMs > nowMs) return readyMs;
    const last = this.#waiting.findIndex((call) => call.alone);
    const calls = this.#waiting.splice(0, first.alone ? 1 : last < 0 ? this.#waiting.length : last);
    this.#owned = true;
    this.#inFlight = { sequence: transmit(mergedPatch(calls)), calls };
    return Number.POSITIVE_INFINITY;
  }

  upserted(labels: JsonObject | undefined, revision: bigint): void {
    this.#tell(labels, revision);
    const calls = this.#inFlight?.calls ?? [];
    this.#inFlight = undefined;
    for (const call of calls) call.done({ ...this.#told });
  }

  /** Returns false when `sequence` is not the upsert under way. */
  refused(sequence: number, error: LabelsRefusedError, retryAtMs: number | undefined): boolean {
    if (this.#inFlight?.sequence !== sequence) return false;
    const calls = this.#inFlight.calls;
    this.#inFlight = undefined;
    if (retryAtMs !== undefined) {
      this.#notBeforeMs = retryAtMs;
      this.#waiting.unshift(...calls);
    } else if (calls.length > 1) {
      for (const call of calls) call.alone = true;
      this.#waiting.unshift(...calls);
    } else {
      for (const call of calls) call.refused(error);
    }
    return true;
  }

  /** The whole wanted set for hello, with every call that is not answered; undefined: leave the stored set alone. */
  forHello(): JsonObject | undefined {
    if (!this.#baseKnown || (!this.#owned && this.#waiting.length === 0)) return undefined;
    this.#owned = true;
    this.#inHello = this.#waiting;
    this.#waiting = [];
    const wanted: JsonObject = { ...this.#told };
    for (const [key, value] of Object.entries(mergedPatch(this.#inHello))) {
      if (value === null) delete wanted[key];
      else wanted[key] = value as LabelValue;
    }
    return wanted;
  }

  welcomed(labels: JsonObject | undefined, revision: bigint, messagesPerSecond: number): void {
    this.#baseKnown = true;
    this.#pace = new Pace(messagesPerSecond);
    this.#notBeforeMs = 0;
    this.#tell(labels, revision);
    const calls = this.#inHello;
    this.#inHello = [];
    for (const call of calls) call.done({ ...this.#told });
  }

  /** What was under way is not sent again as such: the next hello carries it. */
  disconnected(): void {
    this.#waiting.unshift(...this.#inHello, ...(this.#inFlight?.calls ?? []));
    this.#inHello = [];
    this.#inFlight = undefined;
  }

  /** The server refused a hello that carried unanswered calls: they go, and true says that a hello without them is worth a try. */
  rejectHello(error: LabelsRefusedError): boolean {
    const calls = this.#inHello;
    this.#inHello = [];
    for (const call of calls) call.refused(error);
    return calls.length > 0;
  }

  /** No server will answer any more. */
  close(error: Error): void {
    this.disconnected();
    for (const call of this.#waiting.splice(0)) call.refused(error);
  }

  #tell(labels: JsonObject | undefined, revision: bigint): void {
    const told: Labels = {};
    for (const [key, value] of Object.entries(labels ?? {})) {
      if (typeof value === 'string' || typeof value === 'number') told[key] = value;
    }
    this.#told = told;
    this.#revision = revision;
  }
}

function mergedPatch(calls: readonly Call[]): JsonObject {
  return Object.assign({}, ...calls.map((call) => call.patch)) as JsonObject;
}

/** The shape only; sizes and counts are the server's settings. */
function checkLabels(labels: LabelPatch): void {
  for (const [key, value] of Object.entries(labels)) {
    if (value === null || typeof value === 'string') continue;
    if (typeof value === 'number' && Number.isFinite(value)) continue;
    const message = `label ${JSON.stringify(key)} is ${String(value)}; a label is a string or a finite number, and null removes it`;
    throw new LabelsRefusedError('INVALID_LABEL', message, { key });
  }
}
