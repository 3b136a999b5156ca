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
  /** Eight bits of the hash of each, so that hardly a record is looked at that is not the one; 0: the slot is empty. */
  tags: Uint8Array;
  size: number;
}

export class RecordTable<T extends object> {
  size = 0;
  private readonly parts: Part<T>[] = [];
  private readonly keyOf: (record: T) => string;

  constructor(keyOf: (record: T) => string) {
    this.keyOf = keyOf;
    for (let part = 0; part < 1 << PARTS_BITS; part++) this.parts.push({ slots: [], tags: NO_TAGS, size: 0 });
  }

  get(key: string): T | undefined {
    const hash = hashOf(key);
    const part = this.partOf(hash);
    return part.size === 0 ? undefined : part.slots[this.slotOf(part, key, hash)];
  }

  /** Replaces the record of the same key, if there is one. */
  add(record: T): void {
    const key = this.keyOf(record);
    const hash = hashOf(key);
    const part = this.partOf(hash);
    if (part.size + 1 > part.slots.length * FULL) this.grow(part);
    const slot = this.slotOf(part, key, hash);
    if (part.tags[slot] === 0) {
      part.size += 1;
      this.size += 1;
    }
    part.slots[slot] = record;
    part.tags[slot] = tagOf(hash);
  }

  delete(key: string): boolean {
    const hash = hashOf(key);
    const part = this.partOf(hash);
    if (part.size === 0) return false;
    const slot = this.slotOf(part, key, hash);
    if (part.tags[slot] === 0) return false;
    this.close(part, slot);
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
  private slotOf({ slots, tags }: Part<T>, key: string, hash: number): number {
    const mask = slots.length - 1;
    const tag = tagOf(hash);
    let slot = hash & mask;
    for (let other = tags[slot]; other !== 0; other = tags[slot]) {
      if (other === tag && this.keyOf(slots[slot] as T) === key) break;
      slot = (slot + 1) & mask;
    }
    return slot;
  }

  /** Moves up whatever would not be found any more with an empty slot before it. */
  private close({ slots, tags }: Part<T>, from: number): void {
    const mask = slots.length - 1;
    let gap = from;
    for (let slot = (gap + 1) & mask; tags[slot] !== 0; slot = (slot + 1) & mask) {
      const record = slots[slot] as T;
      const home = hashOf(this.keyOf(record)) & mask;
      if (((slot - home) & mask) < ((slot - gap) & mask)) continue;
      slots[gap] = record;
      tags[gap] = tags[slot] as number;
      gap = slot;
    }
    slots[gap] = undefined;
    tags[gap] = 0;
  }

  private grow(part: Part<T>): void {
    const { slots } = part;
    const length = Math.max(SLOTS_MIN, slots.length * 2);
    part.slots = new Array<T | undefined>(length).fill(undefined);
    part.tags = new Uint8Array(length);
    const mask = length - 1;
    for (const record of slots) {
      if (record === undefined) continue;
      const hash = hashOf(this.keyOf(record));
      let slot = hash & mask;
      while (part.tags[slot] !== 0) slot = (slot + 1) & mask;
      part.slots[slot] = record;
      part.tags[slot] = tagOf(hash);
    }
  }
}

const NO_TAGS = new Uint8Array(0);

/** From other bits than those that choose the part and, as a rule, the slot. */
function tagOf(hash: number): number {
  return (hash >>> 16) & 0xff || 1;
}

/** FNV-1a, and its bits mixed once more: both ends of the number choose a place. */
function hashOf(key: string): number {
  let hash = 0x811c9dc5;
  for (let index = 0; index < key.length; index++) hash = Math.imul(hash ^ key.charCodeAt(index), 0x01000193);
  hash = Math.imul(hash ^ (hash >>> 16), 0x85ebca6b);
  return (hash ^ (hash >>> 13)) >>> 0;
}
