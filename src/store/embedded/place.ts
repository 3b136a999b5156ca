/** Where the data lies, and where its socket. */
import {
  access,
  chmod,
  chown,
  constants,
  lstat,
  mkdir,
  readdir,
  readlink,
  realpath,
  rmdir,
  stat,
  symlink,
} from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { basename, dirname, join, resolve } from 'node:path';
import { digest } from '../../lib/random.ts';
import { accountFor } from './account.ts';
import { DatabaseOpenError, errorCode, USE_ANOTHER } from './failure.ts';
import { type Account, canEnter, run } from './run.ts';

export interface Place {
  /** Holds `cluster` (PostgreSQL's data directory), `postgres.log` and, when its path is short enough, `socket`. Absolute, no links. */
  home: string;
  /** Whom PostgreSQL runs as; undefined: as ourselves. */
  account: Account | undefined;
}

const ELSEWHERE = '/var/lib/yardmaster';
// What a home may hold already when we take it over. `lost+found` is in every freshly made file system.
const KNOWN_ENTRIES = new Set(['cluster', 'postgres.log', 'postgres.log.1', 'socket', 'lost+found']);
const HOME_MODE = 0o700;
const FOLDER_MODE = 0o755;
const TEMPORARY_SOCKET = 'yardmaster-';
const SOCKET_PATH_BYTES_MAX = 103;

/**
 * The asked folder, unless we are root and PostgreSQL's user cannot get there (below /root, say): then a folder below
 * /var/lib/yardmaster, the same at every start, and a symbolic link to it at the asked path, for people.
 */
export async function placeData(dataDirectory: string): Promise<Place> {
  const asked = await followLinks(resolve(dataDirectory));
  try {
    await mkdir(dirname(asked), { recursive: true });
    const account = accountFor(join(asked, 'cluster'));
    if (account === undefined || (await canEnter(dirname(asked), account))) return await prepareHome(asked, account);
    return await placeElsewhere(asked, account);
  } catch (error) {
    if (error instanceof DatabaseOpenError) throw error;
    throw new DatabaseOpenError(
      `The data directory ${asked} cannot be made or entered (${String(error)}). ` +
        `Give Yardmaster a data directory that belongs to the user it runs as. ${USE_ANOTHER}`,
    );
  }
}

async function placeElsewhere(asked: string, account: Account): Promise<Place> {
  // Made here while the way was open: starting elsewhere with empty data would look like all of it was lost.
  if ((await entries(asked)).includes('cluster')) {
    throw new DatabaseOpenError(
      `The data in ${asked} belongs to the user ${account.name}, who may not enter ${dirname(asked)}. ` +
        'Let that user through (chmod o+x on the folders above), or move the data to a place it can reach.',
    );
  }
  const home = join(ELSEWHERE, `${basename(asked)}-${digest(asked).slice(0, 12)}`);
  await mkdir(ELSEWHERE, { recursive: true });
  await chmod(ELSEWHERE, FOLDER_MODE); // whatever our umask is
  const place = await prepareHome(home, accountFor(join(home, 'cluster')));
  await leaveLink(asked, home);
  return place;
}

async function leaveLink(asked: string, home: string): Promise<void> {
  try {
    await rmdir(asked).catch(ignore('ENOENT'));
    await symlink(home, asked).catch(ignore('EEXIST'));
  } catch (error) {
    throw new DatabaseOpenError(
      `The data directory ${asked} is below a folder that PostgreSQL's user may not enter, so the data is in ${home}; ` +
        `a link to it could not be left at the asked path (${String(error)}). Empty or remove ${asked}, or use ${home} as the data directory.`,
    );
  }
}

async function prepareHome(home: string, account: Account | undefined): Promise<Place> {
  await mkdir(home, { mode: HOME_MODE }).catch(ignore('EEXIST'));
  if (account === undefined) {
    await access(home, constants.W_OK | constants.X_OK);
    await refuseAnothersCluster(home);
  } else if ((await stat(home)).uid !== account.uid) {
    // Ours to give away only when nothing of somebody else is in it.
    const strange = (await entries(home)).filter((name) => !KNOWN_ENTRIES.has(name));
    if (strange.length > 0) {
      throw new DatabaseOpenError(
        `The data directory ${home} holds other things already (${strange.slice(0, 3).join(', ')}). Give Yardmaster a folder of its own.`,
      );
    }
    await chown(home, account.uid, account.gid);
  }
  return { home: await realpath(home), account };
}

async function refuseAnothersCluster(home: string): Promise<void> {
  const found = await stat(join(home, 'cluster')).catch(ignore('ENOENT'));
  if (found === undefined || found.uid === process.getuid?.()) return;
  throw new DatabaseOpenError(
    `The data in ${home} belongs to another user (uid ${found.uid}), and PostgreSQL takes only data of the user it runs as. ` +
      'Start Yardmaster as that user or as root, or with another data directory.',
  );
}

/**
 * A private folder for the socket. The kernel takes a socket's path up to 107 bytes (103 on macOS); where the data's path is longer, the
 * socket lies in the folder for temporary files, under a name made from the data's path, so that it is the same at the next start.
 */
export async function placeSocket({ home, account }: Place): Promise<string> {
  const name = `${TEMPORARY_SOCKET}${digest(home).slice(0, 16)}`;
  for (const directory of [join(home, 'socket'), join(tmpdir(), name), join('/tmp', name)]) {
    if (Buffer.byteLength(socketFile(directory)) > SOCKET_PATH_BYTES_MAX) continue;
    if (!(await canEnter(dirname(directory), account))) continue;
    const made = await run('mkdir', ['-p', '-m', '700', '--', directory], { account });
    const found = await lstat(directory).catch(() => undefined);
    const ownerUid = account?.uid ?? process.getuid?.();
    // Anybody may make files in /tmp: a folder that is not ours alone is not used.
    if (found?.isDirectory() && found.uid === ownerUid && (found.mode & 0o077) === 0) return directory;
    throw new DatabaseOpenError(
      `The folder for PostgreSQL's socket, ${directory}, cannot be used: it must be a folder that belongs to uid ${ownerUid} ` +
        `with mode 0700. ${made.output} Remove it and start again.`,
    );
  }
  throw new DatabaseOpenError(
    `The path ${home} is too long to hold a Unix socket (at most ${SOCKET_PATH_BYTES_MAX} bytes), and no temporary folder can be used ` +
      `instead. Give Yardmaster a data directory with a shorter path. ${USE_ANOTHER}`,
  );
}

/** Made by us for a socket only: not the data's own folder, nor one that a person chose. */
export function isTemporarySocket(directory: string): boolean {
  return basename(directory).startsWith(TEMPORARY_SOCKET);
}

/** The name that PostgreSQL gives a socket. The port is only a part of it: no TCP port is opened. */
export function socketFile(directory: string, port = 5432): string {
  return join(directory, `.s.PGSQL.${port}`);
}

/** The path with every symbolic link followed, also where the end does not exist yet. */
async function followLinks(path: string, depth = 0): Promise<string> {
  const real = await realpath(path).catch(ignore('ENOENT'));
  if (real !== undefined) return real;
  const target = await readlink(path).catch(() => undefined);
  if (target !== undefined && depth < 40) return followLinks(resolve(dirname(path), target), depth + 1);
  return path === dirname(path) ? path : join(await followLinks(dirname(path), depth), basename(path));
}

async function entries(directory: string): Promise<string[]> {
  return (await readdir(directory).catch(ignore('ENOENT'))) ?? [];
}

function ignore(code: string): (error: unknown) => undefined {
  return (error) => {
    if (errorCode(error) !== code) throw error;
    return undefined;
  };
}
