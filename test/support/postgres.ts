/**
 * PostgreSQL for the tests. As vitest's globalSetup this file starts one server for the whole run; in test files, createTestDatabase()
 * makes a database of its own on it. YARDMASTER_TEST_DATABASE_URL or DATABASE_URL names another server to use instead; its user must be
 * allowed to create databases.
 */
import { randomUUID } from 'node:crypto';
import { chmod, mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import postgres from 'postgres';
import type { TestProject } from 'vitest/node';
import { type ConnectOptions, connectionOptions } from '../../src/store/database.ts';
import { openEmbedded } from '../../src/store/embedded.ts';

declare module 'vitest' {
  export interface ProvidedContext {
    postgresUrl: string;
  }
}

/** Of this server only: nothing in it has to survive the run, so it never waits for the disk. The product keeps all three on. */
const SETTINGS = {
  fsync: 'off',
  full_page_writes: 'off',
  synchronous_commit: 'off',
  // Test files run side by side, each with clients of its own.
  max_connections: '200',
};

export default async function setup(project: Pick<TestProject, 'provide'>): Promise<() => Promise<void>> {
  const given = process.env.YARDMASTER_TEST_DATABASE_URL || process.env.DATABASE_URL;
  if (given) {
    project.provide('postgresUrl', given);
    return async () => {};
  }
  const directory = await temporaryDirectory();
  const embedded = await openEmbedded({
    dataDirectory: join(directory, 'data'),
    log: { info() {}, warn() {} },
    settings: SETTINGS,
  });
  project.provide('postgresUrl', embedded.url);
  return async () => {
    await embedded.stop();
    await rm(directory, { recursive: true, force: true });
  };
}

/** An empty folder with a short path that PostgreSQL's user can enter, also when we are root. */
export async function temporaryDirectory(): Promise<string> {
  const directory = await mkdtemp(join(tmpdir(), 'ym-'));
  await chmod(directory, 0o711);
  return directory;
}

export interface TestDatabase {
  name: string;
  /** For the code under test, as its databaseUrl. */
  url: string;
  connect(options?: ConnectOptions): postgres.Sql;
  /** Ends whatever is connected to it. */
  drop(): Promise<void>;
}

export interface TestDatabaseOptions {
  /** Name of a database to copy, with nobody connected to it. */
  template?: string;
  /** The server, when it is not the run's own. */
  serverUrl?: string;
}

export async function createTestDatabase({
  template = 'template1',
  serverUrl,
}: TestDatabaseOptions = {}): Promise<TestDatabase> {
  const server = serverUrl ?? (await providedUrl());
  const name = `test_${randomUUID().replaceAll('-', '')}`;
  // Copying files costs 40 to 70 ms where nothing waits for the disk; the default, by the write-ahead log, 30 to 250 ms, as busy as it is.
  await once(server, (sql) => sql`CREATE DATABASE ${sql(name)} TEMPLATE ${sql(template)} STRATEGY FILE_COPY`);

  const address = new URL(server);
  address.pathname = `/${name}`;
  const url = address.href;
  return {
    name,
    url,
    connect: (options) => connectTo(url, options),
    drop: async () => {
      await once(server, (sql) => sql`DROP DATABASE IF EXISTS ${sql(name)} WITH (FORCE)`);
    },
  };
}

// Imported here and not above: vitest's globalSetup reads this file too, outside of any test.
async function providedUrl(): Promise<string> {
  const { inject } = await import('vitest');
  const url = inject('postgresUrl');
  if (url) return url;
  throw new Error(
    "No PostgreSQL for the tests: add './test/support/postgres.ts' to globalSetup in vitest's configuration.",
  );
}

function connectTo(address: string, options?: ConnectOptions): postgres.Sql {
  const { url, options: fromUrl } = connectionOptions(address);
  return postgres(url, { onnotice: () => {}, ...options, ...fromUrl });
}

async function once(url: string, query: (sql: postgres.Sql) => Promise<unknown>): Promise<void> {
  const sql = connectTo(url, { max: 1, fetch_types: false });
  try {
    await query(sql);
  } finally {
    await sql.end({ timeout: 1 });
  }
}
