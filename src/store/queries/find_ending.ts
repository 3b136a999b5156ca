import type { Sql } from 'postgres';
import { runIdsOf } from '../../domain/assignment_id.ts';

/** How an assignment ended, as far as its worker said so. */
export interface Ending {
  readonly workerId: string;
  /** As in the engine; null: the server ended it. */
  readonly fact: string | null;
}

const UUID = /^[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}$/;

/**
 * The end of an assignment that has left memory; null: it is not known, or has not ended. A success is in its run's row,
 * found by primary key, any other end in `attempts`. Once it is there it does not change any more.
 */
export async function findEnding(sql: Sql, assignmentId: string): Promise<Ending | null> {
  if (!UUID.test(assignmentId)) return null;
  const runIds = runIdsOf(assignmentId);
  const [row] = await sql<{ worker_id: string; fact: string | null }[]>`
    SELECT worker_id, fact FROM attempts WHERE assignment_id = ${assignmentId}
    ${
      runIds === null
        ? sql``
        : sql`UNION ALL
    SELECT worker_id, 'succeeded' FROM runs
    WHERE run_id BETWEEN ${runIds.from} AND ${runIds.to} AND assignment_id = ${assignmentId} AND step_state = 'SUCCEEDED'
    UNION ALL
    SELECT worker_id, 'succeeded' FROM steps
    WHERE run_id BETWEEN ${runIds.from} AND ${runIds.to} AND assignment_id = ${assignmentId} AND step_state = 'SUCCEEDED'`
    }`;
  return row === undefined ? null : { workerId: row.worker_id, fact: row.fact };
}
