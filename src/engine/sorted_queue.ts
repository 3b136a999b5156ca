/** An ordered list that is mostly appended to and taken from the front; what returns is put back at its old place. */
import { comparePlaces, type QueuePlace } from '../domain/priority.ts';

export interface SortedQueue<T extends QueuePlace> {
  readonly size: number;
  first(): T | undefined;
  add(item: T): void;
  /** Removes the item at this item's place; false when it is not there. */
  remove(item: T): boolean;
  /** How many items go before this place. */
  countBefore(place: QueuePlace): number;
  /** Up to `limit` items that come after this place; null: from the front. */
  after(place: QueuePlace | null, limit: number): T[];
  /** In order, from this place on. Changing the queue while iterating is not allowed. */
  from(place: QueuePlace): Iterable<T>;
  /** In order. Changing the queue while iterating is not allowed. */
  [Symbol.iterator](): Iterator<T>;
}

export function createSortedQueue<T extends QueuePlace>(): SortedQueue<T> {
  return new ChunkedQueue<T>();
}

/** A change moves the items behind it in its chunk, so a chunk is short; and chunks are few, so they are long enough. */
const CHUNK_ITEMS_MAX = 512;

interface Spot {
  /** Index of the chunk; that of the last one when the place is behind everything. */
  readonly chunk: number;
  readonly index: number;
}

const FRONT: Spot = { chunk: 0, index: 0 };

/** A class, so that the queues of a hundred thousand different demands share their functions. */
class ChunkedQueue<T extends QueuePlace> implements SortedQueue<T> {
  size = 0;
  /** None is empty; each goes before the next. */
  private readonly chunks: T[][] = [];

  first(): T | undefined {
    return this.chunks[0]?.[0];
  }

  add(item: T): void {
    this.size += 1;
    const tail = this.chunks.at(-1);
    if (tail === undefined || comparePlaces(tail.at(-1) as T, item) < 0) this.append(tail, item);
    else this.insert(item);
  }

  remove(item: T): boolean {
    const { chunk: place, index } = item === this.first() ? FRONT : this.find(item);
    const chunk = this.chunks[place];
    if (chunk === undefined || chunk[index] !== item) return false;
    if (chunk.length === 1) this.chunks.splice(place, 1);
    else if (index === 0) chunk.shift();
    else chunk.splice(index, 1);
    this.size -= 1;
    return true;
  }

  countBefore(place: QueuePlace): number {
    const spot = this.find(place);
    let count = spot.index;
    for (let chunk = 0; chunk < spot.chunk; chunk++) count += this.chunkAt(chunk).length;
    return count;
  }

  after(place: QueuePlace | null, limit: number): T[] {
    const found: T[] = [];
    for (const item of place === null ? this : this.from(place)) {
      if (found.length === limit) break;
      // The place itself may still be taken by the item it was read from.
      if (place === null || comparePlaces(item, place) !== 0) found.push(item);
    }
    return found;
  }

  from(place: QueuePlace): Iterable<T> {
    return this.iterate(this.find(place));
  }

  [Symbol.iterator](): Iterator<T> {
    return this.iterate({ chunk: 0, index: 0 });
  }

  private *iterate(spot: Spot): Generator<T> {
    let { index } = spot;
    for (let place = spot.chunk; place < this.chunks.length; place++) {
      const chunk = this.chunkAt(place);
      for (; index < chunk.length; index++) yield chunk[index] as T;
      index = 0;
    }
  }

  private append(tail: T[] | undefined, item: T): void {
    if (tail !== undefined && tail.length < CHUNK_ITEMS_MAX) tail.push(item);
    else this.chunks.push([item]);
  }

  private insert(item: T): void {
    const { chunk: place, index } = this.find(item);
    const chunk = this.chunkAt(place);
    if (index === 0) chunk.unshift(item);
    else chunk.splice(index, 0, item);
    if (chunk.length > CHUNK_ITEMS_MAX) this.chunks.splice(place + 1, 0, chunk.splice(CHUNK_ITEMS_MAX >>> 1));
  }

  /** Where the first item is that does not go before `place`, or would be. */
  private find(place: QueuePlace): Spot {
    const last = Math.max(0, this.chunks.length - 1);
    const chunk = lowerBound(last, (index) => comparePlaces(this.chunkAt(index).at(-1) as T, place) < 0);
    const items = this.chunks[chunk] ?? [];
    return { chunk, index: lowerBound(items.length, (index) => comparePlaces(items[index] as T, place) < 0) };
  }

  private chunkAt(index: number): T[] {
    return this.chunks[index] as T[];
  }
}

/** The first of 0 … end - 1 for which `isBefore` is false; else `end`. */
function lowerBound(end: number, isBefore: (index: number) => boolean): number {
  let low = 0;
  let high = end;
  while (low < high) {
    const middle = (low + high) >>> 1;
    if (isBefore(middle)) low = middle + 1;
    else high = middle;
  }
  return low;
}
