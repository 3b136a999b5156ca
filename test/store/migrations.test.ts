/** The schema: brought up to date by whoever decides, never touched by a program that is too old, and as the code has it. */

import { execFile } from 'node:child_process';
import { cp, mkdir, mkdtemp, readdir, rm } from 'node:fs/promises';
import { join } from 'node:path';
import { promisify } from 'node:util';
import { getTableConfig, type PgTable } from 'drizzle-orm/pg-core';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { SILENT_LOG } from '../../src/lib/log.ts';
import { becomeHolder } from '../../src/store/holder.ts';
import * as schema from '../../src/store/schema.ts';
import { lockers, openTestStore, type TestStore, WAIT } from '../support/store.ts';

let store: TestStore;
beforeAll(async () => {
  store = await openTestStore();
});
afterAll(() => store.close());

async function start(): Promise<number> {
  const holder = await becomeHolder(store.database, 'test', SILENT_LOG);
  await holder.release();
  return holder.epoch;
}

describe('a start', () => {
  it('brings an empty database up to date, and the next one finds nothing to do', async () => {
    expect(await start()).toBe(1);
    const first = await store.sql`SELECT * FROM drizzle.__drizzle_migrations ORDER BY id`;
    expect(first.length).toBeGreaterThan(0);
    expect(await start()).toBe(2);
    expect(await store.sql`SELECT * FROM drizzle.__drizzle_migrations ORDER BY id`).toEqual(first);
  });

  it('of a program older than the schema is refused, naming both versions, and changes nothing', async () => {
    const epoch = await start();
    const [newest] = await store.sql<
      { known: string }[]
    >`SELECT max(created_at)::text AS known FROM drizzle.__drizzle_migrations`;
    const future = '4102444800000';
    await store.sql`INSERT INTO drizzle.__drizzle_migrations (hash, created_at) VALUES ('future', ${future})`;
    await expect(start()).rejects.toThrow(new RegExp(`${future}.*${newest?.known}`));
    expect(await store.sql`SELECT epoch::int FROM holder`).toEqual([{ epoch }]);
    await expect.poll(() => lockers(store, true), WAIT).toHaveLength(0);
    await store.sql`DELETE FROM drizzle.__drizzle_migrations WHERE hash = 'future'`;
    expect(await start()).toBe(epoch + 1);
  });
});

describe('the schema', () => {
  const tables = Object.values(schema).map((table) => getTableConfig(table as PgTable));

  it.each(tables.map((table) => [table.name, table] as const))(
    '%s is in the database as in the code',
    async (name, table) => {
      await start();
      const columns = await store.sql<{ name: string; type: string; required: boolean }[]>`
      SELECT attname AS name, format_type(atttypid, atttypmod) AS type, attnotnull AS required
      FROM pg_attribute WHERE attrelid = ${name}::regclass AND attnum > 0 AND NOT attisdropped ORDER BY attname`;
      const declared = table.columns.map((column) => ({
        name: column.name,
        type: column.getSQLType(),
        required: column.notNull,
      }));
      expect(columns.map((column) => ({ ...column, type: column.type.replaceAll(' ', '') }))).toEqual(
        declared
          .map((column) => ({ ...column, type: column.type.replaceAll(' ', '') }))
          .sort((a, b) => (a.name < b.name ? -1 : 1)),
      );
      const indexes = await store.sql<{ name: string }[]>`
      SELECT c.relname AS name FROM pg_index i JOIN pg_class c ON c.oid = i.indexrelid
      WHERE i.indrelid = ${name}::regclass AND NOT i.indisprimary ORDER BY c.relname`;
      expect(indexes.map((index) => index.name)).toEqual(table.indexes.map((index) => index.config.name ?? '').sort());
    },
  );

  it('needs no migration that is not there', async () => {
    const repository = process.cwd();
    await mkdir('node_modules/.cache', { recursive: true });
    // Inside the repository: the tool resolves what it imports from there.
    const out = await mkdtemp('node_modules/.cache/migrations-');
    try {
      await cp('src/store/migrations', out, { recursive: true });
      const tool = join(repository, 'node_modules/drizzle-kit/bin.cjs');
      const schemaFile = './src/store/schema.ts';
      await promisify(execFile)(process.execPath, [
        tool,
        'generate',
        '--dialect',
        'postgresql',
        '--schema',
        schemaFile,
        '--out',
        out,
      ]);
      expect((await readdir(out)).sort()).toEqual((await readdir('src/store/migrations')).sort());
    } finally {
      await rm(out, { recursive: true, force: true });
    }
  });
});
