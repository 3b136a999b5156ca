/** The one ordered queue: priority first, then the number a step got when it first became ready. */

/** 1 = LOW, 2 = MID, 3 = HIGH, 4 = CRITICAL: the larger goes first. */
export type Priority = 1 | 2 | 3 | 4;
export const PRIORITY_DEFAULT: Priority = 2;

export interface QueuePlace {
  readonly priority: Priority;
  /** Given once, when the step first became ready; kept over retries and returns. */
  readonly readySequence: number;
}

/** Negative when `a` goes before `b`. */
export function comparePlaces(a: QueuePlace, b: QueuePlace): number {
  return b.priority - a.priority || a.readySequence - b.readySequence;
}
