/** The schema: brought up to date by whoever decides, never touched by a program that is too old, and as the code has it. */

import { execFile } from 'node:child_process';
import { cp, mkdir, mkdtemp, readdir, readFile, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { promisify } from 'node:util';
import { getTableConfig, type PgTable } from 'drizzle-orm/pg-core';
import { drizzle } from 'drizzle-orm/postgres-js';
import { migrate } from 'drizzle-orm/postgres-js/migrator';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { SILENT_LOG } from '../../src/lib/log.ts';
import { becomeHolder } from '../../src/store/holder.ts';
import { listRuns } from '../../src/store/queries/list_runs.ts';
import { readRun } from '../../src/store/queries/read_run.ts';
import { readLiveRows } from '../../src/store/recovery.ts';
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

describe('rows of the version before workflows', () => {
  const RUNNING = '018f0000-0000-7000-8000-000000000001';
  const BACKING_OFF = '018f0000-0000-7000-8000-000000000002';
  const ASSIGNED = '018f0000-0000-7000-8000-000000000003';
  const ENDED = '018f0000-0000-7000-8000-000000000004';
  const WORKER = '018f0000-0000-7000-8000-00000000000a';
  let old: TestStore;

  /** Brings an empty database to the schema as it was up to `newest`. */
  async function migrateUpTo(newest: string): Promise<void> {
    const folder = await mkdtemp(join(tmpdir(), 'ym-migrations-'));
    try {
      await cp('src/store/migrations', folder, { recursive: true });
      const journalFile = join(folder, 'meta/_journal.json');
      const journal: { entries: { tag: string }[] } = JSON.parse(await readFile(journalFile, 'utf8'));
      const count = journal.entries.findIndex(({ tag }) => tag === newest) + 1;
      await writeFile(journalFile, JSON.stringify({ ...journal, entries: journal.entries.slice(0, count) }));
      const sql = old.test.connect({ max: 1, onnotice() {} });
      await migrate(drizzle(sql), { migrationsFolder: folder });
      await sql.end();
    } finally {
      await rm(folder, { recursive: true, force: true });
    }
  }

  async function insertRun(runId: string, columns: Record<string, unknown>): Promise<void> {
    const row = {
      run_id: runId,
      namespace: 'default',
      action: 'build',
      step_name: 'step',
      definition: '{"step":{"name":"step","action":"build"},"desired":[]}',
      runs_on: '["gpu"]',
      metadata: '{}',
      input: '{"n":1}',
      create_time: '2026-01-01T00:00:00Z',
      revision: 3,
      priority: 3,
      ready_sequence: 7,
      failures: 0,
      losses: 0,
      ...columns,
    };
    await old.sql`INSERT INTO runs ${old.sql(row)}`;
  }

  beforeAll(async () => {
    old = await openTestStore();
    await migrateUpTo('0001_tuning');
    const held = { assignment_id: WORKER, assignment_number: 2, worker_id: WORKER, worker_name: 'alpha' };
    await insertWorkers();
    await insertRun(RUNNING, { state: 'RUNNING', step_state: 'RUNNING', started: true, failures: 1, ...held });
    await insertRun(BACKING_OFF, { state: 'RUNNING', step_state: 'BLOCKED', started: true, ready_sequence: 8 });
    await insertRun(ASSIGNED, { state: 'PENDING', step_state: 'ASSIGNED', started: false, ready_sequence: 9, ...held });
    await insertRun(ENDED, {
      state: 'SUCCEEDED',
      step_state: 'SUCCEEDED',
      started: true,
      end_time: '2026-01-01T00:00:01Z',
      output: '"out"',
      ...held,
    });
    await old.sql`INSERT INTO attempts ${old.sql({
      assignment_id: BACKING_OFF,
      run_id: RUNNING,
      step_name: 'step',
      number: 1,
      worker_id: WORKER,
      worker_name: 'alpha',
      labels_revision: 1,
      assign_time: '2026-01-01T00:00:00Z',
      end_time: '2026-01-01T00:00:01Z',
      outcome: 'APPLICATION',
    })}`;
  });
  /** Two workers that share a nickname, and one that has done nothing. */
  async function insertWorkers(): Promise<void> {
    const workers = [
      { worker_id: WORKER, nickname: 'ada', completed_count: 3 },
      { worker_id: RUNNING, nickname: 'ada', completed_count: 4 },
      { worker_id: ENDED, nickname: 'bob', completed_count: 0 },
    ];
    for (const [index, worker] of workers.entries()) {
      const name = `worker ${index}`;
      const lists = { tags: '[]', labels: '[]', actions: '[]' };
      const counts = { worker_number: index, labels_revision: 0, slots: 1 };
      const flags = { default_worker: false, draining: false, crashed: false };
      const row = { ...worker, namespace: 'default', name, display_name: name, ...lists, ...counts, ...flags };
      await old.sql`INSERT INTO workers ${old.sql({ ...row, register_time: '2026-01-01T00:00:00Z' })}`;
    }
  }

  afterAll(() => old.close());

  it('are read as what they meant', async () => {
    const holder = await becomeHolder(old.database, 'test', SILENT_LOG);
    const { runs, steps, workflows, workflowNames, stepTotals, runTotals, leaderboard } = await readLiveRows(
      holder.sql,
    );
    await holder.release();
    expect({ steps, workflows, workflowNames }).toEqual({ steps: [], workflows: [], workflowNames: [] });
    // What had been done is counted.
    const of = { namespace: 'default', workflow: '' };
    expect(stepTotals).toEqual([{ ...of, action: 'build', succeeded: 1, failed: 0 }]);
    expect(runTotals).toEqual([{ ...of, ended: 1 }]);
    expect(leaderboard).toEqual([{ namespace: 'default', nickname: 'ada', completed_count: 7 }]);
    const since = {
      workflow: null,
      number: null,
      sticky: 'NONE',
      concurrency: null,
      depends_on: null,
      attempt_base: 0,
    };
    expect(runs).toMatchObject([
      { ...since, run_id: RUNNING, failures: 1, assigned_once: true, blocked_on: null },
      { ...since, run_id: BACKING_OFF, assigned_once: true, blocked_on: 'BACKING_OFF' },
      { ...since, run_id: ASSIGNED, assigned_once: true, blocked_on: null },
    ]);
  });

  it('are shown like others', async () => {
    expect(await readRun(old.sql, 'default', RUNNING)).toMatchObject({
      workflow: '',
      workflowVersion: 0,
      number: 0,
      sticky: 'NONE',
      pinnedWorkerId: '',
      dependsOn: [],
      steps: [
        {
          stepId: RUNNING,
          attempts: [
            { number: 1, outcome: 'APPLICATION', why: null },
            { number: 2, outcome: '', why: null },
          ],
        },
      ],
    });
    const listed = await listRuns(old.sql, {
      namespace: 'default',
      states: [],
      anyState: true,
      workflow: '',
      action: 'build',
      runsOn: ['gpu'],
      metadata: {},
      createMsFrom: null,
      createMsTo: null,
      oldestFirst: true,
      afterRunId: null,
      limit: 10,
    });
    expect(listed.map(({ runId, steps }) => [runId, steps[0]?.blockedReason])).toEqual([
      [RUNNING, ''],
      [BACKING_OFF, 'BACKING_OFF'],
      [ASSIGNED, ''],
      [ENDED, ''],
    ]);
    expect(await readRun(old.sql, 'default', ENDED)).toMatchObject({
      outputJson: '"out"',
      steps: [{ outputJson: '"out"' }],
    });
  });
});
