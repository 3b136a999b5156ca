/**
 * Ids and digests as they are kept of a million waiting runs: a UUID is 36 characters to read, and 16 to hold. What is
 * written otherwise stays as it is. None of them holds U+0000 (`hasNul`), so each has one packed form, and no two the same.
 */

interface Layout {
  /** As it is read, with a zero for every digit. */
  readonly pattern: string;
  /** Where each of its bytes begins. */
  readonly places: readonly number[];
}

const UUID = layoutOf('00000000-0000-0000-0000-000000000000');
const DIGEST = layoutOf('0'.repeat(64));

function layoutOf(pattern: string): Layout {
  const digits = [...pattern].flatMap((character, place) => (character === '0' ? [place] : []));
  return { pattern, places: digits.filter((_, index) => index % 2 === 0) };
}

export const packId = (text: string): string => pack(UUID, text);
export const unpackId = (packed: string): string => unpack(UUID, packed);
export const packDigest = (text: string): string => pack(DIGEST, text);
export const unpackDigest = (packed: string): string => unpack(DIGEST, packed);

/** Follows a text that is as long as a packed one, and is none. */
const NOT_PACKED = '\u0000';
const DASH = 0x2d;
const CODES = Array.from('0123456789abcdef', (digit) => digit.charCodeAt(0));
/** What a digit stands for, by its code; only lower case is packed, as it would come back so. */
const DIGITS = Array.from({ length: 128 }, (_, code) => CODES.indexOf(code));

function pack(layout: Layout, text: string): string {
  const { pattern, places } = layout;
  if (text.length === pattern.length) return packedHex(layout, text) ?? text;
  return text.length === places.length ? text + NOT_PACKED : text;
}

function unpack(layout: Layout, packed: string): string {
  const { length } = layout.places;
  if (packed.length === length) return hexOf(layout, packed);
  return packed.length === length + 1 && packed.endsWith(NOT_PACKED) ? packed.slice(0, length) : packed;
}

/** null: it is written in another way. */
function packedHex({ pattern, places }: Layout, text: string): string | null {
  for (let dash = pattern.indexOf('-'); dash >= 0; dash = pattern.indexOf('-', dash + 1)) {
    if (text.charCodeAt(dash) !== DASH) return null;
  }
  const bytes: number[] = [];
  for (const place of places) {
    const high = DIGITS[text.charCodeAt(place)] ?? -1;
    const low = DIGITS[text.charCodeAt(place + 1)] ?? -1;
    if (high < 0 || low < 0) return null;
    bytes.push(high * 16 + low);
  }
  // In one piece: text that is put together keeps its pieces, ten times its own size.
  return String.fromCharCode.apply(null, bytes);
}

function hexOf({ pattern, places }: Layout, packed: string): string {
  const codes = new Array<number>(pattern.length).fill(DASH);
  for (let index = 0; index < places.length; index++) {
    const place = places[index] as number;
    const byte = packed.charCodeAt(index);
    codes[place] = CODES[byte >> 4] as number;
    codes[place + 1] = CODES[byte & 15] as number;
  }
  return String.fromCharCode.apply(null, codes);
}
