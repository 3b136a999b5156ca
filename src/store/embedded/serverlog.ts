/** PostgreSQL's own log, as far as an error message needs it. */
import { open, stat } from 'node:fs/promises';
import { join } from 'node:path';

const TAIL_LINES_MAX = 12;
const TAIL_BYTES_MAX = 16 * 1024;

export async function logSize(home: string): Promise<number> {
  const found = await stat(join(home, 'postgres.log')).catch(() => undefined);
  return found?.size ?? 0;
}

/** The last lines after that offset, ready to follow a sentence; empty when there are none. */
export async function logTail(home: string, offset: number): Promise<string> {
  const path = join(home, 'postgres.log');
  const size = await logSize(home);
  const from = Math.max(offset, size - TAIL_BYTES_MAX);
  if (size <= from) return '';
  const handle = await open(path, 'r').catch(() => undefined);
  if (handle === undefined) return '';
  try {
    const { buffer, bytesRead } = await handle.read(Buffer.alloc(size - from), 0, size - from, from);
    const lines = buffer.toString('utf8', 0, bytesRead).trimEnd().split('\n').slice(-TAIL_LINES_MAX);
    return `\nThe last lines of ${path}:\n${lines.map((line) => `  ${line}`).join('\n')}`;
  } finally {
    await handle.close();
  }
}
