/**
 * What ends an assignment waits for the lines its worker sent before. Lines are stored by a way of their own: were the
 * end stored first and the server killed then, the worker would come back with lines of what is over, and they would
 * be refused.
 */
export interface LinesFirst {
  /** Lines of this assignment are under way, until what it gives back is called. */
  begin(assignmentId: string): () => void;
  /** Calls `then` when no lines of this assignment are under way: at once, or later. */
  after(assignmentId: string, then: () => void): void;
  /** Calls `then` when nothing waits any more: at once, or later. */
  settled(then: () => void): void;
}

interface UnderWay {
  messages: number;
  readonly waiting: (() => void)[];
}

export function createLinesFirst(): LinesFirst {
  const underWay = new Map<string, UnderWay>();
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
    begin(assignmentId) {
      const lines = underWay.get(assignmentId) ?? { messages: 0, waiting: [] };
      lines.messages += 1;
      underWay.set(assignmentId, lines);
      return () => ended(assignmentId, lines);
    },
    after(assignmentId, then) {
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
