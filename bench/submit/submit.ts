/**
 * Submissions, while nobody takes anything: in batches of 1 000, and one by one with 64 in flight. Beside it
 * graphile-worker's addJobs and addJob in the same way, in turn.
 */
import { openPeer, PEER_CONCURRENCY, PEER_NAME } from '../support/peer.ts';
import { atLeast, type Bench } from '../support/report.ts';
import { manyAtOnce, runOf, submitRuns } from '../support/runs.ts';
import { median } from '../support/statistics.ts';

const SIZES = { rounds: 5, batched: 40_000, single: 8_000, warmUp: 2_000 };
const SMOKE: typeof SIZES = { rounds: 1, batched: 2_000, single: 100, warmUp: 20 };
const BATCH = 1_000;
const BATCHES_IN_FLIGHT = 4;
const IN_FLIGHT = 64;

export const submit: Bench = async (site, smoke) => {
  const { rounds, batched, single, warmUp } = smoke ? SMOKE : SIZES;
  const { admin, databaseUrl } = await site.openYard();
  const peer = await openPeer(databaseUrl, PEER_CONCURRENCY);
  const request = () => runOf('submit', { patient: true });
  const ways: Record<string, (count: number) => Promise<void>> = {
    batches: (count) => submitRuns(admin, count, request, BATCHES_IN_FLIGHT),
    single: (count) => manyAtOnce(count, IN_FLIGHT, () => admin.scheduleRun(request())),
    peerBatches: (count) => manyAtOnce(count / BATCH, BATCHES_IN_FLIGHT, () => peer.addJobs(BATCH)),
    peerSingle: (count) => manyAtOnce(count, IN_FLIGHT, () => peer.addJob()),
  };
  const rates: Record<string, number[]> = {};
  for (const [way, submitMany] of Object.entries(ways)) {
    site.doing(`warming up ${way}`);
    rates[way] = [];
    await submitMany(Math.max(way.includes('atches') ? BATCH : 1, warmUp));
  }
  for (let round = 1; round <= rounds; round++) {
    site.doing(`round ${round} of ${rounds}`);
    for (const [way, submitMany] of Object.entries(ways)) {
      rates[way]?.push(await ratePerSecond(way.includes('atches') ? batched : single, submitMany));
    }
  }
  await peer.release();
  const of = (way: string) => median(rates[way] ?? []);
  return {
    figures: {
      'ScheduleRuns, batches of 1 000, runs/s': of('batches'),
      [`${PEER_NAME} addJobs jobs/s`]: of('peerBatches'),
      'ratio in batches': of('batches') / of('peerBatches'),
      'ScheduleRun, 64 in flight, runs/s': of('single'),
      [`${PEER_NAME} addJob jobs/s`]: of('peerSingle'),
      'ratio one by one': of('single') / of('peerSingle'),
    },
    targets: [
      atLeast('ScheduleRuns runs/s', of('batches'), 20_000),
      atLeast('ScheduleRun runs/s', of('single'), 5_000),
    ],
  };
};

async function ratePerSecond(count: number, submitMany: (count: number) => Promise<void>): Promise<number> {
  const fromMs = performance.now();
  await submitMany(count);
  return (count * 1_000) / (performance.now() - fromMs);
}
