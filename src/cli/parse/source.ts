/** Text from a file, or from standard input by the name `-`. */
import { readFile } from 'node:fs/promises';
import { UsageError } from '../failure.ts';
import type { Io } from '../io.ts';

export async function readSource(io: Io, what: string, file: string): Promise<string> {
  if (file === '-') return io.stdin();
  try {
    return await readFile(file, 'utf8');
  } catch (error) {
    throw new UsageError(`${what}: ${(error as Error).message}`);
  }
}
