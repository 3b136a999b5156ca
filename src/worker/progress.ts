/** The newest progress of each assignment: the last one wins, so only it is kept, and it is said again on a new stream. */
import { create } from '@bufbuild/protobuf';
import type { StepProgressed } from '../../gen/yardmaster/v1/worker_service_pb.ts';
import { StepProgressedSchema } from '../../gen/yardmaster/v1/worker_service_pb.ts';
import { PROGRESS_INTERVAL_MS } from './limits.ts';
import { cutToCharacters, withoutNul } from './text.ts';

/** `fraction` is clamped to 0 … 1; `text` is cut to the stream's limit (255 characters unless told otherwise). */
export interface Progress {
  text?: string;
  fraction?: number;
  phase?: string;
}

interface Newest {
  message: StepProgressed;
  said: boolean;
  notBeforeMs: number;
}

export class ProgressBook {
  readonly #newest = new Map<string, Newest>();
  #dueMs = Number.POSITIVE_INFINITY;

  /** When to call `take` again; Infinity: nothing waits. */
  get dueMs(): number {
    return this.#dueMs;
  }

  report(assignmentId: string, progress: Progress, charactersMax: number): void {
    const before = this.#newest.get(assignmentId);
    const message = create(StepProgressedSchema, {
      assignmentId,
      text: cutToCharacters(withoutNul(progress.text ?? ''), charactersMax),
      phase: cutToCharacters(withoutNul(progress.phase ?? ''), charactersMax),
    });
    if (progress.fraction !== undefined && !Number.isNaN(progress.fraction)) {
      message.fraction = Math.min(1, Math.max(0, progress.fraction));
    }
    const notBeforeMs = before?.notBeforeMs ?? 0;
    this.#newest.set(assignmentId, { message, said: false, notBeforeMs });
    this.#dueMs = Math.min(this.#dueMs, notBeforeMs);
  }

  /** What is to be said now. */
  take(nowMs: number): StepProgressed[] {
    const messages: StepProgressed[] = [];
    this.#dueMs = Number.POSITIVE_INFINITY;
    for (const newest of this.#newest.values()) {
      if (newest.said) continue;
      if (newest.notBeforeMs > nowMs) {
        this.#dueMs = Math.min(this.#dueMs, newest.notBeforeMs);
        continue;
      }
      newest.said = true;
      newest.notBeforeMs = nowMs + PROGRESS_INTERVAL_MS;
      messages.push(newest.message);
    }
    return messages;
  }

  /** The assignment is ending: its newest progress, if it is still to be said. */
  last(assignmentId: string): StepProgressed | undefined {
    const newest = this.#newest.get(assignmentId);
    this.#newest.delete(assignmentId);
    return newest?.said === false ? newest.message : undefined;
  }

  /** Nobody knows whether it was heard. */
  disconnected(): void {
    for (const newest of this.#newest.values()) {
      newest.said = false;
      newest.notBeforeMs = 0;
      this.#dueMs = 0;
    }
  }
}
