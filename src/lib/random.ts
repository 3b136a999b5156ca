/** The only door to randomness and digests. */
import { createHash, randomBytes } from 'node:crypto';
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
  return { orderedId: () => compact(v7()), randomId: () => compact(v4()), fraction: () => Math.random() };
}

/** As one piece: an id is put together from 20, and would keep them all, ten times its own size, for as long as it lives. */
function compact(id: string): string {
  return Buffer.from(id, 'latin1').toString('latin1');
}

/** 128 random bits, base64url, for secrets that a process keeps. */
export function newSecret(): string {
  return randomBytes(16).toString('base64url');
}

/** SHA-256 in hex. */
export function digest(text: string): string {
  return createHash('sha256').update(text).digest('hex');
}
