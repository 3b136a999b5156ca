/** Log lines on their way into messages. Bounded: what does not fit is dropped, counted, and the gap said in the log itself. */
import { create } from '@bufbuild/protobuf';
import { timestampFromMs } from '@bufbuild/protobuf/wkt';
import type { LogLine } from '../../gen/yardmaster/v1/worker_service_pb.ts';
import { LogLevel, LogLineSchema } from '../../gen/yardmaster/v1/worker_service_pb.ts';
import { type Fact, logged } from './facts.ts';
import {
  LOG_BYTES_PER_MESSAGE_MAX,
  LOG_BYTES_UNSETTLED_MAX,
  LOG_LINES_PER_MESSAGE_MAX,
  LOG_LINES_UNSETTLED_MAX,
  type StreamLimits,
} from './limits.ts';
import { usedOf } from './pace.ts';
import { cutToBytes, utf8Bytes } from './text.ts';

interface Pending {
  nextLineNumber: number;
  lines: LogLine[];
  dropped: number;
}

export class LogBook {
  readonly #pending = new Map<string, Pending>();
  #unsettledLines = 0;
  #unsettledBytes = 0;

  /** One call may carry several lines; each is cut to the limit at a character. */
  add(assignmentId: string, level: LogLevel, text: string, limits: StreamLimits, nowMs: number): void {
    const pending = this.#of(assignmentId);
    for (const line of text.split(/\r?\n/)) {
      const cut = cutToBytes(line, limits.logLineBytes);
      const bytes = utf8Bytes(cut);
      if (!this.#fits(bytes)) {
        pending.dropped += 1;
        continue;
      }
      this.#sayDropped(pending, nowMs);
      this.#push(pending, level, cut, bytes, nowMs);
    }
  }

  /** Everything said so far by this assignment, in messages of bounded size; line numbers go on from 1. */
  take(assignmentId: string, limits: StreamLimits, nowMs: number): Fact[] {
    const pending = this.#pending.get(assignmentId);
    if (pending === undefined) return [];
    this.#sayDropped(pending, nowMs);
    const linesMax = Math.min(LOG_LINES_PER_MESSAGE_MAX, usedOf(limits.logLinesPerSecond));
    const facts: Fact[] = [];
    let from = 0;
    let bytes = 0;
    for (let at = 0; at <= pending.lines.length; at += 1) {
      const line = pending.lines[at];
      const size = line === undefined ? 0 : utf8Bytes(line.text);
      const full = at - from >= linesMax || bytes + size > LOG_BYTES_PER_MESSAGE_MAX;
      if (at > from && (line === undefined || full)) {
        const lines = pending.lines.slice(from, at);
        facts.push(logged(assignmentId, pending.nextLineNumber, lines));
        pending.nextLineNumber += lines.length;
        from = at;
        bytes = 0;
      }
      bytes += size;
    }
    pending.lines = [];
    return facts;
  }

  takeAll(limits: StreamLimits, nowMs: number): Fact[] {
    return [...this.#pending.keys()].flatMap((id) => this.take(id, limits, nowMs));
  }

  /** These lines are settled or void: their room is free again. */
  settled(fact: Fact): void {
    if (fact.case === 'stepLogged') this.#free(fact.value.lines);
  }

  /** The assignment is over: nothing more of it will be taken. */
  forget(assignmentId: string): void {
    this.#free(this.#pending.get(assignmentId)?.lines ?? []);
    this.#pending.delete(assignmentId);
  }

  #of(assignmentId: string): Pending {
    let pending = this.#pending.get(assignmentId);
    if (pending === undefined) {
      pending = { nextLineNumber: 1, lines: [], dropped: 0 };
      this.#pending.set(assignmentId, pending);
    }
    return pending;
  }

  #fits(bytes: number): boolean {
    return this.#unsettledLines < LOG_LINES_UNSETTLED_MAX && this.#unsettledBytes + bytes <= LOG_BYTES_UNSETTLED_MAX;
  }

  #sayDropped(pending: Pending, nowMs: number): void {
    if (pending.dropped === 0) return;
    const text = `[${pending.dropped} log lines dropped here by the worker: they came faster than they could be sent]`;
    pending.dropped = 0;
    this.#push(pending, LogLevel.WARNING, text, utf8Bytes(text), nowMs);
  }

  #push(pending: Pending, level: LogLevel, text: string, bytes: number, nowMs: number): void {
    const time = timestampFromMs(Math.floor(nowMs));
    pending.lines.push(create(LogLineSchema, { time, level, text }));
    this.#unsettledLines += 1;
    this.#unsettledBytes += bytes;
  }

  #free(lines: readonly LogLine[]): void {
    this.#unsettledLines -= lines.length;
    for (const line of lines) this.#unsettledBytes -= utf8Bytes(line.text);
  }
}
