/**
 * Runs that wait, and one worker with 256 slots that comes for them: from its connect until all have ended, each assigned,
 * accepted and completed with an output, all durable. Beside it graphile-worker with as many jobs and its local queue,
 * and the same with batched completions, where a crash repeats what was done already.
 */
import { PEER_HAS_LOCAL_QUEUE, PEER_NAME } from '../support/peer.ts';
import { atLeast, type Bench } from '../support/report.ts';
import { runOf } from '../support/runs.ts';
import type { Site, Yard } from '../support/site.ts';
import { median } from '../support/statistics.ts';
import { drainOurs, drainPeer } from '../support/throughput.ts';

const SIZES = { rounds: 3, runs: 50_000, warmUp: 3_000 };
const SMOKE: typeof SIZES = { rounds: 1, runs: 300, warmUp: 30 };
const SLOTS = 256;

export const drain: Bench = async (site, smoke) => {
  const { rounds, runs, warmUp } = smoke ? SMOKE : SIZES;
  const yard = await site.openYard();
  await drainByOne(site, yard, warmUp, 'warm-up');
  const ours: number[] = [];
  const peer: number[] = [];
  const batching: number[] = [];
  for (let round = 1; round <= rounds; round++) {
    ours.push(await drainByOne(site, yard, runs, `round-${round}`));
    peer.push(await drainPeer(site, yard.databaseUrl, runs, false));
    batching.push(await drainPeer(site, yard.databaseUrl, runs, true));
  }
  const ratio = median(ours) / median(peer);
  return {
    figures: {
      'yardmaster runs/s': median(ours),
      [`${peerName()} jobs/s`]: median(peer),
      '… with batched completions jobs/s': median(batching),
      ratio,
      'ratio to batched completions': median(ours) / median(batching),
    },
    targets: [atLeast('runs/s / peer', ratio, 1)],
  };
};

/** The peer's name, and whether this version has the queue it is to be measured with. */
export function peerName(): string {
  return PEER_HAS_LOCAL_QUEUE ? PEER_NAME : `${PEER_NAME} (has no local queue)`;
}

export function drainByOne(site: Site, yard: Yard, runs: number, name: string): Promise<number> {
  const workers = [{ name: `drain-${name}`, slots: SLOTS, labels: {} }];
  return drainOurs(site, yard, [{ workers, runs }], () => runOf('drain', { patient: true }));
}
