/** Entries together, as many as one call takes. */
import type { Entry } from './entries.ts';

/** What one call of ScheduleRuns takes, at most. */
export const BATCH_RUNS_MAX = 1_000;
/** Well below the 4 MiB that a server takes by default; one run that is larger goes by itself. */
export const BATCH_BYTES_MAX = 2 * 1024 * 1024;

export interface BatchLimits {
  readonly runsMax: number;
  readonly bytesMax: number;
  /** What one run takes besides its input. */
  readonly runBytes: number;
}

export async function* batchesOf(
  entries: AsyncIterable<Entry>,
  { runsMax, bytesMax, runBytes }: BatchLimits,
): AsyncGenerator<readonly Entry[], void> {
  let batch: Entry[] = [];
  let bytes = 0;
  for await (const entry of entries) {
    const entryBytes = runBytes + Buffer.byteLength(entry.inputJson);
    if (batch.length > 0 && (batch.length >= runsMax || bytes + entryBytes > bytesMax)) {
      yield batch;
      batch = [];
      bytes = 0;
    }
    batch.push(entry);
    bytes += entryBytes;
  }
  if (batch.length > 0) yield batch;
}
