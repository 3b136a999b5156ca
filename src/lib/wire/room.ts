/** Bytes under way: what is put goes behind what is there. */

/** Kept from one message to the next; what a larger one took is given back. */
const KEPT_BYTES_MAX = 1024 * 1024;
const FIRST_BYTES = 16 * 1024;
/** A unit of text is at most three bytes: with so many of them the length takes one byte for certain. */
const SHORT_UNITS_MAX = 42;
const UNIT_BYTES_MAX = 3;
const VARINT_BYTES_MAX = 10;
const DOUBLE_BYTES = 8;
const INT32_MAX = 0x7fff_ffff;

// Nobody waits in the middle of a message, so one place serves all of them.
let room = Buffer.allocUnsafeSlow(FIRST_BYTES);
let at = 0;

export function begin(): void {
  at = 0;
}

/** A copy of what was put since `begin`. */
export function finish(): Buffer {
  const bytes = Buffer.allocUnsafe(at);
  room.copy(bytes, 0, 0, at);
  if (room.length > KEPT_BYTES_MAX) room = Buffer.allocUnsafeSlow(FIRST_BYTES);
  return bytes;
}

function makeRoom(bytes: number): void {
  if (at + bytes <= room.length) return;
  const larger = Buffer.allocUnsafeSlow(Math.max(room.length * 2, at + bytes));
  room.copy(larger, 0, 0, at);
  room = larger;
}

/** A whole number from 0 to 2⁵³ - 1. */
export function putVarint(value: number): void {
  makeRoom(VARINT_BYTES_MAX);
  let rest = value;
  while (rest > INT32_MAX) {
    room[at++] = (rest % 128) | 128;
    rest = Math.floor(rest / 128);
  }
  while (rest > 127) {
    room[at++] = (rest & 127) | 128;
    rest >>>= 7;
  }
  room[at++] = rest;
}

export function putDouble(value: number): void {
  makeRoom(DOUBLE_BYTES);
  room.writeDoubleLE(value, at);
  at += DOUBLE_BYTES;
}

export function putBytes(bytes: Uint8Array): void {
  putVarint(bytes.length);
  makeRoom(bytes.length);
  room.set(bytes, at);
  at += bytes.length;
}

/** Its length, and the text in UTF-8. */
export function putText(text: string): void {
  if (text.length <= SHORT_UNITS_MAX) {
    makeRoom(1 + SHORT_UNITS_MAX * UNIT_BYTES_MAX);
    const bytes = putShort(text, at + 1);
    room[at] = bytes;
    at += 1 + bytes;
    return;
  }
  const bytes = Buffer.byteLength(text);
  putVarint(bytes);
  makeRoom(bytes);
  // Text of which every unit is a byte has the same bytes in Latin-1, which is quicker.
  room.write(text, at, bytes, bytes === text.length ? 'latin1' : 'utf8');
  at += bytes;
}

/** A call into the runtime costs more than a few characters. */
function putShort(text: string, from: number): number {
  for (let index = 0; index < text.length; index++) {
    const unit = text.charCodeAt(index);
    if (unit > 127) return room.write(text, from, 'utf8');
    room[from + index] = unit;
  }
  return text.length;
}

/** Room for the length of what comes next; the answer is for `closeLength`. */
export function openLength(): number {
  makeRoom(1);
  at += 1;
  return at;
}

/** Most parts are shorter than 128 bytes. What is not makes way for its longer length. */
export function closeLength(from: number): void {
  const bytes = at - from;
  if (bytes < 128) {
    room[from - 1] = bytes;
    return;
  }
  const more = bytes < 128 ** 2 ? 1 : bytes < 128 ** 3 ? 2 : bytes < 128 ** 4 ? 3 : 4;
  makeRoom(more);
  room.copyWithin(from + more, from, at);
  at = from - 1;
  putVarint(bytes);
  at += bytes;
}
