/** Rows by COPY: their values, and that the connection goes on whatever their number, and whatever becomes of them. */
import type { Row, Sql } from 'postgres';
import { afterAll, beforeAll, expect, it } from 'vitest';
import { eachCopied } from '../../src/store/copied.ts';
import { openTestStore, type TestStore } from '../support/store.ts';

interface Numbered {
  readonly n: number;
  readonly text: string;
}

let store: TestStore;
let sql: Sql;
beforeAll(async () => {
  store = await openTestStore();
  sql = store.database.connect({ max: 1 });
});
afterAll(async () => {
  await sql.end({ timeout: 5 });
  await store.close();
});

/** So many rows of so many bytes. */
const numbered = (rows: number, bytes: number) => () =>
  sql.unsafe<Row[]>(`SELECT n, repeat('x', ${bytes}) AS text FROM generate_series(1, ${rows}) AS n`);

it('gives every type as a query does', async () => {
  const select = () => sql`
    SELECT * FROM (VALUES
      (1::int4, 1.5::float8, 'tab	"ä" \\n'::text, true, 7::int2, NULL::text),
      (-2, -1e300, '', false, -7, 'x'),
      (NULL, NULL, NULL, NULL, NULL, NULL),
      (3, NULL, '', false, -7, 'x')) AS v (whole, real, text, flag, small, last)`;
  const expected = [...(await select())];
  for (const ownColumns of [0, 1, 6]) {
    const rows: object[] = [];
    await eachCopied(sql, select, ownColumns, (row) => rows.push({ ...row }));
    expect(rows).toEqual(expected);
  }
});

it('refuses a type that it cannot read', async () => {
  await expect(
    eachCopied(
      sql,
      () => sql`SELECT now() AS moment`,
      1,
      () => {},
    ),
  ).rejects.toThrow('column moment');
});

// The client's stream is full at 16 or 64 KiB, and a socket gives 64 KiB at once: the end comes with, before and after either.
it.each([
  { rows: 0, bytes: 1 },
  { rows: 1, bytes: 1 },
  { rows: 1, bytes: 300_000 },
  ...Array.from({ length: 60 }, (_, index) => ({ rows: 20 + 7 * index, bytes: 640 })),
  { rows: 5_000, bytes: 640 },
])('leaves the connection as it was after $rows rows of $bytes bytes', async ({ rows, bytes }) => {
  const seen: number[] = [];
  await eachCopied<Numbered>(sql, numbered(rows, bytes), 1, ({ n, text }) => {
    if (text.length === bytes) seen.push(n);
  });
  expect(seen).toEqual(Array.from({ length: rows }, (_, index) => index + 1));
  expect(await sql`SELECT 1 AS one`).toEqual([{ one: 1 }]);
});

it('rejects with what the taker throws, and leaves the connection as it was', async () => {
  let taken = 0;
  const refusing = eachCopied<Numbered>(sql, numbered(5_000, 640), 1, () => {
    taken += 1;
    throw new Error('not this one');
  });
  await expect(refusing).rejects.toThrow('not this one');
  expect(taken).toBe(1);
  expect(await sql`SELECT 1 AS one`).toEqual([{ one: 1 }]);
});

it('rejects when a row cannot be made, and leaves the connection as it was', async () => {
  const select = () => sql`SELECT n, 1.0::float8 / (4000 - n) AS real FROM generate_series(1, 5000) AS n`;
  await expect(eachCopied(sql, select, 2, () => {})).rejects.toMatchObject({ code: '22012' });
  expect(await sql`SELECT 1 AS one`).toEqual([{ one: 1 }]);
});

it('rejects when the connection is lost half-way', async () => {
  const lost = store.database.connect({ max: 1 });
  const [backend] = await lost`SELECT pg_backend_pid() AS pid`;
  const select = () =>
    lost.unsafe<Row[]>(`SELECT n, CASE WHEN n = 3000 THEN pg_terminate_backend(${backend?.pid})::text END AS ended
      FROM generate_series(1, 100000) AS n`);
  await expect(eachCopied(lost, select, 2, () => {})).rejects.toMatchObject({ code: expect.any(String) });
  await lost.end({ timeout: 0 });
});
