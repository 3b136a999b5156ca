/** The only door to randomness and digests. */
import { hash, randomBytes } from 'node:crypto';
import { v4, v7 } from 'uuid';

/** Source of ids; the simulation replaces it by a seeded one. */
export interface IdSource {
  /** Time-ordered id (UUID v7): keys of rows that are inserted in order stay together in the index. */
  orderedId(): string;
  /** Unguessable id (UUID v4). */
  randomId(): string;
  /** Uniform in [0, 1). */
  fraction(): number;
}

export function systemIds(): IdSource {
  const bytes = new Uint8Array(16);
  return {
    orderedId: () => textOf(v7(undefined, bytes)),
    randomId: () => textOf(v4(undefined, bytes)),
    fraction: () => Math.random(),
  };
}

const DIGITS = Buffer.from('0123456789abcdef');
const DASH = 0x2d;
/** Which bytes have a dash before them. */
const AFTER_DASH: ReadonlySet<number> = new Set([4, 6, 8, 10]);
const text = Buffer.alloc(36);

/**
 * As one piece: the library puts an id together from 20, and it would keep them all, ten times its own size, for as long as
 * it lives. Putting them into one piece afterwards takes twice as long as this.
 */
function textOf(bytes: Uint8Array): string {
  let at = 0;
  bytes.forEach((byte, index) => {
    if (AFTER_DASH.has(index)) text[at++] = DASH;
    text[at++] = DIGITS[byte >> 4] as number;
    text[at++] = DIGITS[byte & 15] as number;
  });
  return text.toString('latin1');
}

/** 128 random bits, base64url, for secrets that a process keeps. */
export function newSecret(): string {
  return randomBytes(16).toString('base64url');
}

/** SHA-256 in hex. */
export function digest(text: string): string {
  return hash('sha256', text, 'hex');
}
