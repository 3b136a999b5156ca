/** Every deadline of the engine in one binary heap. A million armed timers cost memory, and nothing until one is due. */

/** 0 stands for "no timer"; a handle is never used twice while its timer is armed. */
export type TimerHandle = number;
export const NO_TIMER: TimerHandle = 0;

interface Armed<T> {
  readonly handle: TimerHandle;
  atMs: number;
  readonly payload: T;
  place: number;
}

export interface TimerHeap<T> {
  readonly size: number;
  arm(atMs: number, payload: T): TimerHandle;
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
  const byHandle = new Map<TimerHandle, Armed<T>>();
  let lastHandle = NO_TIMER;

  // Timers of the same time fire in the order they were armed: a replay must do the same.
  const before = (a: Armed<T>, b: Armed<T>) => a.atMs < b.atMs || (a.atMs === b.atMs && a.handle < b.handle);

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

  function removeAt(place: number): void {
    const removed = heap[place] as Armed<T>;
    byHandle.delete(removed.handle);
    const last = heap.pop() as Armed<T>;
    if (last === removed) return;
    if (before(last, removed)) rise(last, place);
    else sink(last, place);
  }

  function add(timer: Armed<T>): void {
    byHandle.set(timer.handle, timer);
    rise(timer, heap.length);
  }

  return {
    get size() {
      return heap.length;
    },
    arm(atMs, payload) {
      lastHandle += 1;
      add({ handle: lastHandle, atMs, payload, place: heap.length });
      return lastHandle;
    },
    disarm(handle) {
      const timer = byHandle.get(handle);
      if (timer) removeAt(timer.place);
    },
    nextMs: () => heap[0]?.atMs ?? null,
    takeDue(nowMs) {
      const first = heap[0];
      if (first === undefined || first.atMs > nowMs) return null;
      removeAt(0);
      return first.payload;
    },
    postpone(earliestMs, moves) {
      const early: Armed<T>[] = [];
      for (let first = heap[0]; first !== undefined && first.atMs < earliestMs; first = heap[0]) {
        early.push(first);
        removeAt(0);
      }
      for (const timer of early) {
        if (moves(timer.payload)) timer.atMs = earliestMs;
        add(timer);
      }
    },
  };
}
