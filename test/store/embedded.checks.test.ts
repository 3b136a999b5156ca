/** What is refused of a server that somebody else runs, and how its address is read. One embedded server stands in for it. */
import type postgres from 'postgres';
import { afterAll, beforeAll, expect, onTestFinished, test } from 'vitest';
import { connectionOptions, openDatabase } from '../../src/store/database.ts';
import setup, { createTestDatabase, type TestDatabase } from '../support/postgres.ts';
import { startPooler } from './embedded.pooler.ts';

const log = { info: () => {}, warn: () => {} };
const dataDirectory = '/nonexistent/never/used';
let serverUrl: string;
let stopServer: () => Promise<void>;

beforeAll(async () => {
  stopServer = await setup({
    provide(_key, url) {
      serverUrl = url;
    },
  });
}, 60_000);
afterAll(() => stopServer());

async function database(template?: string): Promise<TestDatabase> {
  const made = await createTestDatabase({ serverUrl, ...(template && { template }) });
  onTestFinished(() => made.drop());
  return made;
}

async function query(sql: postgres.Sql, text: string): Promise<object[]> {
  try {
    return [...(await sql.unsafe(text))];
  } finally {
    await sql.end();
  }
}

test('a database at an address is used and never stopped', async () => {
  const { url, name } = await database();
  const opened = await openDatabase({ databaseUrl: url, dataDirectory, log });
  expect(opened.describe()).toMatch(new RegExp(`^PostgreSQL \\d+\\.\\d+ at .*/${name} as `));
  await opened.stop();
  expect(await query(opened.connect({ max: 1 }), 'SELECT current_database() AS name')).toEqual([{ name }]);
});

test('a test database is a copy of its template, and its own', async () => {
  const template = await database();
  await query(template.connect(), 'CREATE TABLE made AS SELECT 1 AS one');
  const [first, second] = [await database(template.name), await database(template.name)];
  await query(first.connect(), 'DROP TABLE made');
  expect(await query(second.connect(), 'SELECT one FROM made')).toEqual([{ one: 1 }]);
});

test('a server that is too old is refused, naming both versions', async () => {
  const { url, connect } = await database();
  // Stands before the built-in function in this database, and says what an old server would.
  await query(
    connect({ max: 1 }),
    `CREATE SCHEMA old;
     CREATE FUNCTION old.current_setting(name text) RETURNS text LANGUAGE sql
       AS $$ SELECT CASE name WHEN 'server_version_num' THEN '140012' ELSE '14.12' END $$;
     DO $$ BEGIN EXECUTE format('ALTER DATABASE %I SET search_path = old, pg_catalog', current_database()); END $$`,
  );
  await expect(openDatabase({ databaseUrl: url, dataDirectory, log })).rejects.toThrow(
    /is PostgreSQL 14\.12; Yardmaster needs PostgreSQL 15 or later/,
  );
});

test('a failure to connect names the address and the reason, not the password', async () => {
  const opening = openDatabase({ databaseUrl: 'postgres://me:hidden@127.0.0.1:1/work', dataDirectory, log });
  await expect(opening).rejects.toThrow(/database at 127\.0\.0\.1:1\/work as me cannot be used: .*ECONNREFUSED/);
  await expect(opening).rejects.not.toThrow(/hidden/);
});

test.each(['latest-first', 'oldest-first'] as const)('a pooler in transaction mode is refused (%s)', async (order) => {
  for (const sessions of [1, 2, 3]) {
    const pooler = await startPooler({ url: (await database()).url, mode: 'transaction', order, sessions });
    onTestFinished(() => pooler.close());
    await expect(openDatabase({ databaseUrl: pooler.url, dataDirectory, log })).rejects.toThrow(
      /behind a pooler in transaction mode/,
    );
  }
});

test('a pooler in session mode is not', async () => {
  const pooler = await startPooler({
    url: (await database()).url,
    mode: 'session',
    order: 'latest-first',
    sessions: 3,
  });
  onTestFinished(() => pooler.close());
  const opened = await openDatabase({ databaseUrl: pooler.url, dataDirectory, log });
  expect(await query(opened.connect({ max: 1, fetch_types: false }), 'SELECT 1 AS one')).toEqual([{ one: 1 }]);
});

test.each([
  [
    'postgres:///work?host=/run/pg&user=me',
    { path: '/run/pg/.s.PGSQL.5432', database: 'work', user: 'me' },
    '/run/pg/work as me',
  ],
  [
    'postgresql:///work?host=/run/pg&port=6000&dbname=other',
    { path: '/run/pg/.s.PGSQL.6000', database: 'other' },
    '/run/pg:6000/other',
  ],
  ['postgres://me:p%40@%2Frun%2Fpg/work', { path: '/run/pg/.s.PGSQL.5432', user: 'me' }, '/run/pg/work as me'],
  [
    'postgres://me:secret@db.example:5433/work?sslmode=require',
    { port: 5433, database: 'work' },
    'db.example:5433/work as me',
  ],
  ['postgres://[::1]:5433/work', { port: 5433 }, '[::1]:5433/work'],
  ['postgres:///work?host=db.example', { host: 'db.example' }, 'db.example/work'],
])('%s', (address, options, where) => {
  const read = connectionOptions(address);
  expect(read.options).toMatchObject(options);
  expect(read.where).toBe(where);
  expect(read.url).not.toMatch(/[?&](host|port|user|dbname)=/);
});

test('several hosts go to postgres.js as they are', () => {
  const address = 'postgres://me:secret@a:1,b:2/work?target_session_attrs=read-write';
  expect(connectionOptions(address)).toEqual({ url: address, options: {}, where: 'a:1,b:2/work as me' });
});

test.each(['mysql://db/work', 'db.example/work', 'postgres://me:a/b#c@db/work', 'postgres://me:%zz@db/work'])(
  '%s is refused',
  (address) => {
    expect(() => connectionOptions(address)).toThrow(/^DATABASE_URL is not an address of PostgreSQL/);
  },
);
