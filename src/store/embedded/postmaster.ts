/**
 * Starting, adopting and stopping the server. Supervision is PostgreSQL's own: pg_ctl starts the postmaster in a session of its own, so a
 * Ctrl-C in our terminal or our own sudden death does not reach it, and the next start of ours finds it running and adopts it.
 */
import { rename, rmdir } from 'node:fs/promises';
import { join } from 'node:path';
import { sleep, systemClock } from '../../lib/clock.ts';
import { type Answer, ask, type Endpoint } from './ask.ts';
import type { Binaries } from './binaries.ts';
import { DatabaseOpenError, USE_ANOTHER } from './failure.ts';
import { holderOf, type LockFile, pidFileOf, readLock, releaseStale } from './lockfile.ts';
import { isTemporarySocket, type Place, placeSocket, socketFile } from './place.ts';
import { type Outcome, run } from './run.ts';
import { logSize, logTail } from './serverlog.ts';

export interface Server {
  endpoint: Endpoint;
  /** "18.4" */
  version: string;
  /** It ran already. */
  adopted: boolean;
  /** The database exists; if not, the server is new. */
  hasDatabase: boolean;
}

// Recovery after a crash reads at most the write-ahead log since the last checkpoint: about 1 GB.
const START_SECONDS_MAX = 120;
const STOP_SECONDS_MAX = 60;
const LOOK_DELAY_MS = 50;
// A postmaster that starts writes its process number at once after creating a lock file; one that is empty for longer was left by a crash.
const EMPTY_LOCK_MS_MAX = 2_000;
const LOG_BYTES_MAX = 16 * 1024 * 1024;

// Another server starts at this moment, or stops, or its last processes are ending: look again. Everything else is final.
const PASSING = /lock file "[^"]*" (already exists|is empty)|PID file|pre-existing shared memory block/;

/**
 * Two of us may do this at once: PostgreSQL creates postmaster.pid exclusively, so one start succeeds; the other fails, looks again, and
 * adopts. We never kill, and take a lock file away only when it names no PostgreSQL.
 */
export async function startOrAdopt(
  place: Place,
  binaries: () => Promise<Binaries>,
  settings: Record<string, string>,
): Promise<Server> {
  const cluster = join(place.home, 'cluster');
  const clock = systemClock();
  const beganMs = clock.nowMs();
  const ownSocket = await placeSocket(place);
  const locks = [pidFileOf(cluster), `${socketFile(ownSocket)}.lock`];
  let started = false;
  let last: Answer | undefined;

  while (clock.nowMs() - beganMs < START_SECONDS_MAX * 1000) {
    const endpoint = endpointOf(await readLock(pidFileOf(cluster)), cluster) ?? { directory: ownSocket, port: 5432 };
    last = await ask(endpoint);
    if (last.state === 'answers')
      return { endpoint, version: last.version, hasDatabase: last.hasDatabase, adopted: !started };

    const isEmptyStale = clock.nowMs() - beganMs > EMPTY_LOCK_MS_MAX;
    const held = await Promise.all(locks.map((path) => releaseStale(path, cluster, isEmptyStale)));
    if (last.state === 'absent' && !held.includes(true)) {
      started = await start(place, ownSocket, await binaries(), settings);
      if (started) continue;
    }
    await sleep(clock, LOOK_DELAY_MS);
  }
  throw new DatabaseOpenError(
    `The embedded PostgreSQL in ${cluster} did not answer within ${START_SECONDS_MAX} s (${last?.reason ?? 'not asked'}). ` +
      `It may still be recovering after a crash: then start Yardmaster again in a while.${await logTail(place.home, 0)}\n${USE_ANOTHER}`,
  );
}

/** Where a running server says that it listens; not believed when the data directory was copied together with the lock of another. */
function endpointOf(file: LockFile | undefined, cluster: string): Endpoint | undefined {
  if (file?.socketDirectory === undefined || file.dataDirectory !== cluster) return undefined;
  return { directory: file.socketDirectory, port: file.port ?? 5432 };
}

async function start(
  place: Place,
  socketDirectory: string,
  binaries: Binaries,
  settings: Record<string, string>,
): Promise<boolean> {
  const log = join(place.home, 'postgres.log');
  if ((await logSize(place.home)) > LOG_BYTES_MAX) await rename(log, `${log}.1`);
  const logOffset = await logSize(place.home);

  const options = startOptions(socketDirectory, settings);
  const outcome = await control(place, binaries, [
    'start',
    '-t',
    String(START_SECONDS_MAX),
    '-l',
    'postgres.log',
    '-o',
    options,
  ]);
  if (outcome.ok) return true;
  const tail = await logTail(place.home, logOffset);
  if (PASSING.test(outcome.output + tail)) return false;
  throw new DatabaseOpenError(
    `The embedded PostgreSQL in ${place.home} could not be started. ${tail || outcome.output}\n${USE_ANOTHER}`,
  );
}

/** What must be so, whatever postgresql.conf says. */
function startOptions(socketDirectory: string, settings: Record<string, string>): string {
  const needed = {
    ...settings,
    listen_addresses: '', // the socket only: no port that could be taken, nothing to reach from outside
    port: '5432',
    unix_socket_directories: `"${socketDirectory.replaceAll('"', '""')}"`, // a list: quoted, or a comma would part it
    unix_socket_permissions: '0700',
    cluster_name: 'yardmaster', // in the process titles
  };
  // pg_ctl gives this text to a shell.
  return Object.entries(needed)
    .map(([name, value]) => `-c ${shellQuoted(`${name}=${value}`)}`)
    .join(' ');
}

/** A fast shutdown: open transactions are rolled back, everything committed is flushed. Nothing to do when it is down already. */
export async function stopServer(place: Place, binaries: () => Promise<Binaries>, endpoint: Endpoint): Promise<void> {
  const cluster = join(place.home, 'cluster');
  const logOffset = await logSize(place.home);
  if ((await holderOf(await readLock(pidFileOf(cluster)), cluster)) === 'postgres') {
    const outcome = await control(place, await binaries(), ['stop', '-m', 'fast', '-t', String(STOP_SECONDS_MAX)]);
    // It may have ended by itself, or by another's hand, meanwhile.
    if (!outcome.ok && (await holderOf(await readLock(pidFileOf(cluster)), cluster)) === 'postgres') {
      throw new DatabaseOpenError(
        `The embedded PostgreSQL in ${cluster} could not be stopped: ${lastLine(outcome.output)}${await logTail(place.home, logOffset)}`,
      );
    }
  }
  if (isTemporarySocket(endpoint.directory)) await rmdir(endpoint.directory).catch(() => undefined);
}

/**
 * pg_ctl puts the data directory into a shell command, in double quotes. Where that would change it, the path goes by PGDATA only; else
 * by -D as well, so that a list of processes says whose server it is. The log's name is relative for the same reason.
 */
function control(place: Place, binaries: Binaries, args: string[]): Promise<Outcome> {
  const cluster = join(place.home, 'cluster');
  const named = /["$`\\\n]/.test(cluster) ? [] : ['-D', cluster];
  return run(binaries.pgCtl, [...args, '-w', ...named], {
    account: place.account,
    cwd: place.home,
    env: { PGDATA: cluster },
  });
}

/** For a command that a person or a shell reads; as it is when that is safe. */
export function shellQuoted(text: string): string {
  return /^[\w./=:@%+-]+$/.test(text) ? text : `'${text.replaceAll("'", `'\\''`)}'`;
}

function lastLine(output: string): string {
  return output.trim().split('\n').at(-1) ?? '';
}
