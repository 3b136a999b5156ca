/**
 * A result waits for the lines its worker sent before. Lines are stored by a way of their own: were it
 * stored first and the server killed then, the worker would come back with lines of what is over, and they would
 * be refused. And lines that have to be sent again make what follows them come again too.
 */
export interface LinesFirst {
  /** Lines of this assignment are under way, until what it gives back is called. */
  begin(assignmentId: string, firstLineNumber: number): () => void;
  /** These lines were refused for now: they are to be sent again. */
  postponed(assignmentId: string, firstLineNumber: number): void;
  /**
   * Decides when no lines of this assignment are under way: at once, or later. Calls `again` instead when lines are
   * still to be sent again.
   */
  after(assignmentId: string, decide: () => void, again: () => void): void;
  /** Calls `then` when nothing waits any more: at once, or later. */
  settled(then: () => void): void;
}

interface UnderWay {
  messages: number;
  readonly waiting: (() => void)[];
}

/** Assignments with postponed lines that are remembered; a worker that has more keeps no order. */
const POSTPONED_MAX = 10_000;

export function createLinesFirst(): LinesFirst {
  const underWay = new Map<string, UnderWay>();
  /** The lowest line that is to come again. Those behind it come behind it again. */
  const postponed = new Map<string, number>();
  let settling: (() => void)[] = [];

  function ended(assignmentId: string, lines: UnderWay): void {
    lines.messages -= 1;
    if (lines.messages > 0) return;
    underWay.delete(assignmentId);
    for (const then of lines.waiting) then();
    if (underWay.size > 0) return;
    const settled = settling;
    settling = [];
    for (const then of settled) then();
  }

  return {
    begin(assignmentId, firstLineNumber) {
      const lowest = postponed.get(assignmentId);
      if (lowest !== undefined && firstLineNumber <= lowest) postponed.delete(assignmentId);
      const lines = underWay.get(assignmentId) ?? { messages: 0, waiting: [] };
      lines.messages += 1;
      underWay.set(assignmentId, lines);
      return () => ended(assignmentId, lines);
    },
    postponed(assignmentId, firstLineNumber) {
      const lowest = postponed.get(assignmentId);
      if (lowest === undefined && postponed.size >= POSTPONED_MAX) return;
      postponed.set(assignmentId, Math.min(lowest ?? firstLineNumber, firstLineNumber));
    },
    after(assignmentId, decide, again) {
      const then = () => (postponed.has(assignmentId) ? again() : decide());
      const lines = underWay.get(assignmentId);
      if (lines === undefined) then();
      else lines.waiting.push(then);
    },
    settled(then) {
      if (underWay.size === 0) then();
      else settling.push(then);
    },
  };
}
