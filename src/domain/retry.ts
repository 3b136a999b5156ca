/** Which ending of an attempt is tried again. Application failures and lost workers have budgets of their own. */

export interface RetryPolicy {
  /** Application failures allowed, the last one included. */
  readonly attemptsMax: number;
  readonly initialBackoffMs: number;
  readonly backoffFactor: number;
  readonly backoffMsMax: number;
  /** -1: unlimited; 0: none. */
  readonly workerLossesMax: number;
}

export const RETRY_DEFAULT: RetryPolicy = {
  attemptsMax: 1,
  initialBackoffMs: 0,
  backoffFactor: 2,
  backoffMsMax: 3_600_000,
  workerLossesMax: 5,
};

/** Reports of an invalid input before the step that produced it runs again, unless a step says otherwise. */
export const MAX_INVALID_REPORTS_DEFAULT = 5;

/** Pause after so many reports of the same input, milliseconds: twice as long each time. */
export function invalidInputPauseMs(reports: number, firstMs: number, maxMs: number): number {
  return Math.min(maxMs, firstMs * 2 ** (reports - 1));
}

/** Delay before the next attempt after `failures` application failures, milliseconds; null: no more attempts. */
export function retryDelayMs(policy: RetryPolicy, failures: number, retryable: boolean): number | null {
  if (!retryable || failures >= policy.attemptsMax) return null;
  // The factor's power grows beyond all numbers, and 0 times that would be none.
  if (policy.initialBackoffMs === 0) return 0;
  return Math.min(policy.backoffMsMax, policy.initialBackoffMs * policy.backoffFactor ** (failures - 1));
}

/** Whether a step that has now lost `losses` workers may go to another one. */
export function mayLoseMore(policy: RetryPolicy, losses: number): boolean {
  return policy.workerLossesMax < 0 || losses <= policy.workerLossesMax;
}
