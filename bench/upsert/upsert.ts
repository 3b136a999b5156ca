/**
 * A step waits for a label that no worker has: from the moment a worker upserts it to the entry of its handler, in turn
 * with our own dispatch.
 */
import { inTurn, type LatencySizes, type Measure, msBetween, openDispatch } from '../support/one_at_a_time.ts';
import { ask } from '../support/processes.ts';
import { atMost, type Bench, latencyFigures } from '../support/report.ts';
import { runOf } from '../support/runs.ts';
import type { Site, Yard } from '../support/site.ts';
import { medianOfRounds } from '../support/statistics.ts';

const SIZES: LatencySizes = { rounds: 5, perRound: 400, warmUp: 200 };
const SMOKE: LatencySizes = { rounds: 1, perRound: 20, warmUp: 5 };
/** A worker may change its labels ten times a second: these take turns, so that none waits for that. */
const WORKERS = 48;
const WORKER = new URL('./worker.process.ts', import.meta.url);

export const upsert: Bench = async (site, smoke) => {
  const yard = await site.openYard();
  const measureDispatch = await openDispatch(site, yard);
  const measureUpsert = await openUpsert(site, yard);
  const [upsertMs = [], dispatchMs = []] = await inTurn(site, smoke ? SMOKE : SIZES, [measureUpsert, measureDispatch]);
  const ours = medianOfRounds(upsertMs);
  const floor = medianOfRounds(dispatchMs);
  const ratio = ours.p50 / floor.p50;
  return {
    figures: { ...latencyFigures('upsert', ours), ...latencyFigures('dispatch', floor), 'ratio p50': ratio },
    targets: [atMost("p50 / dispatch's", ratio, 1.2)],
  };
};

async function openUpsert(site: Site, { address, admin }: Yard): Promise<Measure> {
  const [worker] = await site.start(WORKER, { address, workers: WORKERS });
  let model = 0;
  return async (count) => {
    const times: number[] = [];
    for (let index = 0; index < count; index++) {
      model += 1;
      await admin.scheduleRun(runOf('wait', { label: { key: 'model', value: model } }));
      const told = await ask<{ sentNs: string; enteredNs: string }>(worker, { worker: model % WORKERS, model });
      times.push(msBetween(told.sentNs, told.enteredNs));
    }
    return times;
  };
}
