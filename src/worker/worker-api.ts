/** The worker as its author sees it. */
import type { WorkerHandle } from './context.ts';

export interface StopOptions {
  /** Told to the server and to aborted handlers. */
  reason?: string | undefined;
  /** Running handlers get this long to end before they are aborted, milliseconds. Default 30 000. */
  graceMs?: number | undefined;
}

/** Why a worker will not connect again. */
export type WorkerEnd =
  | { kind: 'stopped' }
  /** `reason` is SUPERSEDED, DELETED or TOKEN_REVOKED. */
  | { kind: 'evicted'; reason: string; message: string }
  | { kind: 'failed'; error: Error };

/** For a liveness or readiness probe of the worker's process. */
export interface WorkerHealth {
  /** A stream is open, and the server has said something on it within the silence limit. */
  readonly connected: boolean;
  /** Since when it is so, milliseconds since the epoch. */
  readonly sinceMs: number;
  /** Why there is no stream; empty while there is one. */
  readonly reason: string;
}

export interface Worker extends WorkerHandle {
  /** As told at the last welcome; empty before the first. */
  readonly displayName: string;
  readonly health: WorkerHealth;
  /** Resolves, once, when this worker will not connect again; never rejects. */
  readonly closed: Promise<WorkerEnd>;
  /**
   * Connects, and keeps trying. Resolves after the first welcome; rejects with ConnectRefusedError when the server
   * refuses this worker as it stands, and with WorkerClosedError when it is stopped before.
   */
  start(): Promise<void>;
  /** Takes nothing new and stays connected; resolves when all that was running has ended and is settled. */
  drain(): Promise<void>;
  /**
   * Drains for at most `graceMs`, aborts what still runs, says goodbye and closes. Results get up to 5 s more to be
   * acknowledged. Never rejects; a second call waits for the first.
   */
  stop(options?: StopOptions): Promise<void>;
  /** Handlers at once, from now on. What runs above it goes on. Throws RangeError for what is no count. */
  setSlots(slots: number): void;
}
