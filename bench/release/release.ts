/**
 * One worker with one slot and runs that wait for it: from the return of a handler to the entry of the next one, in turn
 * with our own dispatch.
 */
import { inTurn, type LatencySizes, type Measure, msBetween, openDispatch } from '../support/one_at_a_time.ts';
import { ask, nextMessage } from '../support/processes.ts';
import { atMost, type Bench, latencyFigures } from '../support/report.ts';
import { runOf, submitRuns } from '../support/runs.ts';
import type { Site, Yard } from '../support/site.ts';
import { medianOfRounds } from '../support/statistics.ts';

const SIZES: LatencySizes = { rounds: 5, perRound: 400, warmUp: 200 };
const SMOKE: LatencySizes = { rounds: 1, perRound: 20, warmUp: 5 };
const BUSY_MS = 8;
const WORKER = new URL('./worker.process.ts', import.meta.url);

export const release: Bench = async (site, smoke) => {
  const yard = await site.openYard();
  const measureDispatch = await openDispatch(site, yard);
  const measureRelease = await openRelease(site, yard);
  const sizes = smoke ? SMOKE : SIZES;
  const [releaseMs = [], dispatchMs = []] = await inTurn(site, sizes, [measureRelease, measureDispatch]);
  const ours = medianOfRounds(releaseMs);
  const floor = medianOfRounds(dispatchMs);
  const ratio = ours.p50 / floor.p50;
  return {
    figures: { ...latencyFigures('release', ours), ...latencyFigures('dispatch', floor), 'ratio p50': ratio },
    targets: [atMost("p50 / dispatch's", ratio, 1)],
  };
};

async function openRelease(site: Site, { address, admin }: Yard): Promise<Measure> {
  const [worker] = await site.start(WORKER, { address, busyMs: BUSY_MS });
  return async (count) => {
    await ask(worker, { count });
    const told = nextMessage<{ times: { fromNs: string; toNs: string }[] }>(worker);
    // The first finds the slot free, so it says nothing.
    await submitRuns(admin, count + 1, () => runOf('next'));
    return (await told).times.map(({ fromNs, toNs }) => msBetween(fromNs, toNs));
  };
}
