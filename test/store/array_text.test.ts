import fc from 'fast-check';
import { afterAll, beforeAll, expect, it } from 'vitest';
import { arrayText } from '../../src/store/array_text.ts';
import { openTestStore, type TestStore } from '../support/store.ts';

let store: TestStore;
beforeAll(async () => {
  store = await openTestStore();
});
afterAll(() => store.close());

/** As PostgreSQL reads it. */
async function readBack(text: string, type: string): Promise<unknown[]> {
  const [row] = await store.sql.unsafe(`SELECT to_json(${'$1'}::text::${type}[])::text AS read`, [text]);
  return JSON.parse(row?.read);
}

// What means something in an array, and then whatever else a text may hold (U+0000 is refused long before).
const texts = fc.oneof(
  fc.constantFrom('', 'NULL', 'null', '{}', '"', '\\', '\\"', ',', ' ', '\n', '{"a":"b\\\\c"}', '\u{1f600}'),
  fc.string({ unit: 'binary' }).filter((text) => !text.includes('\u0000')),
);

it('any texts, and nulls between them, arrive as they are', async () => {
  const values = fc
    .array(fc.option(texts), { minLength: 1, maxLength: 20 })
    .filter((all) => all.some((one) => one !== null));
  await fc.assert(
    fc.asyncProperty(values, async (all) => {
      const rows = all.map((value) => ({ value }));
      expect(await readBack(arrayText(rows, 'value', true), 'text')).toEqual(all);
    }),
    { numRuns: 200 },
  );
});

it('numbers, booleans and ids arrive as they are', async () => {
  const id = '018f3c2e-7a1b-7cde-8f01-23456789abcd';
  const rows = [{ n: 1_700_000_000_000.25, b: true, id }, { n: -3, b: null, id }, { b: false }];
  expect(await readBack(arrayText(rows, 'n', false), 'float8')).toEqual([1_700_000_000_000.25, -3, null]);
  expect(await readBack(arrayText(rows, 'b', false), 'boolean')).toEqual([true, null, false]);
  expect(await readBack(arrayText(rows, 'id', false), 'uuid')).toEqual([id, id, null]);
});

it('is empty when nothing is known: the shorter of several arrays is filled up with nulls', async () => {
  expect(arrayText([{ value: null }, {}], 'value', true)).toBe('{}');
  const rows = await store.sql`SELECT * FROM unnest('{1,2}'::int[], '{}'::text[]) AS r(a, b)`;
  expect([...rows]).toEqual([
    { a: 1, b: null },
    { a: 2, b: null },
  ]);
});
