/** Who decides: one process at a time holds the advisory lock, and the epoch row fences whoever lost it. */
import { dirname, join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { drizzle } from 'drizzle-orm/postgres-js';
import { migrate } from 'drizzle-orm/postgres-js/migrator';
import { readMigrationFiles } from 'drizzle-orm/migrator';
import type { Sql } from 'postgres';
import type { Log } from '../lib/log.ts';
import type { Database } from './database.ts';
import type { SealedBatch } from './batch.ts';
import { batchStatement } from './statement.ts';

// Any number will do, as long as nothing else on the same database takes it.
const LOCK_KEY = 7_361_042;

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
  release(): Promise<void>;
}

/** Waits for the lock (a standby waits here), brings the schema up to date and begins a new epoch. */
export async function becomeHolder(database: Database, name: string, log: Log): Promise<Holder> {
  let locked = false;
  const sql = database.connect({
    max: 1,
    idle_timeout: 0,
    connection: {
      application_name: 'yardmaster journal',
      // Every statement is prepared and joins a short list of rows to a table by its key. Planning it once is enough,
      // and a plan made while a table is small must not scan it when it has grown.
      plan_cache_mode: 'force_generic_plan',
      enable_seqscan: false,
      enable_hashjoin: false,
      enable_mergejoin: false,
      jit: false,
    },
    onclose: () => {
      locked = false;
    },
  });
  try {
    await sql`SELECT pg_advisory_lock(${LOCK_KEY})`;
    locked = true;
    await bringUpToDate(sql);
    const [row] = await sql<{ epoch: number }[]>`
      UPDATE holder SET epoch = epoch + 1, batch = 0, name = ${name}, acquire_time = now() WHERE id = 1
      RETURNING epoch::float8 AS epoch`;
    if (row === undefined) throw new Error('the table holder has no row: the schema is damaged');
    const { epoch } = row;
    log.info({ epoch, name }, 'this process decides');
    const lockAgain = async () => {
      if (locked) return;
      await relock(sql, epoch);
      locked = true;
    };
    return {
      epoch,
      sql,
      commit: async (batch, number) => {
        await lockAgain();
        await commit(sql, epoch, batch, number);
      },
      release: () => sql.end({ timeout: 5 }),
    };
  } catch (error) {
    await sql.end({ timeout: 5 });
    throw error;
  }
}

async function commit(sql: Sql, epoch: number, batch: SealedBatch, number: number): Promise<void> {
  const [answer] = await sql.unsafe<{ guarded: number; epoch: number; batch: number }[]>(
    batchStatement(batch.parts),
    [epoch, number, ...batch.rows],
    { prepare: true },
  );
  if (answer?.guarded === 1) return;
  // The same batch, sent again because its answer was lost: it is there.
  if (answer?.epoch === epoch && answer.batch === number) return;
  throw new DeposedError(`batch ${number} of epoch ${epoch} was refused: epoch ${answer?.epoch} is at batch ${answer?.batch}`);
}

/** After the connection was lost. The old backend may hold the lock for a moment longer; the caller tries again. */
async function relock(sql: Sql, epoch: number): Promise<void> {
  const [row] = await sql<{ locked: boolean; epoch: number }[]>`
    SELECT pg_try_advisory_lock(${LOCK_KEY}) AS locked, epoch::float8 AS epoch FROM holder WHERE id = 1`;
  if (row?.epoch !== epoch) throw new DeposedError(`epoch ${row?.epoch} has begun; this process was epoch ${epoch}`);
  if (!row.locked) throw Object.assign(new Error('the lock of the lost connection is still held'), { code: 'CONNECTION_CLOSED' });
}

const MIGRATIONS = { migrationsFolder: join(dirname(fileURLToPath(import.meta.url)), 'migrations') };

/** Runs what the database lacks. A program older than the schema must not touch it. */
async function bringUpToDate(sql: Sql): Promise<void> {
  const known = readMigrationFiles(MIGRATIONS).map((migration) => migration.folderMillis);
  const newestKnown = Math.max(...known);
  const [present] = await sql`SELECT to_regclass('drizzle.__drizzle_migrations') IS NOT NULL AS present`;
  if (present?.present === true) {
    const [row] = await sql<{ newest: number | null }[]>`SELECT max(created_at)::float8 AS newest FROM drizzle.__drizzle_migrations`;
    if (row?.newest != null && row.newest > newestKnown) {
      throw new Error(
        `The database has schema version ${row.newest}, this program knows up to ${newestKnown}: it is older than the database. Run a newer version.`,
      );
    }
  }
  await migrate(drizzle(sql), MIGRATIONS);
}
