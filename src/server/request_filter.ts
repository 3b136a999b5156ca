/**
 * Which request ids may have been used before. Every submission carries one, and almost all are new: a Bloom filter
 * that says so for certain spares each of them a question to the store. A "maybe" asks the store.
 */

/** Bits for each id: about one false "maybe" in a hundred. */
const BITS_PER_ID = 10;
const PROBES = 7;
export const REQUEST_FILTER_IDS = 400_000;

export interface RequestFilter {
  /** False: certainly new. True: the store knows. */
  maybeUsed(namespace: string, requestId: string): boolean;
  /** The same of what was before it, and adds it: most ids are asked for once, as they are used. */
  add(namespace: string, requestId: string): boolean;
  /** Everything the store holds has been added; until then every id may have been used. */
  setComplete(): void;
  /** It holds more ids than it was made for: a larger one should take its place. */
  readonly isFull: boolean;
}

export function createRequestFilter(ids = REQUEST_FILTER_IDS): RequestFilter {
  const bits = 2 ** Math.ceil(Math.log2(Math.max(ids, 1) * BITS_PER_ID));
  const words = new Uint32Array(bits / 32);
  const mask = bits - 1;
  let complete = false;
  let count = 0;

  /** Calls `visit` with each probe's bit until it returns false; true when it never did. */
  function everyProbe(namespace: string, requestId: string, visit: (word: number, bit: number) => boolean): boolean {
    const first = hash(hash(0x811c9dc5, namespace), requestId);
    // Two hashes make all the others; the second must be odd to reach every bit.
    const step = hash(0x9747b28c, requestId) | 1;
    for (let probe = 0; probe < PROBES; probe++) {
      const index = (first + Math.imul(probe, step)) & mask;
      if (!visit(index >>> 5, 1 << (index & 31))) return false;
    }
    return true;
  }

  return {
    get isFull() {
      return count > ids;
    },
    maybeUsed: (namespace, requestId) =>
      !complete || everyProbe(namespace, requestId, (word, bit) => ((words[word] as number) & bit) !== 0),
    add(namespace, requestId) {
      count += 1;
      let known = true;
      everyProbe(namespace, requestId, (word, bit) => {
        const before = words[word] as number;
        if ((before & bit) === 0) known = false;
        words[word] = before | bit;
        return true;
      });
      return !complete || known;
    },
    setComplete() {
      complete = true;
    },
  };
}

/** FNV-1a over UTF-16 units, with a final mix: the low bits are what a filter uses. */
function hash(seed: number, text: string): number {
  let value = seed;
  for (let index = 0; index < text.length; index++) value = Math.imul(value ^ text.charCodeAt(index), 0x01000193);
  value ^= value >>> 16;
  value = Math.imul(value, 0x85ebca6b);
  value ^= value >>> 13;
  return value >>> 0;
}
