import fc from 'fast-check';
import { expect, it } from 'vitest';
import { type Demand, demandKey } from '../../src/domain/demand.ts';
import type { DesiredLabel } from '../../src/domain/labels.ts';

const label = fc.record({
  key: fc.constantFrom('a', 'b', 'a\nb', '"'),
  comparator: fc.constantFrom<DesiredLabel['comparator']>('EQUAL', 'NOT_EQUAL', 'IN'),
  value: fc.constantFrom<DesiredLabel['value']>(null, 1, '1', '', 0),
  values: fc.constantFrom<DesiredLabel['values']>([], [1], ['1']),
  required: fc.boolean(),
  weight: fc.constantFrom(100, 50, -50),
});

const demand: fc.Arbitrary<Demand> = fc.record({
  namespace: fc.constantFrom('default', 'other'),
  action: fc.constantFrom('build', 'train', '["x"]'),
  runsOn: fc.constantFrom([], ['gpu'], ['a100', 'gpu'], ['a100,gpu']),
  desired: fc.array(label, { maxLength: 3 }),
  device: fc.constantFrom(null, { kind: 'GPU' as const, fallback: true }, { kind: 'GPU' as const, fallback: false }),
  pin: fc.constantFrom(
    null,
    { workerId: 'w1', workerName: 'alpha', hard: true },
    { workerId: 'w1', workerName: 'alpha', hard: false },
    { workerId: 'w2', workerName: 'beta', hard: true },
  ),
});

/** The demand with its labels in an order of their own. */
function normal({ desired, ...rest }: Demand) {
  return { ...rest, desired: desired.map((one) => JSON.stringify(Object.entries(one))).sort() };
}

it('is equal exactly when nothing but the order of the labels differs', () => {
  fc.assert(
    fc.property(demand, demand, (a, b) => {
      const same = JSON.stringify(normal(a)) === JSON.stringify(normal(b));
      expect(demandKey(a) === demandKey(b)).toBe(same);
    }),
    { numRuns: 500 },
  );
});

it('is equal for any order of the labels', () => {
  fc.assert(
    fc.property(demand, fc.array(fc.nat(), { minLength: 3, maxLength: 3 }), (one, shuffle) => {
      const desired = one.desired.map((item, index) => ({ item, at: shuffle[index] ?? 0 })).sort((a, b) => a.at - b.at);
      expect(demandKey({ ...one, desired: desired.map(({ item }) => item) })).toBe(demandKey(one));
    }),
  );
});

it('tells a number from the string that looks like it', () => {
  const of = (value: DesiredLabel['value']): Demand => ({
    namespace: 'default',
    action: 'build',
    runsOn: [],
    desired: [{ key: 'a', comparator: 'EQUAL', value, values: [], required: true, weight: 100 }],
    pin: null,
    device: null,
  });
  expect(demandKey(of(1))).not.toBe(demandKey(of('1')));
});
