/**
 * What a process does while another one decides: nothing, until the lock is free. But a holder that hangs keeps the lock,
 * so its lease is looked at when it should be over, and then its backend is ended.
 */
import type { Sql } from 'postgres';
import { type Clock, sleep } from '../lib/clock.ts';
import type { Log } from '../lib/log.ts';
import type { Database } from './database.ts';
import { errorFacts } from './transient.ts';

export interface StandbyOptions {
  readonly clock: Clock;
  readonly log: Log;
  readonly lockKey: number;
  /** Told at each look who decides; empty while that is not known. */
  readonly onHolder: (name: string) => void;
  /** Ends the watch. */
  readonly signal: AbortSignal;
}

/** Looked at so much later than it should be over: the renewal may be on its way. */
const LATE_MS = 100;
/** After a look that failed, or one that ended a backend, the next comes after this. */
const AGAIN_MS = 1_000;

interface Lease {
  readonly name: string;
  readonly epoch: number;
  /** null: a holder of a release without leases. */
  readonly left_ms: number | null;
}

/** Ends only by its signal; never rejects. */
export async function watchHolder(database: Database, options: StandbyOptions): Promise<void> {
  const { clock, log, signal } = options;
  const sql = database.connect({ max: 1, connection: { application_name: 'yardmaster standby' } });
  try {
    while (!signal.aborted) {
      const waitMs = await look(sql, options).catch((error: unknown) => {
        // The database may be away, or not have its tables yet.
        log.debug({ ...errorFacts(error) }, 'the lease of the holder cannot be read');
        options.onHolder('');
        return AGAIN_MS;
      });
      await sleep(clock, waitMs, signal).catch(() => {});
    }
  } finally {
    await sql.end({ timeout: 0 });
  }
}

/** How long until the next look, milliseconds. */
async function look(sql: Sql, { lockKey, onHolder, log }: StandbyOptions): Promise<number> {
  const [lease] = await sql<Lease[]>`
    SELECT name, epoch::float8 AS epoch, (extract(epoch FROM lease_end_time - clock_timestamp()) * 1000)::float8 AS left_ms
    FROM holder WHERE id = 1`;
  if (lease === undefined) return AGAIN_MS;
  onHolder(lease.name);
  if (lease.left_ms === null) return AGAIN_MS;
  if (lease.left_ms > 0) return lease.left_ms + LATE_MS;
  const ended = await endHolder(sql, lease.epoch, lockKey);
  if (ended) log.warn({ holder: lease.name, epoch: lease.epoch }, 'the holder hangs: its connection was ended');
  return AGAIN_MS;
}

/** Whether there was one to end. Looked at once more in the same statement: it may have come back just now. */
async function endHolder(sql: Sql, epoch: number, lockKey: number): Promise<boolean> {
  // A key of 64 bits is listed in two halves.
  const ended = await sql`
    SELECT pg_terminate_backend(pid) FROM pg_locks JOIN pg_database d ON d.oid = database
    WHERE locktype = 'advisory' AND granted AND datname = current_database()
      AND classid = 0 AND objid = ${lockKey} AND objsubid = 1
      AND EXISTS (SELECT 1 FROM holder WHERE id = 1 AND epoch = ${epoch} AND lease_end_time < clock_timestamp())`;
  return ended.length > 0;
}

/** Whether another process waits for the lock. */
export async function isAwaited(sql: Sql, lockKey: number): Promise<boolean> {
  const waiting = await sql`
    SELECT 1 FROM pg_locks JOIN pg_database d ON d.oid = database
    WHERE locktype = 'advisory' AND NOT granted AND datname = current_database()
      AND classid = 0 AND objid = ${lockKey} AND objsubid = 1`;
  return waiting.length > 0;
}
