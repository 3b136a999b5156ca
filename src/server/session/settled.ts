/** Which of a stream's sequence numbers are settled: committed or refused. Pure. */
export class SettledTracker {
  private last = 0;
  private upTo = 0;
  /** Settled beyond the first open one; most settle in order, and then there is none. */
  private beyond: Set<number> | null = null;

  /** The number the next sequenced message must carry. */
  get expected(): number {
    return this.last + 1;
  }

  /** Everything up to and including this is settled. */
  get acknowledged(): number {
    return this.upTo;
  }

  /** Takes the next number; what it names is open from now on. */
  take(): void {
    this.last += 1;
  }

  settle(sequence: number): void {
    if (sequence !== this.upTo + 1) {
      this.beyond ??= new Set();
      this.beyond.add(sequence);
      return;
    }
    this.upTo = sequence;
    while (this.beyond?.delete(this.upTo + 1)) this.upTo += 1;
    if (this.beyond?.size === 0) this.beyond = null;
  }
}
