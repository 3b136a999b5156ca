/** Every deadline of the engine in one heap. A million armed timers cost memory, and nothing until one is due. */

/** Something that becomes due: it knows its place in the heap, so that it can be taken out of it. */
export interface Timed<T> {
  timerPlace: number;
  readonly due: T;
}

/** An armed timer, for disarming it; null stands for "no timer". */
export type TimerHandle = { timerPlace: number } | null;
export const NO_TIMER: TimerHandle = null;

/** The place of what is not armed. */
export const NOWHERE = -1;

export interface TimerHeap<T> {
  readonly size: number;
  arm(atMs: number, due: T): Timed<T>;
  /** Without an object for the timer: for what there are a million of. It must not be armed already. */
  armItself(atMs: number, timed: Timed<T>): void;
  /** Disarming what is not armed does nothing. */
  disarm(handle: TimerHandle): void;
  /** Time of the earliest timer, or null. */
  nextMs(): number | null;
  /** Takes the earliest timer that is due at `nowMs`, or returns null. */
  takeDue(nowMs: number): T | null;
  /** What is due before `earliestMs`, and is moved by `moves`, becomes due then. Handles stay as they are. */
  postpone(earliestMs: number, moves: (due: T) => boolean): void;
}

export function createTimerHeap<T>(): TimerHeap<T> {
  return new FourWayHeap<T>();
}

const CAPACITY_MIN = 64;
/** Half as deep as with two, and the four that are compared lie side by side. */
const CHILDREN_BITS = 2;

/** Times and orders lie apart from the timers: comparing them touches none of a million objects all over the memory. */
class FourWayHeap<T> implements TimerHeap<T> {
  private readonly items: Timed<T>[] = [];
  private times = new Float64Array(CAPACITY_MIN);
  /** Timers of the same time fire in the order they were armed: a replay must do the same. */
  private orders = new Float64Array(CAPACITY_MIN);
  private lastOrder = 0;

  get size(): number {
    return this.items.length;
  }

  arm(atMs: number, due: T): Timed<T> {
    const timer = { timerPlace: NOWHERE, due };
    this.armItself(atMs, timer);
    return timer;
  }

  armItself(atMs: number, timed: Timed<T>): void {
    this.lastOrder += 1;
    this.add(atMs, this.lastOrder, timed);
  }

  disarm(handle: TimerHandle): void {
    if (handle !== null && handle.timerPlace !== NOWHERE) this.remove(handle.timerPlace);
  }

  nextMs(): number | null {
    return this.items.length === 0 ? null : (this.times[0] as number);
  }

  takeDue(nowMs: number): T | null {
    const [first] = this.items;
    if (first === undefined || (this.times[0] as number) > nowMs) return null;
    this.remove(0);
    return first.due;
  }

  postpone(earliestMs: number, moves: (due: T) => boolean): void {
    const early: { readonly atMs: number; readonly order: number; readonly timed: Timed<T> }[] = [];
    while (this.items.length > 0 && (this.times[0] as number) < earliestMs) {
      const timed = this.items[0] as Timed<T>;
      early.push({ atMs: this.times[0] as number, order: this.orders[0] as number, timed });
      this.remove(0);
    }
    for (const { atMs, order, timed } of early) this.add(moves(timed.due) ? earliestMs : atMs, order, timed);
  }

  private add(atMs: number, order: number, timed: Timed<T>): void {
    const place = this.items.length;
    if (place === this.times.length) this.grow();
    this.items.push(timed);
    this.rise(place, atMs, order, timed);
  }

  private remove(place: number): void {
    const removed = this.items[place] as Timed<T>;
    removed.timerPlace = NOWHERE;
    const end = this.items.length - 1;
    const last = this.items.pop() as Timed<T>;
    if (place === end) return;
    const atMs = this.times[end] as number;
    const order = this.orders[end] as number;
    const above = (place - 1) >> CHILDREN_BITS;
    if (place > 0 && this.isBefore(atMs, order, above)) this.rise(place, atMs, order, last);
    else this.sink(place, atMs, order, last);
  }

  private isBefore(atMs: number, order: number, place: number): boolean {
    const otherMs = this.times[place] as number;
    return atMs < otherMs || (atMs === otherMs && order < (this.orders[place] as number));
  }

  private rise(from: number, atMs: number, order: number, timed: Timed<T>): void {
    let place = from;
    while (place > 0) {
      const parent = (place - 1) >> CHILDREN_BITS;
      if (!this.isBefore(atMs, order, parent)) break;
      this.move(parent, place);
      place = parent;
    }
    this.put(place, atMs, order, timed);
  }

  private sink(from: number, atMs: number, order: number, timed: Timed<T>): void {
    let place = from;
    for (;;) {
      const first = this.firstBelow(place);
      if (first === NOWHERE || this.isBefore(atMs, order, first)) break;
      this.move(first, place);
      place = first;
    }
    this.put(place, atMs, order, timed);
  }

  /** The earliest of the timers right below this place; NOWHERE: there are none. */
  private firstBelow(place: number): number {
    const from = (place << CHILDREN_BITS) + 1;
    const end = Math.min(from + (1 << CHILDREN_BITS), this.items.length);
    if (from >= end) return NOWHERE;
    let first = from;
    for (let child = from + 1; child < end; child++) {
      if (this.isBefore(this.times[child] as number, this.orders[child] as number, first)) first = child;
    }
    return first;
  }

  private move(from: number, to: number): void {
    this.put(to, this.times[from] as number, this.orders[from] as number, this.items[from] as Timed<T>);
  }

  private put(place: number, atMs: number, order: number, timed: Timed<T>): void {
    this.times[place] = atMs;
    this.orders[place] = order;
    this.items[place] = timed;
    timed.timerPlace = place;
  }

  private grow(): void {
    const capacity = this.times.length * 2;
    const { times, orders } = this;
    this.times = new Float64Array(capacity);
    this.orders = new Float64Array(capacity);
    this.times.set(times);
    this.orders.set(orders);
  }
}
