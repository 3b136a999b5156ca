/** A PostgreSQL of its own, with its data in a folder of its own, that can be killed whole or in part, and stand still. */
import { readdir, readFile } from 'node:fs/promises';
import { join } from 'node:path';
import postgres from 'postgres';
import { connectionOptions } from '../../src/store/database.ts';
import { openEmbedded } from '../../src/store/embedded.ts';

export interface Database {
  readonly url: string;
  /** A connection that comes back by itself. It never makes up its mind about what was under way. */
  readonly sql: postgres.Sql;
  /** The postmaster, by SIGKILL; its processes end themselves. Stays down until `start`. */
  kill(): Promise<void>;
  /** One process that serves a client, by SIGKILL; PostgreSQL ends the others itself and recovers. False: there was none. */
  killBackend(pick: (pids: readonly number[]) => number): Promise<boolean>;
  start(): Promise<void>;
  pause(): Promise<void>;
  wake(): Promise<void>;
  stop(): Promise<void>;
}

const ANSWER_S_MAX = 5;

export async function openChaosDatabase(folder: string): Promise<Database> {
  const dataDirectory = join(folder, 'data');
  const open = () => openEmbedded({ dataDirectory, log: { info() {}, warn() {} } });
  let embedded = await open();
  const { url, options } = connectionOptions(embedded.url);
  const sql = postgres(url, {
    max: 2,
    connect_timeout: ANSWER_S_MAX,
    fetch_types: false,
    connection: { application_name: 'chaos' },
    onnotice: () => {},
    ...options,
  });
  let paused: readonly number[] = [];

  const postmaster = async () => {
    const text = await readFile(join(dataDirectory, 'cluster', 'postmaster.pid'), 'utf8').catch(() => '');
    const pid = Number.parseInt(text, 10);
    return Number.isInteger(pid) && isPostgres(await statOf(pid)) ? pid : null;
  };

  async function pause(): Promise<void> {
    const pid = await postmaster();
    if (pid === null) return;
    // The one that makes new ones first, so that the list of the others stays true.
    signal(pid, 'SIGSTOP');
    const children = await childrenOf(pid);
    for (const child of children) signal(child, 'SIGSTOP');
    paused = [...children, pid];
  }

  async function wake(): Promise<void> {
    for (const pid of paused) signal(pid, 'SIGCONT');
    paused = [];
  }

  return {
    url: embedded.url,
    sql,
    pause,
    wake,
    async kill() {
      const pid = await postmaster();
      if (pid !== null) signal(pid, 'SIGKILL');
    },
    async killBackend(pick) {
      const rows = await sql<{ pid: number }[]>`
        SELECT pid FROM pg_stat_activity WHERE backend_type = 'client backend' AND application_name <> 'chaos'
        ORDER BY backend_start`;
      if (rows.length === 0) return false;
      signal(pick(rows.map(({ pid }) => pid)), 'SIGKILL');
      return true;
    },
    async start() {
      embedded = await open();
    },
    async stop() {
      await wake();
      await sql.end({ timeout: ANSWER_S_MAX }).catch(() => {});
      await embedded.stop();
    },
  };
}

/** It may be gone already; then there is nothing to be done to it. */
function signal(pid: number, name: NodeJS.Signals): void {
  try {
    process.kill(pid, name);
  } catch {}
}

/** "12 (name) S 1 …" of Linux's /proc; empty when there is no such process. */
function statOf(pid: number | string): Promise<string> {
  return readFile(`/proc/${pid}/stat`, 'utf8').catch(() => '');
}

function isPostgres(stat: string): boolean {
  return stat.includes('(postgres)');
}

async function childrenOf(parent: number): Promise<number[]> {
  const pids = (await readdir('/proc')).filter((name) => /^\d+$/.test(name));
  const found: number[] = [];
  for (const pid of pids) {
    const stat = await statOf(pid);
    const parentOf = stat.slice(stat.lastIndexOf(')') + 2).split(' ')[1];
    if (isPostgres(stat) && Number(parentOf) === parent) found.push(Number(pid));
  }
  return found;
}
