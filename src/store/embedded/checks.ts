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
 * would stay with a session that anybody gets next. To tell: one client notes the server process it speaks to and rests; another begins a
 * transaction. Through such a pooler the second is given the first one's idle session (the usual order), which shows as the same process
 * for two clients; or the first is given a different process when it speaks again. Neither can happen with sessions of one's own.
 *
 * Its limits: one client alone would see nothing, because an idle pooler gives it the same session every time. A pooler that happens to
 * give both clients the sessions they had before, in every round, is not noticed; nor is one that is switched to transaction mode later.
 */
export async function refuseTransactionPooler(connect: Connect, where: string): Promise<void> {
  const options = { max: 1, connect_timeout: CONNECT_SECONDS_MAX, fetch_types: false, prepare: false };
  const [first, second] = [connect(options), connect(options)];
  try {
    for (let round = 0; round < POOLER_ROUNDS; round += 1) {
      const before = await backendOf(first);
      const shared = await second.begin(async (transaction) => {
        const other = await backendOf(transaction);
        // Not asked again when they are the same: in a pool of one session the first would wait for the second.
        return other === before || (await backendOf(first)) !== before;
      });
      if (shared) {
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

async function backendOf(sql: postgres.Sql | postgres.TransactionSql): Promise<number | undefined> {
  const [row] = await sql<{ pid: number }[]>`SELECT pg_backend_pid() AS pid`;
  return row?.pid;
}
