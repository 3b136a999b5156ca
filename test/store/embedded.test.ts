/** The embedded server with real processes: every start here is one of PostgreSQL's own. */
import { type ChildProcess, execFile, spawn } from 'node:child_process';
import { once } from 'node:events';
import {
  chmod,
  chown,
  cp,
  lstat,
  mkdir,
  readdir,
  readFile,
  readlink,
  realpath,
  rm,
  stat,
  utimes,
  writeFile,
} from 'node:fs/promises';
import { dirname, join, resolve } from 'node:path';
import { pathToFileURL } from 'node:url';
import { promisify } from 'node:util';
import postgres from 'postgres';
import { beforeEach, expect, onTestFinished, test, vi } from 'vitest';
import { openDatabase } from '../../src/store/database.ts';
import { installedPackage } from '../../src/store/embedded/binaries.ts';
import { type Embedded, type EmbeddedOptions, openEmbedded } from '../../src/store/embedded.ts';
import { temporaryDirectory } from '../support/postgres.ts';

vi.setConfig({ testTimeout: 60_000, hookTimeout: 60_000 });

const asRoot = process.getuid?.() === 0;
const ADOPTED = 'adopted the embedded PostgreSQL that was running';
const STARTED = 'started the embedded PostgreSQL';
const embeddedUrl = pathToFileURL(resolve('src/store/embedded.ts')).href;

let directory: string;
let said: string[];
const log = { info: (_details: object, message: string) => said.push(message), warn: () => {} };

beforeEach(async () => {
  said = [];
  directory = await temporaryDirectory();
  onTestFinished(() => rm(directory, { recursive: true, force: true }));
});

/** Without waiting for the disk, which is a third of a first start, unless the settings say otherwise. */
async function opened(dataDirectory: string, more: Partial<EmbeddedOptions> = {}): Promise<Embedded> {
  const embedded = await openEmbedded({ dataDirectory, log, settings: { fsync: 'off' }, ...more });
  onTestFinished(() => embedded.stop());
  return embedded;
}

async function ask<Row extends object>({ clientOptions }: Embedded, query: string): Promise<Row[]> {
  const sql = postgres({ ...clientOptions, max: 1, onnotice: () => {} });
  try {
    return [...(await sql.unsafe<Row[]>(query))];
  } finally {
    await sql.end({ timeout: 1 });
  }
}

async function until<Value>(look: () => Promise<Value | undefined>): Promise<Value> {
  return vi.waitUntil(async () => (await look()) ?? false, { timeout: 30_000, interval: 5 }) as Promise<Value>;
}

const postmasterOf = async (data: string) =>
  Number((await readFile(join(data, 'cluster/postmaster.pid'), 'utf8')).split('\n')[0]);

/** A process of its own, leading its own process group, that runs these lines and then waits to be killed. */
function startProcess(lines: string): ChildProcess {
  const code = `import { openEmbedded } from ${JSON.stringify(embeddedUrl)};
    const log = { info() {}, warn() {} };
    ${lines}
    setInterval(() => {}, 1000);`;
  const child = spawn(process.execPath, ['--import', 'tsx', '--input-type=module', '-e', code], {
    detached: true,
    stdio: ['ignore', 'pipe', 'inherit'],
  });
  onTestFinished(() => void child.kill('SIGKILL'));
  return child;
}

async function killGroup(child: ChildProcess, signal: NodeJS.Signals): Promise<void> {
  const gone = once(child, 'exit');
  process.kill(-Number(child.pid), signal);
  await gone;
}

test('the first start makes the data, the second finds it', async () => {
  const data = join(directory, '.yardmaster', 'data');
  const first = await opened(data, { settings: {} });
  await ask(first, "CREATE TABLE kept AS SELECT 'still here' AS text");
  const settings = await ask(
    first,
    "SELECT name, setting FROM pg_settings WHERE name IN ('fsync', 'jit', 'listen_addresses', 'server_encoding') ORDER BY name",
  );
  expect(settings.map(({ setting }: { setting?: string }) => setting)).toEqual(['on', 'off', '', 'UTF8']);
  expect(first.describe()).toMatch(/^embedded PostgreSQL 18\.\d+ in \/.*\(psql -h \/\S+ -U yardmaster yardmaster\)$/);
  await first.stop();
  await first.stop();
  expect(await readdir(join(data, 'cluster'))).not.toContain('postmaster.pid');

  const second = await opened(data);
  expect(await ask(second, 'SELECT text FROM kept')).toEqual([{ text: 'still here' }]);
  expect(said.filter((message) => message === STARTED)).toHaveLength(2);
  // Only the owner (and root) gets to the socket: that is all that guards a server without passwords.
  expect((await stat(join(data, 'socket'))).mode & 0o777).toBe(0o700);
});

test('openDatabase without an address uses it', async () => {
  const database = await openDatabase({ databaseUrl: '', dataDirectory: join(directory, 'data'), log });
  onTestFinished(() => database.stop());
  const sql = database.connect({ max: 1, connection: { application_name: 'a test' } });
  const rows = await sql`SELECT current_database() AS name, current_setting('application_name') AS application`;
  await sql.end();
  expect([...rows]).toEqual([{ name: 'yardmaster', application: 'a test' }]);
});

test.each(['SIGKILL', 'SIGINT'] as const)('a server left by a process that %s ended is adopted', async (signal) => {
  const data = join(directory, 'data');
  const child = startProcess(
    `await openEmbedded({ dataDirectory: ${JSON.stringify(data)}, log }); console.log('open');`,
  );
  await once(child.stdout as NonNullable<typeof child.stdout>, 'data');
  const postmaster = await postmasterOf(data);
  // To the whole group, as a terminal does with Ctrl-C.
  await killGroup(child, signal);

  const embedded = await opened(data);
  expect(said).toContain(ADOPTED);
  expect(await postmasterOf(data)).toBe(postmaster);
  expect(await ask(embedded, 'SELECT 1 AS one')).toEqual([{ one: 1 }]);
  await embedded.stop();
  // Not its process number: a dead process keeps it until its parent has collected it.
  await expect(stat(join(data, 'cluster/postmaster.pid'))).rejects.toThrow('ENOENT');
});

test('what a killed server had committed is there at the next start', async () => {
  const data = join(directory, 'data');
  const embedded = await opened(data);
  await ask(embedded, 'CREATE TABLE kept AS SELECT 7 AS number');
  const postmaster = await postmasterOf(data);
  process.kill(postmaster, 'SIGKILL');

  const again = await opened(data);
  expect(said.at(-1)).toBe(STARTED);
  expect(await ask(again, 'SELECT number FROM kept')).toEqual([{ number: 7 }]);
});

test('a postmaster.pid whose number another program has by now does not stop the start', async () => {
  const data = join(directory, 'data');
  const embedded = await opened(data);
  await embedded.stop();
  // PostgreSQL believes the file when the process has the user that it runs as.
  const { uid, gid } = await stat(join(data, 'cluster'));
  const stranger = spawn('sleep', ['600'], { stdio: 'ignore', uid, gid });
  onTestFinished(() => void stranger.kill());
  const lock = `${stranger.pid}\n${join(data, 'cluster')}\n1700000000\n5432\n${join(data, 'socket')}\n`;
  for (const path of ['cluster/postmaster.pid', 'socket/.s.PGSQL.5432.lock']) {
    await writeFile(join(data, path), lock, { mode: 0o600 });
    await chown(join(data, path), uid, gid);
  }

  const again = await opened(data);
  expect(said.at(-1)).toBe(STARTED);
  expect(await postmasterOf(data)).not.toBe(stranger.pid);
  expect(await ask(again, 'SELECT 1 AS one')).toEqual([{ one: 1 }]);
  expect(stranger.exitCode).toBeNull();
});

test('an empty postmaster.pid, which a full disk leaves, does not stop the start', async () => {
  const data = join(directory, 'data');
  const embedded = await opened(data);
  await embedded.stop();
  const { uid, gid } = await stat(join(data, 'cluster'));
  const path = join(data, 'cluster/postmaster.pid');
  await writeFile(path, '', { mode: 0o600 });
  await chown(path, uid, gid);
  expect(await ask(await opened(data), 'SELECT 1 AS one')).toEqual([{ one: 1 }]);
});

test('a copy of the data made while its server ran gets a server of its own', async () => {
  const embedded = await opened(join(directory, 'data'));
  await ask(embedded, 'CREATE TABLE original AS SELECT 1 AS one');
  await promisify(execFile)('cp', ['-a', join(directory, 'data'), join(directory, 'copy')]);
  const copy = await opened(join(directory, 'copy'));
  expect(said.at(-1)).toBe(STARTED);
  await ask(copy, 'DROP TABLE original');
  expect(await ask(embedded, 'SELECT one FROM original')).toEqual([{ one: 1 }]);
});

test('an initdb that was killed half-way is done again', async () => {
  const data = join(directory, 'data');
  const child = startProcess(`await openEmbedded({ dataDirectory: ${JSON.stringify(data)}, log });`);
  const unfinished = () =>
    readdir(data)
      .then((names) => names.find((name) => name.startsWith('cluster.new-')))
      .catch(() => undefined);
  const path = join(data, await until(unfinished));
  await until(() => stat(join(path, 'PG_VERSION')).catch(() => undefined));
  await killGroup(child, 'SIGKILL');
  expect(await readdir(data)).not.toContain('cluster');
  await utimes(path, new Date(0), new Date(0)); // what is left is thrown away when it is old

  const embedded = await opened(data);
  expect(await ask(embedded, 'SELECT 1 AS one')).toEqual([{ one: 1 }]);
  expect(await unfinished()).toBeUndefined();
});

test('files that are no data directory are never written over', async () => {
  const data = join(directory, 'data');
  await mkdir(join(data, 'cluster/base'), { recursive: true });
  if (asRoot) await chown(join(data, 'cluster'), 65534, 65534);
  await expect(opened(data)).rejects.toThrow(
    /cluster is not a PostgreSQL data directory: it holds files, but no PG_VERSION/,
  );
});

test('data of another major version is refused, naming both', async () => {
  const data = join(directory, 'data');
  await (await opened(data)).stop();
  await writeFile(join(data, 'cluster/PG_VERSION'), '17\n');
  await expect(opened(data)).rejects.toThrow(/made by PostgreSQL 17, .* brings PostgreSQL 18\.\d+/);
});

test('a start that fails says why, with the end of the server log', async () => {
  const data = join(directory, 'data');
  await expect(opened(data, { settings: { fsync: 'off', shared_buffers: 'plenty' } })).rejects.toThrow(
    /could not be started\. [\s\S]*The last lines of .*postgres\.log:[\s\S]*invalid value for parameter "shared_buffers": "plenty"/,
  );
});

test.each(['new', 'stopped'])(
  'of several that open %s data at once, one starts it and the others adopt',
  async (state) => {
    const data = join(directory, 'data');
    if (state === 'stopped') await (await opened(data)).stop();
    said = [];
    const all = await Promise.all(Array.from({ length: 4 }, () => opened(data)));
    expect(said.filter((message) => message === STARTED)).toHaveLength(1);
    expect(said.filter((message) => message === ADOPTED)).toHaveLength(3);
    const [first, ...others] = all as [Embedded, ...Embedded[]];
    await ask(first, 'CREATE TABLE shared AS SELECT 1 AS one');
    for (const other of others) expect(await ask(other, 'SELECT one FROM shared')).toEqual([{ one: 1 }]);
    expect((await readdir(data)).filter((name) => name.startsWith('cluster'))).toEqual(['cluster']);
  },
);

test('a path too long for a socket has its socket in a short private folder', async () => {
  const data = join(directory, 'deep'.repeat(20), 'deeper'.repeat(20), 'data');
  const embedded = await opened(data);
  const socket = dirname(embedded.clientOptions.path);
  expect(Buffer.byteLength(embedded.clientOptions.path)).toBeLessThanOrEqual(103);
  expect((await stat(socket)).mode & 0o777).toBe(0o700);
  expect(await ask(embedded, 'SELECT 1 AS one')).toEqual([{ one: 1 }]);
  await opened(data);
  expect(said.at(-1)).toBe(ADOPTED);
  await embedded.stop();
  await expect(stat(socket)).rejects.toThrow('ENOENT');
});

test('a path with characters that shells and settings read their own way', async () => {
  const data = join(directory, `it's "a", $HOME \`b\``);
  const embedded = await opened(data);
  expect(await ask(embedded, 'SELECT 1 AS one')).toEqual([{ one: 1 }]);
  await embedded.stop();
  expect(await readdir(data)).toContain('postgres.log');
});

/** The package as npm leaves it without its install script: no symbolic links. Marked, so that a copy of it is told from real ones. */
async function packageWithoutLinks(target: string): Promise<string> {
  const source = installedPackage();
  await cp(source, target, {
    recursive: true,
    filter: async (path) => !(await lstat(path)).isSymbolicLink() && !path.endsWith('.a'),
  });
  const description = JSON.parse(await readFile(join(source, 'package.json'), 'utf8'));
  await writeFile(
    join(target, 'package.json'),
    JSON.stringify({ ...description, version: `0.0.0-test-${process.pid}` }),
  );
  return target;
}

async function removeCopies(): Promise<void> {
  const cache = '/var/cache/yardmaster';
  for (const name of await readdir(cache).catch(() => [])) {
    if (name.startsWith(`postgres-0.0.0-test-${process.pid}-`)) await rm(join(cache, name), { recursive: true });
  }
}

test('programs and data below a folder that only its owner may enter', async () => {
  const closed = join(directory, 'closed');
  await mkdir(closed, { mode: 0o700 });
  const packageDirectory = await packageWithoutLinks(join(closed, 'package'));
  onTestFinished(removeCopies);
  const data = join(closed, 'project/.yardmaster/data');
  const embedded = await opened(data, { packageDirectory });
  const home = await realpath(data);
  onTestFinished(() => rm(home, { recursive: true, force: true }));
  await ask(embedded, 'CREATE TABLE kept AS SELECT 1 AS one');
  await embedded.stop();

  // As root PostgreSQL's user cannot get there, so the data is elsewhere and a link shows where; as its owner it stays.
  expect((await lstat(data)).isSymbolicLink()).toBe(asRoot);
  if (asRoot) expect(await readlink(data)).toMatch(/^\/var\/lib\/yardmaster\/data-[0-9a-f]{12}$/);
  expect(await readdir(home)).toContain('cluster');

  const again = await opened(data, { packageDirectory });
  expect(await ask(again, 'SELECT one FROM kept')).toEqual([{ one: 1 }]);
  await again.stop();
  // Found again also without the link.
  if (asRoot) await rm(data);
  expect(await ask(await opened(data, { packageDirectory }), 'SELECT one FROM kept')).toEqual([{ one: 1 }]);
});

test('data whose folder was closed later is not mistaken for none', async () => {
  const project = join(directory, 'project');
  const data = join(project, 'data');
  await (await opened(data)).stop();
  await chmod(project, 0o700);
  // The owner may enter; root's PostgreSQL may not, and empty data elsewhere would look like a loss.
  if (asRoot) await expect(opened(data)).rejects.toThrow(/belongs to the user \w+, who may not enter/);
  else expect(await ask(await opened(data), 'SELECT 1 AS one')).toEqual([{ one: 1 }]);
});

test('a folder that holds other things is not given away', async () => {
  const data = join(directory, 'home');
  await mkdir(data);
  await writeFile(join(data, 'letter'), 'dear');
  // Only root gives folders away; everybody else may use his own as he likes.
  if (asRoot) await expect(opened(data)).rejects.toThrow(/holds other things already \(letter\)/);
  else expect(await ask(await opened(data), 'SELECT 1 AS one')).toEqual([{ one: 1 }]);
  expect((await stat(data)).uid).toBe(process.getuid?.());
});

test('as a user who is not root, with programs that npm left without links and that it cannot write', async () => {
  const packageDirectory = await packageWithoutLinks(join(directory, 'package'));
  const project = join(directory, 'project');
  await mkdir(project);
  const user = asRoot
    ? { uid: 65534, gid: 65534 }
    : { uid: Number(process.getuid?.()), gid: Number(process.getgid?.()) };
  await chown(project, user.uid, user.gid);
  if (!asRoot) await chmod(join(packageDirectory, 'native/lib'), 0o555);
  const data = join(project, 'data');
  // The modules are loaded before root's rights are dropped, wherever they lie.
  const child = startProcess(`
    if (${asRoot}) { process.setgroups([]); process.setgid(${user.gid}); process.setuid(${user.uid}); }
    await openEmbedded(${JSON.stringify({ dataDirectory: data, packageDirectory }).slice(0, -1)}, log });
    console.log('open');`);
  await once(child.stdout as NonNullable<typeof child.stdout>, 'data');
  expect((await stat(join(data, 'cluster'))).uid).toBe(user.uid);
  expect((await readdir(data)).some((name) => name.startsWith('postgres-0.0.0-test-'))).toBe(true);
  await killGroup(child, 'SIGKILL');

  // Root, too, runs it as the user whose data it is.
  const embedded = await opened(data);
  expect(said).toContain(ADOPTED);
  expect(await ask(embedded, 'SELECT 1 AS one')).toEqual([{ one: 1 }]);
  await embedded.stop();
  await opened(data);
  expect((await stat(join(data, 'cluster/postmaster.pid'))).uid).toBe(user.uid);
  await chmod(join(packageDirectory, 'native/lib'), 0o755);
});
