/**
 * As many runs as in drain, over 100 workers in four processes, with 20 different demands: a worker may take what asks
 * for its zone. In turn with drain itself and its peer.
 */
import { drainByOne, peerName } from '../drain/drain.ts';
import { atLeast, type Bench } from '../support/report.ts';
import { runOf } from '../support/runs.ts';
import type { Site, Yard } from '../support/site.ts';
import { median } from '../support/statistics.ts';
import { type DrainProcess, drainOurs, drainPeer } from '../support/throughput.ts';

const SIZES = { rounds: 3, runs: 50_000, warmUp: 3_000, zones: 20, workersPerZone: 5, processes: 4 };
const SMOKE: typeof SIZES = { rounds: 1, runs: 300, warmUp: 30, zones: 4, workersPerZone: 2, processes: 2 };
const SLOTS = 4;

export const fleet: Bench = async (site, smoke) => {
  const sizes = smoke ? SMOKE : SIZES;
  const yard = await site.openYard();
  await drainByOne(site, yard, sizes.warmUp, 'warm-up');
  const ours: number[] = [];
  const alone: number[] = [];
  const peer: number[] = [];
  for (let round = 1; round <= sizes.rounds; round++) {
    ours.push(await drainByFleet(site, yard, sizes, round));
    alone.push(await drainByOne(site, yard, sizes.runs, `round-${round}`));
    peer.push(await drainPeer(site, yard.databaseUrl, sizes.runs, false));
  }
  const ratio = median(ours) / median(alone);
  return {
    figures: {
      'fleet runs/s': median(ours),
      'drain runs/s': median(alone),
      [`${peerName()} jobs/s`]: median(peer),
      'ratio to drain': ratio,
      'ratio to peer': median(ours) / median(peer),
    },
    targets: [atLeast("runs/s / drain's", ratio, 0.8)],
  };
};

/** Each zone's workers are in one process, so that it knows how many runs will come. */
function drainByFleet(site: Site, yard: Yard, sizes: typeof SIZES, round: number): Promise<number> {
  const { runs, zones, processes, workersPerZone } = sizes;
  const workersOf = (zone: number) =>
    Array.from({ length: workersPerZone }, (_, index) => ({
      name: `fleet-${round}-${zone}-${index}`,
      slots: SLOTS,
      labels: { zone },
    }));
  const zonesEach = zones / processes;
  const parts: DrainProcess[] = Array.from({ length: processes }, (_, part) => ({
    workers: Array.from({ length: zonesEach }, (_, index) => workersOf(part * zonesEach + index)).flat(),
    runs: runs / processes,
  }));
  return drainOurs(site, yard, parts, (index) =>
    runOf('drain', { label: { key: 'zone', value: index % zones }, patient: true }),
  );
}
