/** The bytes of a file or of standard input. */
import { createReadStream } from 'node:fs';
import { stat } from 'node:fs/promises';
import { UsageError } from '../failure.ts';
import type { Yard } from '../yard.ts';

export interface Source {
  readonly chunks: AsyncIterable<Uint8Array>;
  /** How many there are in all; undefined: nobody knows. */
  readonly bytes: number | undefined;
}

export async function openSource({ io, signal }: Yard, file: string): Promise<Source> {
  if (file === '-') return { chunks: io.stdinChunks(signal), bytes: undefined };
  return { chunks: chunksOf(file, signal), bytes: await regularSize(file) };
}

async function* chunksOf(file: string, signal: AbortSignal): AsyncGenerator<Uint8Array, void> {
  try {
    for await (const chunk of createReadStream(file, { signal })) yield chunk;
  } catch (error) {
    throw unreadable(error);
  }
}

/** A pipe in the file system has no size. */
async function regularSize(file: string): Promise<number | undefined> {
  try {
    const found = await stat(file);
    return found.isFile() && found.size > 0 ? found.size : undefined;
  } catch (error) {
    throw unreadable(error);
  }
}

function unreadable(error: unknown): UsageError {
  return new UsageError(`--from: ${(error as Error).message}`);
}
