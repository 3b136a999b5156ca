/** Who decides: one process at a time holds the advisory lock, and the epoch row fences whoever lost it. */
import { dirname, join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { readMigrationFiles } from 'drizzle-orm/migrator';
import type { Sql } from 'postgres';
import { type Clock, systemClock } from '../lib/clock.ts';
import type { Log } from '../lib/log.ts';
import type { SealedBatch } from './batch.ts';
import type { Database } from './database.ts';
import { isAwaited, watchHolder } from './standby.ts';
import { batchStatement, parametersOf } from './statement.ts';

// Any number will do, as long as nothing else on the same database takes it.
const LOCK_KEY = 7_361_042;

/**
 * A statement without an answer for this long is given up with its connection, and sent again on another: a network
 * that drops packets without a word would otherwise keep it for a quarter of an hour. The batch's number makes that safe.
 */
const ANSWER_MS_MAX = 30_000;

/** How long a commit gives the right to decide. A holder that hangs is replaced within twice that. */
export const LEASE_MS_DEFAULT = 5_000;

/** The lease of a holder that has only begun: until its first commit it migrates, and reads every run that has not ended. */
const STARTING_MS = 60_000;

/** Another process decides now: nothing of this one may be written any more. */
export class DeposedError extends Error {
  override readonly name = 'DeposedError';
}

export interface Holder {
  readonly epoch: number;
  /** The connection of the lock. Statements on it run one after the other. */
  readonly sql: Sql;
  /** Writes a batch, or finds that it was written before. Throws DeposedError when this process may not write. */
  commit(batch: SealedBatch, number: number): Promise<void>;
  /** Whether another process waits for the lock. False when that cannot be found out. */
  isAwaited(): Promise<boolean>;
  release(): Promise<void>;
}

export interface HolderOptions {
  readonly clock?: Clock;
  /** Gives up waiting for the lock. */
  readonly signal?: AbortSignal;
  readonly leaseMs?: number;
  /** Another process decides, and this one waits: told its name, and again when that changes; empty while unknown. */
  readonly onStandby?: (holder: string) => void;
}

/** One connection. The client would make another by itself, and that one would not have the lock: `lost` says so. */
interface Session {
  readonly sql: Sql;
  lost: boolean;
  locked: boolean;
}

/** A server process, told from a later one of the same number. */
interface Backend {
  readonly pid: number;
  readonly start: string;
}

/** Waits for the lock (a standby waits here), brings the schema up to date and begins a new epoch. */
export async function becomeHolder(
  database: Database,
  name: string,
  log: Log,
  options: HolderOptions = {},
): Promise<Holder> {
  const { clock = systemClock(), signal } = options;
  let session = connectSession(database);
  let backend: Backend;
  let epoch: number;
  const giveUp = () => discard(session);
  signal?.addEventListener('abort', giveUp, { once: true });
  try {
    signal?.throwIfAborted();
    backend = await lock(session, () => standBy(database, log, options));
    await bringUpToDate(session.sql);
    epoch = await beginEpoch(session, name, options.leaseMs ?? LEASE_MS_DEFAULT);
  } catch (error) {
    await session.sql.end({ timeout: 5 });
    throw error;
  } finally {
    signal?.removeEventListener('abort', giveUp);
  }
  log.info({ epoch, name }, 'this process decides');

  async function lockAgain(): Promise<void> {
    if (session.lost) {
      discard(session);
      session = connectSession(database);
    }
    if (!session.locked) backend = await relock(session, epoch, backend);
  }

  return {
    epoch,
    get sql() {
      return session.sql;
    },
    async commit(batch, number) {
      const limit = clock.after(ANSWER_MS_MAX, () => discard(session));
      try {
        await lockAgain();
        await commit(session.sql, epoch, batch, number);
      } finally {
        limit.clear();
      }
    },
    isAwaited: () => (session.lost ? Promise.resolve(false) : isAwaited(session.sql, LOCK_KEY).catch(() => false)),
    release: () => session.sql.end({ timeout: session.lost ? 0 : 5 }),
  };
}

function connectSession(database: Database): Session {
  const sql = database.connect({
    max: 1,
    idle_timeout: 0,
    connection: {
      application_name: 'yardmaster journal',
      // Every statement is prepared and joins a short list of rows to a table by its key. Planning it once is enough,
      // and a plan made while a table is small must not scan it when it has grown.
      plan_cache_mode: 'force_generic_plan',
      // As words: the client leaves out every setting that is false.
      enable_seqscan: 'off',
      enable_hashjoin: 'off',
      enable_mergejoin: 'off',
      jit: 'off',
    },
    onclose: () => {
      session.lost = true;
    },
  });
  const session: Session = { sql, lost: false, locked: false };
  return session;
}

/** What is under way on it fails with CONNECTION_DESTROYED. */
function discard(session: Session): void {
  session.lost = true;
  session.sql.end({ timeout: 0 }).catch(() => {});
}

/** `standBy` is called when the lock is not free, and gives what ends the standing by. */
async function lock(session: Session, standBy: () => () => void): Promise<Backend> {
  const [free] = await session.sql<{ locked: boolean }[]>`SELECT pg_try_advisory_lock(${LOCK_KEY}) AS locked`;
  const stop = free?.locked === true ? () => {} : standBy();
  try {
    const [backend] = await session.sql<Backend[]>`SELECT pg_advisory_lock(${LOCK_KEY}), ${ownBackend(session.sql)}`;
    session.locked = true;
    return backend as Backend;
  } finally {
    stop();
  }
}

function standBy(database: Database, log: Log, options: HolderOptions): () => void {
  const over = new AbortController();
  const { clock = systemClock(), onStandby = () => {} } = options;
  log.warn({}, 'another process decides on this database: standing by until it ends');
  let told: string | null = null;
  const onHolder = (name: string) => {
    if (over.signal.aborted || name === told) return;
    told = name;
    onStandby(name);
  };
  watchHolder(database, { clock, log, lockKey: LOCK_KEY, onHolder, signal: over.signal }).catch((error: unknown) =>
    log.warn({ err: error }, 'the connection of the standby did not close cleanly'),
  );
  return () => over.abort(new Error('no longer standing by'));
}

async function beginEpoch(session: Session, name: string, leaseMs: number): Promise<number> {
  // Another process may have the lock of a connection that was lost on the way here: its epoch must not be ended.
  if (session.lost) throw connectionLost('the connection of the lock was lost');
  const [row] = await session.sql<{ epoch: number }[]>`
    UPDATE holder SET epoch = epoch + 1, batch = 0, name = ${name}, acquire_time = now(), lease_ms = ${leaseMs},
      lease_end_time = clock_timestamp() + ${STARTING_MS} * interval '1 millisecond' WHERE id = 1
    RETURNING epoch::float8 AS epoch`;
  if (row === undefined) throw new Error('the table holder has no row: the schema is damaged');
  return row.epoch;
}

async function commit(sql: Sql, epoch: number, batch: SealedBatch, number: number): Promise<void> {
  const [answer] = await sql.unsafe<{ guarded: number; epoch: number; batch: number }[]>(
    batchStatement(batch),
    [epoch, number, ...parametersOf(batch)],
    { prepare: true },
  );
  if (answer?.guarded === 1) return;
  // The same batch, sent again because its answer was lost: it is there.
  if (answer?.epoch === epoch && answer.batch === number) return;
  throw new DeposedError(
    `batch ${number} of epoch ${epoch} was refused: epoch ${answer?.epoch} is at batch ${answer?.batch}`,
  );
}

/**
 * After the connection was lost. Its backend may not have noticed: then it is ended, since it would keep the lock for
 * as long as the network lets it, and may still be writing the very batch that is to be sent again. The caller tries again.
 */
async function relock(session: Session, epoch: number, former: Backend): Promise<Backend> {
  const [row] = await session.sql<({ locked: boolean; epoch: number } & Backend)[]>`
    SELECT pg_try_advisory_lock(${LOCK_KEY}) AS locked, epoch::float8 AS epoch, ${ownBackend(session.sql)}
    FROM holder WHERE id = 1`;
  if (row?.epoch !== epoch) throw new DeposedError(`epoch ${row?.epoch} has begun; this process was epoch ${epoch}`);
  if (!row.locked) {
    await session.sql`
      SELECT pg_terminate_backend(pid) FROM pg_stat_activity
      WHERE pid = ${former.pid} AND extract(epoch FROM backend_start)::text = ${former.start}`;
    throw connectionLost('the lock of the lost connection is still held');
  }
  session.locked = true;
  return row;
}

/** Columns of Backend. */
function ownBackend(sql: Sql) {
  return sql`pg_backend_pid() AS pid,
    (SELECT extract(epoch FROM backend_start)::text FROM pg_stat_activity WHERE pid = pg_backend_pid()) AS start`;
}

function connectionLost(message: string): Error {
  return Object.assign(new Error(message), { code: 'CONNECTION_CLOSED' });
}

const MIGRATIONS = { migrationsFolder: join(dirname(fileURLToPath(import.meta.url)), 'migrations') };

/** Runs what the database lacks. A program older than the schema must not touch it. */
async function bringUpToDate(sql: Sql): Promise<void> {
  const known = readMigrationFiles(MIGRATIONS).map((migration) => migration.folderMillis);
  const newestKnown = Math.max(...known);
  const [present] = await sql`SELECT to_regclass('drizzle.__drizzle_migrations') IS NOT NULL AS present`;
  if (present?.present === true) {
    const [row] = await sql<
      { newest: number | null }[]
    >`SELECT max(created_at)::float8 AS newest FROM drizzle.__drizzle_migrations`;
    if (row?.newest != null && row.newest > newestKnown) {
      throw new Error(
        `The database has schema version ${row.newest}, this program knows up to ${newestKnown}: it is older than the database. Run a newer version.`,
      );
    }
    // All there is, as nearly always: then nobody waits for what would run them.
    if (row?.newest === newestKnown) return;
  }
  const { drizzle } = await import('drizzle-orm/postgres-js');
  const { migrate } = await import('drizzle-orm/postgres-js/migrator');
  await migrate(drizzle(sql), MIGRATIONS);
}
