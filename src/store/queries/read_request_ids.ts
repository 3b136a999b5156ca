import type { Sql } from 'postgres';

const ROWS_PER_FETCH = 10_000;

/** How many runs carry a request id, roughly when there are many: the planner's estimate costs nothing. */
export async function countRequests(sql: Sql): Promise<number> {
  const [row] = await sql<{ estimate: number }[]>`
    SELECT greatest(reltuples, 0)::float8 AS estimate FROM pg_class WHERE oid = 'runs'::regclass`;
  return row?.estimate ?? 0;
}

/** Every request id that is kept. */
export async function* readRequestIds(sql: Sql): AsyncIterable<{ namespace: string; requestId: string }> {
  const cursor = sql<{ namespace: string; requestId: string }[]>`
    SELECT namespace, request_id AS "requestId" FROM runs WHERE request_id IS NOT NULL`.cursor(ROWS_PER_FETCH);
  for await (const rows of cursor) yield* rows;
}
