/** Which of a stream's sequence numbers are settled: committed or refused. Pure. */

export interface SettledTracker {
  /** The number the next sequenced message must carry. */
  readonly expected: number;
  /** Takes the next number; what it names is open from now on. */
  take(): number;
  settle(sequence: number): void;
  /** Everything up to and including this is settled. */
  readonly acknowledged: number;
}

export function createSettledTracker(): SettledTracker {
  let last = 0;
  let acknowledged = 0;
  // Settled beyond the first open one; small, since most settle in order.
  const beyond = new Set<number>();
  return {
    get expected() {
      return last + 1;
    },
    get acknowledged() {
      return acknowledged;
    },
    take() {
      last += 1;
      return last;
    },
    settle(sequence) {
      if (sequence !== acknowledged + 1) {
        beyond.add(sequence);
        return;
      }
      acknowledged = sequence;
      while (beyond.delete(acknowledged + 1)) acknowledged += 1;
    },
  };
}
