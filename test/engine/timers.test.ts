import fc from 'fast-check';
import { expect, it } from 'vitest';
import { createTimerHeap, NO_TIMER, type TimerHandle } from '../../src/engine/timers.ts';

type Operation = readonly ['arm' | 'disarm' | 'pass' | 'postpone', number];

const operation: fc.Arbitrary<Operation> = fc.oneof(
  { weight: 5, arbitrary: fc.tuple(fc.constant('arm' as const), fc.integer({ min: 0, max: 50 })) },
  { weight: 3, arbitrary: fc.tuple(fc.constant('disarm' as const), fc.nat()) },
  { weight: 2, arbitrary: fc.tuple(fc.constant('pass' as const), fc.integer({ min: 0, max: 20 })) },
  { weight: 1, arbitrary: fc.tuple(fc.constant('postpone' as const), fc.integer({ min: 0, max: 40 })) },
);

it('does what a list that is searched every time does', () => {
  fc.assert(
    fc.property(fc.array(operation, { minLength: 1, maxLength: 300, size: 'max' }), (operations) => {
      const heap = createTimerHeap<string>();
      let armed: { atMs: number; order: number; name: string; handle: TimerHandle }[] = [];
      const handles: TimerHandle[] = [];
      let nowMs = 0;
      for (const [kind, number] of operations) {
        if (kind === 'arm') {
          const name = `timer ${handles.length}`;
          const handle = heap.arm(nowMs + number, name);
          handles.push(handle);
          armed.push({ atMs: nowMs + number, order: handles.length, name, handle });
          armed.sort((a, b) => a.atMs - b.atMs || a.order - b.order);
        } else if (kind === 'disarm') {
          // Any handle ever given, so also those that have fired: disarming these must hit nobody else.
          const handle = handles[number % handles.length] ?? NO_TIMER;
          heap.disarm(handle);
          armed = armed.filter((timer) => timer.handle !== handle);
        } else if (kind === 'postpone') {
          const earliestMs = nowMs + number;
          // Every third stays where it is.
          const moves = (name: string) => Number(name.slice('timer '.length)) % 3 !== 0;
          heap.postpone(earliestMs, moves);
          armed = armed.map((timer) =>
            moves(timer.name) ? { ...timer, atMs: Math.max(timer.atMs, earliestMs) } : timer,
          );
          armed.sort((a, b) => a.atMs - b.atMs || a.order - b.order);
        } else {
          nowMs += number;
          const due = armed.filter((timer) => timer.atMs <= nowMs);
          armed = armed.filter((timer) => timer.atMs > nowMs);
          expect(due.map(() => heap.takeDue(nowMs))).toEqual(due.map((timer) => timer.name));
          expect(heap.takeDue(nowMs)).toBeNull();
        }
        expect(heap.size).toBe(armed.length);
        expect(heap.nextMs()).toBe(armed[0]?.atMs ?? null);
      }
    }),
    { numRuns: 100 },
  );
});

it('fires timers of the same time in the order they were armed', () => {
  const heap = createTimerHeap<number>();
  for (let index = 0; index < 100; index++) heap.arm(index % 2, index);
  const fired: number[] = [];
  for (let due = heap.takeDue(1); due !== null; due = heap.takeDue(1)) fired.push(due);
  const even = Array.from({ length: 50 }, (_, index) => 2 * index);
  expect(fired).toEqual([...even, ...even.map((index) => index + 1)]);
});

it('takes disarming nothing', () => {
  const heap = createTimerHeap<number>();
  heap.disarm(NO_TIMER);
  const handle = heap.arm(1, 1);
  heap.takeDue(1);
  heap.disarm(handle);
  expect([heap.size, heap.nextMs(), heap.takeDue(Number.MAX_SAFE_INTEGER)]).toEqual([0, null, null]);
});
