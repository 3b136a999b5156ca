/** What waits for one watcher. It is bounded: whoever does not keep up is told so, and reads the newest state instead. */
import type { Refusal } from '../../domain/refusal.ts';
import { RefusedError } from '../errors.ts';

/** SKIPPED: what waited was dropped, and so is what comes until `clear`. OVER: nobody reads any more. */
type Taken<T> = { readonly item: T } | 'SKIPPED' | 'OVER';

export interface Inbox<T> {
  put(item: T): void;
  /** What comes next, as soon as it is there. For one reader. Throws the refusal the watch was ended with. */
  next(): Promise<Taken<T>>;
  /** What is there already; null: nothing. Throws as `next`. */
  poll(): Taken<T> | null;
  /** Forgets what waits: the reader has just read something newer. */
  clear(): void;
  /** null: the reader has left. */
  end(why: Refusal | null): void;
}

export function createInbox<T>(itemsMax: number): Inbox<T> {
  const items: T[] = [];
  let skipped = false;
  let ended: { readonly why: Refusal | null } | null = null;
  let wake: (() => void) | null = null;

  function ring(): void {
    wake?.();
    wake = null;
  }

  function poll(): Taken<T> | null {
    // Before what waits: after a stand-down nothing that is still on its way to the watcher may look like the last word.
    if (ended !== null) {
      if (ended.why !== null) throw new RefusedError(ended.why);
      return 'OVER';
    }
    if (skipped) return 'SKIPPED';
    const [item] = items.splice(0, 1);
    return item === undefined ? null : { item };
  }

  return {
    poll,
    put(item) {
      if (ended !== null || skipped) return;
      skipped = items.length >= itemsMax;
      if (skipped) items.length = 0;
      else items.push(item);
      ring();
    },
    async next() {
      for (;;) {
        const taken = poll();
        if (taken !== null) return taken;
        await new Promise<void>((resolve) => {
          wake = resolve;
        });
      }
    },
    clear() {
      items.length = 0;
      skipped = false;
    },
    end(why) {
      ended ??= { why };
      items.length = 0;
      ring();
    },
  };
}
