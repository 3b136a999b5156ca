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

// Leading holes are given back to the allocator once they are this many and most of the array.
const HOLES_MAX = 64;

export function createSortedQueue<T extends QueuePlace>(): SortedQueue<T> {
  // Items are items[head …]. Taking from the front only moves `head`, so it costs no copying.
  let items: (T | undefined)[] = [];
  let head = 0;

  const at = (index: number) => items[index] as T;

  /** First index whose item does not go before `place`. */
  function lowerBound(place: QueuePlace): number {
    let low = head;
    let high = items.length;
    while (low < high) {
      const middle = (low + high) >>> 1;
      if (comparePlaces(at(middle), place) < 0) low = middle + 1;
      else high = middle;
    }
    return low;
  }

  function dropHoles(): void {
    if (head === items.length) {
      items = [];
      head = 0;
    } else if (head > HOLES_MAX && head * 2 > items.length) {
      items = items.slice(head);
      head = 0;
    }
  }

  return {
    get size() {
      return items.length - head;
    },
    first: () => items[head],
    add(item) {
      const last = items.length > head ? at(items.length - 1) : undefined;
      if (last === undefined || comparePlaces(last, item) < 0) {
        items.push(item);
        return;
      }
      const index = lowerBound(item);
      // Near the front it is the few before it that move, into the room that earlier takes left.
      if (head > 0 && index - head < items.length - index) {
        items.copyWithin(head - 1, head, index);
        head -= 1;
        items[index - 1] = item;
      } else {
        items.splice(index, 0, item);
      }
    },
    remove(item) {
      const index = lowerBound(item);
      if (items[index] !== item) return false;
      if (index - head < items.length - 1 - index) {
        items.copyWithin(head + 1, head, index);
        items[head] = undefined;
        head += 1;
      } else {
        items.splice(index, 1);
      }
      dropHoles();
      return true;
    },
    after(place, limit) {
      let index = place === null ? head : lowerBound(place);
      // The place itself may still be taken by the item it was read from.
      if (place !== null && index < items.length && comparePlaces(at(index), place) === 0) index += 1;
      return items.slice(index, index + limit) as T[];
    },
    *from(place) {
      for (let index = lowerBound(place); index < items.length; index++) yield at(index);
    },
    countBefore: (place) => lowerBound(place) - head,
    *[Symbol.iterator]() {
      for (let index = head; index < items.length; index++) yield at(index);
    },
  };
}
