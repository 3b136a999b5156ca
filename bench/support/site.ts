/**
 * Where a benchmark takes place: databases on one PostgreSQL, planes and workers in processes of their own. What it
 * started is gone when it ends, however it ends.
 */
import type { ChildProcess } from 'node:child_process';
import { type AdminClient, createAdminClient } from '../../src/client/index.ts';
import type { Cluster } from './database.ts';
import { forkScript, killProcess, nextMessage, type StartOptions, stopProcess } from './processes.ts';

export interface Yard {
  readonly databaseUrl: string;
  /** Of the gRPC listener. */
  readonly address: string;
  readonly plane: ChildProcess;
  readonly admin: AdminClient;
}

export interface Site {
  /** Says what it is at: progress for a person, and what was under way when it takes too long. */
  doing(what: string): void;
  readonly at: string;
  newDatabase(): Promise<string>;
  /** A plane on a database of its own, or on the given one. */
  openYard(databaseUrl?: string): Promise<Yard>;
  /** A process and its first message. */
  start<T>(script: URL, settings: object, options?: StartOptions): Promise<readonly [ChildProcess, T]>;
  stop(): Promise<void>;
}

export interface SiteOptions {
  /** Planes write their CPU profiles there; empty: they are not profiled. */
  readonly profileFolder: string;
}

/** As built, and without a loader: what a user runs. */
export const PLANE = new URL('./plane.process.mjs', import.meta.url);

export function createSite(cluster: Cluster, { profileFolder }: SiteOptions): Site {
  const children: ChildProcess[] = [];
  const databases: string[] = [];
  const clients: AdminClient[] = [];
  const planeFlags = profileFolder === '' ? [] : ['--cpu-prof', `--cpu-prof-dir=${profileFolder}`];
  let at = 'the start';

  const site: Site = {
    doing(what) {
      at = what;
      process.stderr.write(`    ${what}\n`);
    },
    get at() {
      return at;
    },
    async newDatabase() {
      const url = await cluster.create();
      databases.push(url);
      return url;
    },
    async openYard(given) {
      const databaseUrl = given ?? (await site.newDatabase());
      const [plane, { port }] = await site.start<{ port: number }>(PLANE, { databaseUrl }, { flags: planeFlags });
      const address = `127.0.0.1:${port}`;
      const admin = createAdminClient({ address, deadlineMs: 60_000 });
      clients.push(admin);
      return { databaseUrl, address, plane, admin };
    },
    async start<T>(script: URL, settings: object, options?: StartOptions) {
      const child = forkScript(script, settings, options);
      children.push(child);
      return [child, await nextMessage<T>(child)] as const;
    },
    async stop() {
      for (const client of clients) client.close();
      // Workers before their planes: the last started goes first.
      for (const child of children.reverse()) await stopProcess(child).catch(() => killProcess(child));
      for (const url of databases) await cluster.drop(url);
    },
  };
  return site;
}
