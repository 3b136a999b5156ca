/** PostgreSQL's data directory: made once, whole or not at all. */
import { open, readdir, readFile, rename, stat } from 'node:fs/promises';
import { join } from 'node:path';
import { systemClock } from '../../lib/clock.ts';
import { systemIds } from '../../lib/random.ts';
import type { Binaries } from './binaries.ts';
import { DatabaseOpenError, errorCode, USE_ANOTHER } from './failure.ts';
import type { Place } from './place.ts';
import { run } from './run.ts';

export const SUPERUSER = 'yardmaster';

/** Sensible, not needed: they go into postgresql.conf, where a person may change them (or by ALTER SYSTEM). */
const SETTINGS: Record<string, string> = {
  shared_buffers: '128MB',
  max_connections: '50',
  // Our statements last milliseconds; compiling one costs more than it saves.
  jit: 'off',
  timezone: 'UTC',
  log_timezone: 'UTC',
  log_line_prefix: '%m [%p] %q%a ',
  // One line each five minutes for ever says nothing that anybody acts on.
  log_checkpoints: 'off',
};

const UNFINISHED = 'cluster.new-';
const UNFINISHED_AGE_MS_MAX = 600_000;

/** The major version of the data, or undefined when there is none yet. */
export async function clusterVersion(home: string): Promise<string | undefined> {
  const cluster = join(home, 'cluster');
  try {
    return (await readFile(join(cluster, 'PG_VERSION'), 'utf8')).trim();
  } catch (error) {
    if (errorCode(error) !== 'ENOENT') throw error;
    // We never leave this: a cluster gets its name when it is complete. Making a new one over it could bury somebody's data.
    const found = await readdir(cluster).catch(() => []);
    if (found.length === 0) return undefined;
    throw new DatabaseOpenError(
      `${cluster} is not a PostgreSQL data directory: it holds files, but no PG_VERSION. ` +
        'Bring it back from a backup, or move it away to start with an empty database.',
    );
  }
}

/**
 * Makes the data directory under another name and renames it, so that a start that is killed half-way leaves nothing that looks like
 * data, and of two that start at once the second finds the first one's and drops its own.
 *
 * initdb flushes what it wrote (about 0.3 s of its 0.9): without that, a power cut after the rename could leave a data directory that
 * looks whole and is not. It is paid once, and flushing files one by one waits for ours only, where syncfs waits for everybody's.
 */
export async function createCluster({ home, account }: Place, binaries: Binaries, flush: boolean): Promise<void> {
  await removeUnfinished({ home, account });
  const unfinished = join(home, `${UNFINISHED}${systemIds().randomId()}`);
  const settings = Object.entries(SETTINGS).flatMap(([name, value]) => ['-c', `${name}=${value}`]);
  const outcome = await run(
    binaries.initdb,
    // The C locale sorts by code point, on every machine alike, whatever its locales are. No password: the socket's folder is the lock.
    [
      '-D',
      unfinished,
      '-U',
      SUPERUSER,
      '--auth-local=trust',
      '--auth-host=reject',
      '--encoding=UTF8',
      '--no-locale',
      ...settings,
    ].concat(flush ? [] : ['--no-sync']),
    { account },
  );
  if (!outcome.ok) {
    await run('rm', ['-rf', '--', unfinished], { account });
    throw new DatabaseOpenError(
      `The embedded PostgreSQL could not make its data directory in ${home}: ${outcome.output} ` +
        `Check that ${home} has room and belongs to ${account?.name ?? 'the user that Yardmaster runs as'}. ${USE_ANOTHER}`,
    );
  }
  try {
    await rename(unfinished, join(home, 'cluster'));
    await flushDirectory(home);
  } catch (error) {
    await run('rm', ['-rf', '--', unfinished], { account });
    if (!['ENOTEMPTY', 'EEXIST'].includes(errorCode(error) ?? '')) throw error;
  }
}

/** What a killed start left. Judged by its age, because the process number of its maker may be somebody else's by now. */
async function removeUnfinished({ home, account }: Place): Promise<void> {
  const nowMs = systemClock().nowMs();
  for (const name of await readdir(home)) {
    if (!name.startsWith(UNFINISHED)) continue;
    const found = await stat(join(home, name)).catch(() => undefined);
    if (found && nowMs - found.mtimeMs > UNFINISHED_AGE_MS_MAX)
      await run('rm', ['-rf', '--', join(home, name)], { account });
  }
}

async function flushDirectory(directory: string): Promise<void> {
  const handle = await open(directory, 'r');
  await handle.sync().finally(() => handle.close());
}
