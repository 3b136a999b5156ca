import fc from 'fast-check';
import { expect, it } from 'vitest';
import { RecordTable } from '../../src/engine/record_table.ts';

interface Named {
  readonly name: string;
}

type Operation = readonly ['add' | 'delete' | 'get', number];

const operation: fc.Arbitrary<Operation> = fc.tuple(
  fc.constantFrom('add' as const, 'add' as const, 'delete' as const, 'get' as const),
  fc.integer({ min: 0, max: 40 }),
);

/** These names have the same hash up to eight bits, so that they stand in one part, behind one another. */
const CROWDED = crowdedNames(41);

function crowdedNames(count: number): string[] {
  const names: string[] = [];
  const table = new RecordTable<Named>(({ name }) => name);
  // What stands in one part comes out together: values() goes part by part.
  for (let index = 0; index < count * 400; index++) table.add({ name: `name ${index}` });
  for (const { name } of table.values()) if (names.push(name) === count) break;
  return names;
}

it('does what a Map does, also where many names stand in one place', () => {
  fc.assert(
    fc.property(fc.array(operation, { minLength: 1, maxLength: 400, size: 'max' }), (operations) => {
      const table = new RecordTable<Named>(({ name }) => name);
      const map = new Map<string, Named>();
      for (const [kind, number] of operations) {
        const name = CROWDED[number] as string;
        if (kind === 'add') {
          const record = { name };
          table.add(record);
          map.set(name, record);
        } else if (kind === 'delete') expect(table.delete(name)).toBe(map.delete(name));
        else expect(table.get(name)).toBe(map.get(name));
        expect(table.size).toBe(map.size);
      }
      for (const name of CROWDED) expect(table.get(name)).toBe(map.get(name));
      expect(new Set(table.values())).toEqual(new Set(map.values()));
    }),
  );
});

it('finds each of a hundred thousand, until it is gone', () => {
  const table = new RecordTable<Named>(({ name }) => name);
  const records = Array.from({ length: 100_000 }, (_, index) => ({ name: `run ${index}` }));
  for (const record of records) table.add(record);
  expect(records.every((record) => table.get(record.name) === record)).toBe(true);
  expect([table.size, table.get('run 100000')]).toEqual([100_000, undefined]);
  const [even, odd] = [records.filter((_, index) => index % 2 === 0), records.filter((_, index) => index % 2 === 1)];
  expect(even.every(({ name }) => table.delete(name))).toBe(true);
  expect(even.some(({ name }) => table.get(name) !== undefined || table.delete(name))).toBe(false);
  expect(odd.every((record) => table.get(record.name) === record)).toBe(true);
});
