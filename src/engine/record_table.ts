/**
 * Records by a key that each of them holds. A Map has three words an entry and grows all at once, which with a million
 * entries is a pause of a tenth of a second; this has one to two, and grows in parts.
 */

const PARTS_BITS = 8;
const SLOTS_MIN = 8;
/** Of four slots at most three are taken: beyond that, looking for what is not there takes long. */
const FULL = 0.75;

interface Part<T> {
  /** Each record stands in the first slot from its hash on that was free. The number of slots is a power of two. */
  slots: (T | undefined)[];
  size: number;
}

export class RecordTable<T extends object> {
  size = 0;
  private readonly parts: Part<T>[] = [];

  private readonly keyOf: (record: T) => string;

  constructor(keyOf: (record: T) => string) {
    this.keyOf = keyOf;
    for (let part = 0; part < 1 << PARTS_BITS; part++) this.parts.push({ slots: [], size: 0 });
  }

  get(key: string): T | undefined {
    const hash = hashOf(key);
    const { slots } = this.partOf(hash);
    return slots.length === 0 ? undefined : slots[this.slotOf(slots, key, hash)];
  }

  /** Replaces the record of the same key, if there is one. */
  add(record: T): void {
    const key = this.keyOf(record);
    const hash = hashOf(key);
    const part = this.partOf(hash);
    if (part.size + 1 > part.slots.length * FULL) this.grow(part);
    const slot = this.slotOf(part.slots, key, hash);
    if (part.slots[slot] === undefined) {
      part.size += 1;
      this.size += 1;
    }
    part.slots[slot] = record;
  }

  delete(key: string): boolean {
    const hash = hashOf(key);
    const part = this.partOf(hash);
    if (part.slots.length === 0) return false;
    const slot = this.slotOf(part.slots, key, hash);
    if (part.slots[slot] === undefined) return false;
    this.close(part.slots, slot);
    part.size -= 1;
    this.size -= 1;
    return true;
  }

  /** In no order that means anything. */
  *values(): Generator<T> {
    for (const { slots } of this.parts) for (const record of slots) if (record !== undefined) yield record;
  }

  private partOf(hash: number): Part<T> {
    return this.parts[hash >>> (32 - PARTS_BITS)] as Part<T>;
  }

  /** Where the record of this key is, or would be put. */
  private slotOf(slots: readonly (T | undefined)[], key: string, hash: number): number {
    const mask = slots.length - 1;
    let slot = hash & mask;
    for (let record = slots[slot]; record !== undefined; record = slots[slot]) {
      if (this.keyOf(record) === key) break;
      slot = (slot + 1) & mask;
    }
    return slot;
  }

  /** Moves up whatever would not be found any more with an empty slot before it. */
  private close(slots: (T | undefined)[], from: number): void {
    const mask = slots.length - 1;
    let gap = from;
    for (let slot = (gap + 1) & mask; ; slot = (slot + 1) & mask) {
      const record = slots[slot];
      if (record === undefined) break;
      const home = hashOf(this.keyOf(record)) & mask;
      if (((slot - home) & mask) < ((slot - gap) & mask)) continue;
      slots[gap] = record;
      gap = slot;
    }
    slots[gap] = undefined;
  }

  private grow(part: Part<T>): void {
    const { slots } = part;
    part.slots = new Array<T | undefined>(Math.max(SLOTS_MIN, slots.length * 2)).fill(undefined);
    const mask = part.slots.length - 1;
    for (const record of slots) {
      if (record === undefined) continue;
      let slot = hashOf(this.keyOf(record)) & mask;
      while (part.slots[slot] !== undefined) slot = (slot + 1) & mask;
      part.slots[slot] = record;
    }
  }
}

/** FNV-1a, and its bits mixed once more: both ends of the number choose a place. */
function hashOf(key: string): number {
  let hash = 0x811c9dc5;
  for (let index = 0; index < key.length; index++) hash = Math.imul(hash ^ key.charCodeAt(index), 0x01000193);
  hash = Math.imul(hash ^ (hash >>> 16), 0x85ebca6b);
  return (hash ^ (hash >>> 13)) >>> 0;
}
