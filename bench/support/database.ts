/** One PostgreSQL for ours and the peers: DATABASE_URL, or an embedded one with its default settings (fsync on). */
import { chmodSync, mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import postgres from 'postgres';
import { SILENT_LOG } from '../../src/lib/log.ts';
import { connectionOptions } from '../../src/store/database.ts';
import { openEmbedded } from '../../src/store/embedded.ts';

export interface Cluster {
  /** An empty database; gone with `drop`. */
  create(): Promise<string>;
  /** Ends whoever is still connected to it. */
  drop(url: string): Promise<void>;
  stop(): Promise<void>;
}

export async function openCluster(): Promise<Cluster> {
  const server = await openServer();
  let last = 0;
  const admin = connectTo(server.url);
  return {
    async create() {
      const name = `yardmaster_bench_${process.pid}_${++last}`;
      await admin.unsafe(`CREATE DATABASE ${name}`);
      const url = new URL(server.url);
      url.pathname = `/${name}`;
      return url.href;
    },
    async drop(url) {
      await admin.unsafe(`DROP DATABASE IF EXISTS ${new URL(url).pathname.slice(1)} WITH (FORCE)`);
    },
    async stop() {
      await admin.end({ timeout: 5 });
      await server.stop();
    },
  };
}

/** A client with one connection. Whoever asked for it ends it. */
export function connectTo(databaseUrl: string): postgres.Sql {
  const { url, options } = connectionOptions(databaseUrl);
  return postgres(url, { max: 1, fetch_types: false, onnotice: () => {}, ...options });
}

async function openServer(): Promise<{ readonly url: string; stop(): Promise<void> }> {
  if (process.env.DATABASE_URL) return { url: process.env.DATABASE_URL, stop: async () => {} };
  const folder = mkdtempSync(join(tmpdir(), 'yardmaster-bench-'));
  // Below a folder that only root may enter, the data of a server started by root would be kept elsewhere, for good.
  chmodSync(folder, 0o755);
  const embedded = await openEmbedded({ dataDirectory: join(folder, 'data'), log: SILENT_LOG });
  return {
    url: embedded.url,
    async stop() {
      await embedded.stop();
      rmSync(folder, { recursive: true, force: true });
    },
  };
}
