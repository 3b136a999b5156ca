/**
 * PostgreSQL's lock files, and who is behind them: postmaster.pid in the data directory, and one of the same form beside the socket.
 * PostgreSQL takes a file over when its process does not exist, but not when the number has a new owner.
 */
import { link, readFile, readlink, rename, unlink } from 'node:fs/promises';
import { basename, join } from 'node:path';
import { systemIds } from '../../lib/random.ts';
import { errorCode } from './failure.ts';
import { run } from './run.ts';

export interface LockFile {
  text: string;
  /** Undefined: the file is empty or not a lock file. */
  pid: number | undefined;
  dataDirectory: string | undefined;
  /** Undefined: the server has not come so far as to write it. */
  socketDirectory: string | undefined;
  port: number | undefined;
}

export function pidFileOf(cluster: string): string {
  return join(cluster, 'postmaster.pid');
}

/** Undefined when there is none. Lines: process, data directory, start time, port, socket directory, listen address, memory key, status. */
export async function readLock(path: string): Promise<LockFile | undefined> {
  try {
    const text = await readFile(path, 'utf8');
    const [pid, dataDirectory, , port, socketDirectory] = text.split('\n');
    return {
      text,
      pid: Number.parseInt(pid ?? '', 10) || undefined,
      dataDirectory,
      socketDirectory: socketDirectory || undefined,
      port: Number.parseInt(port ?? '', 10) || undefined,
    };
  } catch (error) {
    if (errorCode(error) === 'ENOENT') return undefined;
    throw error;
  }
}

/**
 * - nobody: no such process, or one of another user. PostgreSQL itself takes over such a file.
 * - postgres: a live server of this data directory, or one that cannot be told from it. Left alone.
 * - stranger: the number was given to another program since (the machine or the container was started again), or its process is dead and
 *   nobody has collected it (process 1 of a container that does not). PostgreSQL would refuse to start for ever.
 */
export type Holder = 'nobody' | 'postgres' | 'stranger';

export async function holderOf(file: LockFile | undefined, cluster: string): Promise<Holder> {
  if (file?.pid === undefined) return 'nobody';
  try {
    process.kill(file.pid, 0);
  } catch {
    return 'nobody';
  }
  const found = await processOf(file.pid);
  if (found === undefined) return 'nobody';
  if (found.dead || found.name !== 'postgres') return 'stranger';
  // A postmaster works in its data directory. Not readable for root in a container without CAP_SYS_PTRACE: then the name decides.
  const directory = await readlink(`/proc/${file.pid}/cwd`).catch(() => undefined);
  return directory === undefined || directory === cluster ? 'postgres' : 'stranger';
}

async function processOf(pid: number): Promise<{ name: string; dead: boolean } | undefined> {
  if (process.platform === 'linux') {
    // "12 (name) S …": the state follows the last parenthesis, because a name may hold some.
    const text = await readFile(`/proc/${pid}/stat`, 'utf8').catch(() => undefined);
    if (text === undefined) return undefined;
    const end = text.lastIndexOf(')');
    return { name: text.slice(text.indexOf('(') + 1, end), dead: 'ZX'.includes(text.charAt(end + 2)) };
  }
  const outcome = await run('ps', ['-p', String(pid), '-o', 'stat=,comm='], { account: undefined });
  const [state, ...command] = outcome.output.trim().split(/\s+/);
  return outcome.ok && state ? { name: basename(command.join(' ')), dead: state.startsWith('Z') } : undefined;
}

/** Takes the file away if nobody of ours can be behind it; says whether somebody is. */
export async function releaseStale(path: string, cluster: string, isEmptyStale: boolean): Promise<boolean> {
  const file = await readLock(path);
  const holder = await holderOf(file, cluster);
  if (file && (holder === 'stranger' || (file.pid === undefined && isEmptyStale))) await setAside(path, file.text);
  return holder === 'postgres';
}

/**
 * Another server may do the same at this moment and have started its own since we read: whoever renames gets exactly one file and looks
 * again at what it got. A live one is put back.
 *
 * Even if that failed, the data would be safe: PostgreSQL also refuses a data directory whose shared memory somebody uses.
 */
async function setAside(path: string, staleText: string): Promise<void> {
  const aside = `${path}.stale-${systemIds().randomId()}`;
  try {
    await rename(path, aside);
    if ((await readFile(aside, 'utf8')) !== staleText) await link(aside, path);
    await unlink(aside);
  } catch (error) {
    if (errorCode(error) !== 'ENOENT' && errorCode(error) !== 'EEXIST') throw error;
  }
}
