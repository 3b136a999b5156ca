import fc from 'fast-check';
import { describe, expect, it, test } from 'vitest';
import { checkWorkerName, displayName, workerStateOf } from '../../src/domain/worker.ts';

describe('names', () => {
  test.each(['abc', 'a b', 'A.1', 'gpu box-7_x', '0--', 'x'.repeat(128)])('takes %j', (name) => {
    expect(checkWorkerName('name', name)).toBeNull();
  });

  test.each(['', 'ab', 'x'.repeat(129), ' abc', '-abc', '.abc', '_abc', 'a/b/c', 'abc\n', 'añb', 'abc\u0000'])(
    'refuses %j',
    (name) => {
      const refused = checkWorkerName('hello.name', name);
      expect(refused).toMatchObject({ refused: 'INVALID_NAME', metadata: { field: 'hello.name' } });
      expect(refused?.message).toContain('3 to 128 characters');
      expect(refused?.message.length).toBeLessThan(200);
    },
  );
});

test.each([
  [true, 0, false, 'IDLE'],
  [true, 1, false, 'BUSY'],
  [false, 2, false, 'DISCONNECTED'],
  [false, 2, true, 'DISCONNECTED'],
  [false, 0, true, 'CRASHED'],
  [false, 0, false, 'OFFLINE'],
  [true, 0, true, 'IDLE'],
] as const)('connected %s, holding %i, crashed %s: %s', (connected, holds, crashed, state) => {
  expect(workerStateOf({ connected, holds, crashed })).toBe(state);
});

describe('display names', () => {
  it('are word-word-number for every fraction', () => {
    fc.assert(
      fc.property(fc.double({ min: 0, max: 1, maxExcluded: true, noNaN: true }), (fraction) => {
        expect(displayName(fraction)).toMatch(/^[a-z]+-[a-z]+-\d{1,3}$/);
      }),
    );
  });

  it('use all of the words, and the same fraction gives the same name', () => {
    const names = Array.from({ length: 5000 }, (_, index) => displayName(index / 5000));
    expect(new Set(names).size).toBe(5000);
    expect(
      names.map((name) => name.split('-')[0]).filter((word, index, all) => all.indexOf(word) === index).length,
    ).toBeGreaterThan(40);
    expect(displayName(0.25)).toBe(displayName(0.25));
    expect(displayName(1 - Number.EPSILON)).toMatch(/-999$/);
  });
});
