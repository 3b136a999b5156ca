/** Whether a server that somebody else runs will do. */
import type postgres from 'postgres';
import { DatabaseOpenError } from './failure.ts';

export type Connect = (options?: postgres.Options<Record<string, never>>) => postgres.Sql;

const MAJOR_VERSION_MIN = 15;
const CONNECT_SECONDS_MAX = 10;
const POOLER_ROUNDS = 3;

/** The server's version, "16.3". */
export async function refuseOldServer(connect: Connect, where: string): Promise<string> {
  const sql = connect({ max: 1, connect_timeout: CONNECT_SECONDS_MAX, fetch_types: false, prepare: false });
  try {
    const [row] = await sql<{ number: number; text: string }[]>`
      SELECT current_setting('server_version_num')::int AS number, current_setting('server_version') AS text`;
    if (row === undefined || row.number < MAJOR_VERSION_MIN * 10_000) {
      throw new DatabaseOpenError(
        `The database at ${where} is PostgreSQL ${row?.text}; Yardmaster needs PostgreSQL ${MAJOR_VERSION_MIN} or later. ` +
          'Give the address of a newer server as DATABASE_URL, or none, to use the embedded one.',
      );
    }
    return row.text;
  } finally {
    await sql.end({ timeout: 1 });
  }
}

/**
 * A pooler in transaction mode lends a server's session to a client for one transaction only, so the advisory lock that says who decides
 * would stay with a session that anybody gets next. To tell, clients ask which server process they speak to. Where sessions are one's own,
 * a client always speaks to the same one, and no two clients to one. Through such a pooler
 * - one that lends its sessions in turn gives a client that asks twice two different ones;
 * - one that lends the latest returned first (the usual order) gives the session of a client that rests to the next client that comes,
 *   which shows when that one keeps it by a transaction: it has the first one's process, or the first gets another when it asks again.
 *
 * Its limits: with other clients coming and going at this moment a pooler may happen to give both the same sessions in every round; and
 * nobody tells us when it is switched to transaction mode later. One client alone could not tell at all: an idle pooler of the usual order
 * gives it the same session every time, with its settings and its locks.
 */
export async function refuseTransactionPooler(connect: Connect, where: string): Promise<void> {
  const options = { max: 1, connect_timeout: CONNECT_SECONDS_MAX, fetch_types: false, prepare: false };
  const [first, second] = [connect(options), connect(options)];
  try {
    for (let round = 0; round < POOLER_ROUNDS; round += 1) {
      if (await isShared(first, second)) {
        throw new DatabaseOpenError(
          `The database at ${where} is behind a pooler in transaction mode, which lends one server session to several clients; ` +
            'Yardmaster holds a lock for the whole of its session. Give the address of the server itself, or of a pooler in session mode, as DATABASE_URL.',
        );
      }
    }
  } finally {
    await Promise.all([first.end({ timeout: 1 }), second.end({ timeout: 1 })]);
  }
}

async function isShared(first: postgres.Sql, second: postgres.Sql): Promise<boolean> {
  const before = await backendOf(first);
  if ((await backendOf(first)) !== before) return true;
  return second.begin(async (transaction) => {
    const other = await backendOf(transaction);
    // Not asked again when they are the same: in a pool of one session the first would wait for the second.
    return other === before || (await backendOf(first)) !== before;
  });
}

async function backendOf(sql: postgres.Sql | postgres.TransactionSql): Promise<number | undefined> {
  const [row] = await sql<{ pid: number }[]>`SELECT pg_backend_pid() AS pid`;
  return row?.pid;
}
