/** One graphile-worker as its documentation measures throughput; says how long it took until no job was left. */
import { setTimeout as sleep } from 'node:timers/promises';
import { run } from 'graphile-worker';
import { nowNs, onOrder, say, settings } from './child.ts';
import { openPeer, PEER_CONCURRENCY, PEER_LOCAL_QUEUE_SIZE, PEER_QUIET, PEER_TASK } from './peer.ts';

const LOOK_EVERY_MS = 2;
const { databaseUrl, jobs, batched } = settings<{ databaseUrl: string; jobs: number; batched: boolean }>();
const peer = await openPeer(databaseUrl, 1);
// Not a literal where it is used: versions before 0.17 do not know all of it.
const worker = {
  connectionString: databaseUrl,
  concurrentJobs: PEER_CONCURRENCY,
  maxPoolSize: PEER_CONCURRENCY + 1,
  localQueue: { size: PEER_LOCAL_QUEUE_SIZE },
  ...(batched ? { completeJobBatchDelay: 0, failJobBatchDelay: 0 } : {}),
  logger: PEER_QUIET,
};
let fromNs = '';
let taken = 0;

onOrder(async () => {
  fromNs = nowNs();
  await run({
    preset: { worker },
    noHandleSignals: true,
    taskList: {
      [PEER_TASK]: () => {
        taken += 1;
        if (taken === jobs) void finish();
      },
    },
  });
});

async function finish(): Promise<void> {
  while (await peer.hasJobs()) await sleep(LOOK_EVERY_MS);
  say({ fromNs, toNs: nowNs() });
}
say({ ready: true });
