/** Every deadline of the engine in one binary heap. A million armed timers cost memory, and nothing until one is due. */

/** An armed timer, for disarming it; null stands for "no timer". */
export type TimerHandle = ArmedTimer | null;
export const NO_TIMER: TimerHandle = null;

/** The handle is the timer itself: a map from numbers to timers would take as much memory as they do. */
export interface ArmedTimer {
  readonly order: number;
}

interface Armed<T> extends ArmedTimer {
  atMs: number;
  readonly payload: T;
  /** In the heap; NOWHERE: it is not armed any more. */
  place: number;
}

const NOWHERE = -1;

export interface TimerHeap<T> {
  readonly size: number;
  arm(atMs: number, payload: T): ArmedTimer;
  /** Disarming what is not armed does nothing. */
  disarm(handle: TimerHandle): void;
  /** Time of the earliest timer, or null. */
  nextMs(): number | null;
  /** Takes the earliest timer that is due at `nowMs`, or returns null. */
  takeDue(nowMs: number): T | null;
  /** What is due before `earliestMs`, and is moved by `moves`, becomes due then. Handles stay as they are. */
  postpone(earliestMs: number, moves: (payload: T) => boolean): void;
}

export function createTimerHeap<T>(): TimerHeap<T> {
  const heap: Armed<T>[] = [];
  let lastOrder = 0;

  // Timers of the same time fire in the order they were armed: a replay must do the same.
  const before = (a: Armed<T>, b: Armed<T>) => a.atMs < b.atMs || (a.atMs === b.atMs && a.order < b.order);

  function put(timer: Armed<T>, place: number): void {
    heap[place] = timer;
    timer.place = place;
  }

  function rise(timer: Armed<T>, from: number): void {
    let place = from;
    while (place > 0) {
      const parent = (place - 1) >> 1;
      const above = heap[parent] as Armed<T>;
      if (!before(timer, above)) break;
      put(above, place);
      place = parent;
    }
    put(timer, place);
  }

  function sink(timer: Armed<T>, from: number): void {
    let place = from;
    for (;;) {
      let child = 2 * place + 1;
      if (child >= heap.length) break;
      if (child + 1 < heap.length && before(heap[child + 1] as Armed<T>, heap[child] as Armed<T>)) child += 1;
      const below = heap[child] as Armed<T>;
      if (!before(below, timer)) break;
      put(below, place);
      place = child;
    }
    put(timer, place);
  }

  function remove(removed: Armed<T>): void {
    const { place } = removed;
    removed.place = NOWHERE;
    const last = heap.pop() as Armed<T>;
    if (last === removed) return;
    if (before(last, removed)) rise(last, place);
    else sink(last, place);
  }

  return {
    get size() {
      return heap.length;
    },
    arm(atMs, payload) {
      lastOrder += 1;
      const timer: Armed<T> = { order: lastOrder, atMs, payload, place: NOWHERE };
      rise(timer, heap.length);
      return timer;
    },
    disarm(handle) {
      const timer = handle as Armed<T> | null;
      if (timer !== null && timer.place !== NOWHERE) remove(timer);
    },
    nextMs: () => heap[0]?.atMs ?? null,
    takeDue(nowMs) {
      const first = heap[0];
      if (first === undefined || first.atMs > nowMs) return null;
      remove(first);
      return first.payload;
    },
    postpone(earliestMs, moves) {
      const early: Armed<T>[] = [];
      for (let first = heap[0]; first !== undefined && first.atMs < earliestMs; first = heap[0]) {
        early.push(first);
        remove(first);
      }
      for (const timer of early) {
        if (moves(timer.payload)) timer.atMs = earliestMs;
        rise(timer, heap.length);
      }
    },
  };
}
