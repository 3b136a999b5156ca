/** What is counted where it happens. Everything that only has to be looked at is read at the scrape instead. */
import type { Reason } from '../domain/reasons.ts';
import type { RunState } from '../domain/run.ts';

export interface Meters {
  assigned(count: number): void;
  runEnded(state: RunState): void;
  /** `sinceSubmissionMs` is null when the run had been accepted before. */
  accepted(sinceAssignMs: number, sinceSubmissionMs: number | null): void;
  committed(commands: number, tookMs: number): void;
  commitFailed(): void;
  /** A "no" to a message of a stream, or to a call. */
  refused(reason: Reason, to: 'stream' | 'call'): void;
}

export const NO_METERS: Meters = {
  assigned() {},
  runEnded() {},
  accepted() {},
  committed() {},
  commitFailed() {},
  refused() {},
};
