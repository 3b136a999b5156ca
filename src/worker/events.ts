/** What a worker tells its author about its own life. */
import type { AbortKind } from './errors.ts';

export type WorkerEvent =
  | {
      type: 'connected';
      workerId: string;
      name: string;
      displayName: string;
      namespace: string;
      /** True when this process had a session before. */
      resumed: boolean;
      warnings: readonly string[];
    }
  /** The stream ended; the next try comes after `retryInMs` milliseconds. */
  | { type: 'disconnected'; reason: string; retryInMs: number }
  | {
      type: 'step_started';
      assignmentId: string;
      runId: string;
      stepName: string;
      action: string;
      attempt: number;
    }
  | {
      type: 'step_finished';
      assignmentId: string;
      outcome: 'succeeded' | 'failed' | 'inputInvalid';
    }
  | { type: 'step_returned'; assignmentId: string; reason: string; detail: string }
  | { type: 'step_aborted'; assignmentId: string; kind: AbortKind; message: string }
  /** The server refused something this worker said; `about` names the message. */
  | { type: 'refused'; about: string; assignmentId: string; reason: string; message: string }
  /** The server gives nothing new until it is told to resume this worker. */
  | { type: 'draining'; reason: string }
  | { type: 'evicted'; reason: string; message: string };
