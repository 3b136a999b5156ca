/** What a batch does to the successes that equal runs are answered with: in the end, one image of each. */
import type { ResultRow } from '../engine/rows.ts';

interface Purge {
  readonly namespace: string;
  /** null: all of the namespace. */
  readonly content_hash: string | null;
}

export interface ResultChanges {
  set(result: ResultRow): void;
  /** Before what is set after it; what was set before it goes as well. */
  purge(purge: Purge): void;
  readonly size: number;
  results(): ResultRow[];
  purges(): Purge[];
}

export function createResultChanges(): ResultChanges {
  const results = new Map<string, ResultRow>();
  const purges = new Map<string, Purge>();
  return {
    set({ namespace, content_hash, target, version, run_id }) {
      const row = { namespace, content_hash, target, version, run_id };
      results.set(JSON.stringify([namespace, content_hash, target, version]), row);
    },
    purge(purge) {
      for (const [key, row] of results) {
        const isMeant = purge.content_hash === null || purge.content_hash === row.content_hash;
        if (row.namespace === purge.namespace && isMeant) results.delete(key);
      }
      purges.set(JSON.stringify([purge.namespace, purge.content_hash]), purge);
    },
    get size() {
      return results.size + purges.size;
    },
    results: () => [...results.values()],
    purges: () => [...purges.values()],
  };
}
