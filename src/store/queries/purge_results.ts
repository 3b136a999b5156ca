import type { Sql } from 'postgres';

/** One statement deletes at most so many: a commit must not have to wait for long. */
const ROWS_PER_DELETE = 5_000;

/** Forgets the successes of a content hash, or all of the namespace (null), page by page; how many there were. */
export async function purgeResults(sql: Sql, namespace: string, contentHash: string | null): Promise<number> {
  for (let purged = 0; ; ) {
    const { count } = await sql`
      DELETE FROM results WHERE ctid = ANY(ARRAY(
        SELECT ctid FROM results
        WHERE namespace = ${namespace} ${contentHash === null ? sql`` : sql`AND content_hash = ${contentHash}`}
        LIMIT ${ROWS_PER_DELETE}))`;
    purged += count;
    if (count < ROWS_PER_DELETE) return purged;
  }
}
