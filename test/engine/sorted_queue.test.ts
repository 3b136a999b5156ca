import fc from 'fast-check';
import { expect, it } from 'vitest';
import { comparePlaces, type Priority } from '../../src/domain/priority.ts';
import { createSortedQueue } from '../../src/engine/sorted_queue.ts';

interface Item {
  readonly priority: Priority;
  readonly readySequence: number;
}

type Operation =
  | readonly ['add', Priority]
  | readonly ['take_first']
  | readonly ['take', number]
  | readonly ['put_back', number]
  | readonly ['remove_absent'];

const operation: fc.Arbitrary<Operation> = fc.oneof(
  { weight: 5, arbitrary: fc.tuple(fc.constant('add' as const), fc.constantFrom<Priority>(1, 2, 2, 2, 3, 4)) },
  { weight: 4, arbitrary: fc.constant(['take_first'] as const) },
  { weight: 2, arbitrary: fc.tuple(fc.constant('take' as const), fc.nat()) },
  { weight: 3, arbitrary: fc.tuple(fc.constant('put_back' as const), fc.nat()) },
  { weight: 1, arbitrary: fc.constant(['remove_absent'] as const) },
);

it('does what a list that is sorted after every change does', () => {
  fc.assert(
    fc.property(fc.array(operation, { minLength: 1, maxLength: 300, size: 'max' }), (operations) => {
      const queue = createSortedQueue<Item>();
      const waiting: Item[] = [];
      const taken: Item[] = [];
      let sequence = 0;
      const insert = (item: Item) => {
        queue.add(item);
        waiting.push(item);
        waiting.sort(comparePlaces);
      };
      const take = (item: Item | undefined) => {
        if (item === undefined) return;
        expect(queue.remove(item)).toBe(true);
        waiting.splice(waiting.indexOf(item), 1);
        taken.push(item);
      };
      for (const one of operations) {
        if (one[0] === 'add') insert({ priority: one[1], readySequence: ++sequence });
        else if (one[0] === 'take_first') take(waiting[0]);
        else if (one[0] === 'take') take(waiting[one[1] % waiting.length]);
        else if (one[0] === 'put_back' && taken.length > 0) insert(taken.splice(one[1] % taken.length, 1)[0] as Item);
        else if (one[0] === 'remove_absent') expect(queue.remove({ priority: 2, readySequence: 0.5 })).toBe(false);
        expect([...queue]).toEqual(waiting);
        expect(queue.size).toBe(waiting.length);
        expect(queue.first()).toBe(waiting[0]);
        const place = { priority: 2 as const, readySequence: sequence / 2 + 0.25 };
        expect(queue.countBefore(place)).toBe(waiting.filter((item) => comparePlaces(item, place) < 0).length);
      }
    }),
    { numRuns: 30 },
  );
});

it('forgets what was taken from the front of a long queue', () => {
  const queue = createSortedQueue<Item>();
  const items = Array.from({ length: 1_000 }, (_, index): Item => ({ priority: 2, readySequence: index + 1 }));
  for (const item of items) queue.add(item);
  for (const item of items.slice(0, 900)) queue.remove(item);
  const early = items[10] as Item;
  queue.add(early);
  expect([...queue].map((item) => item.readySequence)).toEqual([
    11,
    ...items.slice(900).map((item) => item.readySequence),
  ]);
  expect(queue.remove(items[11] as Item)).toBe(false);
});
