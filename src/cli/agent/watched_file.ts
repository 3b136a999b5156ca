/**
 * A file that a command writes lines to while it runs. Only the end of it is ever read, as a whole: so it does not matter
 * whether the command appends (`>>`), writes the file anew each time (`>`), or puts another in its place.
 */
import { open, stat } from 'node:fs/promises';

/** Longer files are read from here before their end. */
const BYTES_MAX = 64 * 1024;

export class WatchedFile {
  readonly #path: string;
  /** Of the file as it was last read. */
  #stamp = '';
  /** It ended without a line break: perhaps the rest is on its way, perhaps that was all. */
  #isUnfinished = false;

  constructor(path: string) {
    this.#path = path;
  }

  /** The lines at the end of the file, when they are not those of the last look. The last look of all takes them as they are. */
  async look(last = false): Promise<string[] | undefined> {
    try {
      const found = await stat(this.#path, { bigint: true });
      if (!found.isFile()) return undefined;
      return await this.#lines(`${found.ino} ${found.size} ${found.mtimeNs}`, Number(found.size), last);
    } catch {
      // It is the command's to remove.
      return undefined;
    }
  }

  async #lines(stamp: string, size: number, last: boolean): Promise<string[] | undefined> {
    const isAtRest = stamp === this.#stamp;
    if (isAtRest && !this.#isUnfinished && !last) return undefined;
    this.#stamp = stamp;
    const from = Math.max(0, size - BYTES_MAX);
    const lines = (await readFrom(this.#path, from)).split(/\r?\n/);
    const unfinished = lines.pop() ?? '';
    if (from > 0) lines.shift();
    this.#isUnfinished = unfinished !== '' && !isAtRest;
    if (unfinished !== '' && (isAtRest || last)) lines.push(unfinished);
    return lines.filter((line) => line.trim() !== '');
  }
}

async function readFrom(path: string, position: number): Promise<string> {
  const file = await open(path, 'r');
  try {
    const { buffer, bytesRead } = await file.read({ buffer: Buffer.alloc(BYTES_MAX), position });
    return buffer.toString('utf8', 0, bytesRead);
  } finally {
    await file.close();
  }
}
