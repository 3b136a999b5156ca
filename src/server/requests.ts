/** Looks up request ids that may have been used before. */
import type { Sql } from 'postgres';
import type { Log } from '../lib/log.ts';
import { findRequests, type KnownRequest } from '../store/queries/find_requests.ts';
import { countRequests, readRequestIds } from '../store/queries/read_request_ids.ts';
import { createRequestFilter, REQUEST_FILTER_IDS, type RequestFilter } from './request_filter.ts';

export interface RequestBook {
  /** Those of `requestIds` that the store holds. Ids asked for are taken to be in use from now on. */
  find(namespace: string, requestIds: readonly string[]): Promise<ReadonlyMap<string, KnownRequest>>;
}

const NONE: ReadonlyMap<string, KnownRequest> = new Map();

/** Correct from the first moment; fast once the ids in the store have been read, which goes on beside. */
export function createRequestBook(reads: Sql, log: Log): RequestBook {
  let filter: RequestFilter = createRequestFilter();
  // The one before: it knows the ids whose runs were on their way to the store when the reading of it began.
  let previous: RequestFilter | null = null;
  let loading = false;

  async function load(): Promise<void> {
    try {
      const stored = await countRequests(reads);
      // Room for as many again, so that it lasts; what comes in meanwhile is added beside the reading.
      const next = createRequestFilter(Math.max(REQUEST_FILTER_IDS, stored * 2));
      filter.setComplete();
      previous = filter;
      filter = next;
      for await (const { namespace, requestId } of readRequestIds(reads)) next.add(namespace, requestId);
      next.setComplete();
    } catch (error) {
      // Without the filter every submission asks the store: slower, never wrong.
      log.warn({ err: error }, 'request ids could not be read');
    } finally {
      loading = false;
    }
  }

  /** Whether it may have been used before. */
  function use(namespace: string, requestId: string): boolean {
    return filter.add(namespace, requestId) || (previous?.maybeUsed(namespace, requestId) ?? false);
  }

  function reload(): void {
    if (loading) return;
    loading = true;
    // Never rejects: its own catch says what went wrong.
    void load();
  }

  reload();
  return {
    async find(namespace, requestIds) {
      const asked = requestIds.filter((requestId) => use(namespace, requestId));
      if (filter.isFull) reload();
      if (asked.length === 0) return NONE;
      const found = await findRequests(reads, namespace, asked);
      return new Map(found.map((request) => [request.requestId, request]));
    },
  };
}
