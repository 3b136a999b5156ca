/** One PostgreSQL for ours and the peer: DATABASE_URL, or an embedded one with its default settings (fsync on). */
import { chmodSync, mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { SILENT_LOG } from '../../src/lib/log.ts';
import { openEmbedded } from '../../src/store/embedded.ts';

export interface BenchDatabase {
  readonly url: string;
  stop(): Promise<void>;
}

export async function openBenchDatabase(): Promise<BenchDatabase> {
  if (process.env.DATABASE_URL) return { url: process.env.DATABASE_URL, stop: async () => {} };
  const folder = mkdtempSync(join(tmpdir(), 'yardmaster-bench-'));
  // Below a folder that only root may enter, the data of a server started by root would be kept elsewhere, for good.
  chmodSync(folder, 0o755);
  const embedded = await openEmbedded({ dataDirectory: join(folder, 'data'), log: SILENT_LOG });
  return {
    url: embedded.url,
    async stop() {
      await embedded.stop();
      rmSync(folder, { recursive: true, force: true });
    },
  };
}
