/** graphile-worker, the peer: submits jobs, and says which version it is. Its own tables, in the given database. */
import { createRequire } from 'node:module';
import { Logger, makeWorkerUtils, type WorkerUtils } from 'graphile-worker';

export const PEER_QUIET = new Logger(() => () => {});
export const PEER_TASK = 'bench';
/** Jobs it takes from the database at once, of which its tasks are served. */
export const PEER_LOCAL_QUEUE_SIZE = 500;
/** What its own documentation measures its throughput with. */
export const PEER_CONCURRENCY = 24;

export interface Peer {
  addJob(): Promise<unknown>;
  /** In one statement, as its addJobs does it in the versions that have it. */
  addJobs(count: number): Promise<void>;
  hasJobs(): Promise<boolean>;
  release(): Promise<void>;
}

const PAYLOAD = { file: 's3://a' };

export async function openPeer(databaseUrl: string, poolSize = 10): Promise<Peer> {
  const utils = await makeWorkerUtils({ connectionString: databaseUrl, maxPoolSize: poolSize, logger: PEER_QUIET });
  await utils.migrate();
  return {
    addJob: () => utils.addJob(PEER_TASK, PAYLOAD),
    addJobs: (count) => addJobs(utils, count),
    hasJobs: () =>
      utils.withPgClient(async (client) => {
        const { rows } = await client.query<{ waits: boolean }>(
          'SELECT EXISTS (SELECT FROM graphile_worker._private_jobs) AS waits',
        );
        return rows[0]?.waits ?? false;
      }),
    release: async () => {
      await utils.release();
    },
  };
}

async function addJobs(utils: WorkerUtils, count: number): Promise<void> {
  const specs = Array.from({ length: count }, () => ({ identifier: PEER_TASK, payload: PAYLOAD }));
  await utils.withPgClient((client) =>
    client.query(
      `SELECT * FROM graphile_worker.add_jobs(
         array(SELECT json_populate_recordset(null::graphile_worker.job_spec, $1::json)), false)`,
      [JSON.stringify(specs)],
    ),
  );
}

const version = (createRequire(import.meta.url)('graphile-worker/package.json') as { version: string }).version;

/** The local queue came with 0.17: before, jobs are fetched one by one, and the settings for it do nothing. */
export const PEER_HAS_LOCAL_QUEUE = Number(version.split('.')[1]) >= 17 || Number(version.split('.')[0]) > 0;
export const PEER_NAME = `graphile-worker ${version}`;
