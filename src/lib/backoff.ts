/** Jittered exponential backoff. */

export interface Backoff {
  /** Delay before the first retry, milliseconds. */
  initialMs: number;
  factor: number;
  /** No delay is longer, milliseconds. */
  maxMs: number;
}

/**
 * Delay before retry number `attempt` (0 = the first retry), milliseconds.
 * Full jitter between half and all of the step, so that a fleet does not return in one instant.
 */
export function backoffMs(backoff: Backoff, attempt: number, fraction: number): number {
  const stepMs = Math.min(backoff.maxMs, backoff.initialMs * backoff.factor ** attempt);
  return stepMs / 2 + (stepMs / 2) * fraction;
}
