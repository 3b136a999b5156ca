/**
 * kill -9 while many runs wait: from the start of the next process to the first assignment, which goes to a worker that
 * tries to connect all the time. The floor is the same with one run.
 */
import { setTimeout as sleep } from 'node:timers/promises';
import { killProcess } from '../support/processes.ts';
import { connectRawWorker } from '../support/raw_worker.ts';
import { atMost, type Bench, grouped } from '../support/report.ts';
import { residentMiB } from '../support/resources.ts';
import { runOf, submitRuns } from '../support/runs.ts';
import { PLANE, type Site } from '../support/site.ts';
import { median } from '../support/statistics.ts';

const SIZES = { rounds: 3, many: 100_000, most: 1_000_000 };
const SMOKE: typeof SIZES = { rounds: 1, many: 200, most: 2_000 };
const TRY_AGAIN_MS = 10;

export const recovery: Bench = async (site, smoke) => {
  const { rounds, many, most } = smoke ? SMOKE : SIZES;
  const yard = await site.openYard();
  const { databaseUrl, address, admin } = yard;
  let { plane } = yard;
  let waiting = 0;

  async function recoverWith(runs: number) {
    site.doing(`submitting ${runs - waiting} runs`);
    await submitRuns(admin, runs - waiting, () => runOf('recover', { patient: true }));
    waiting = runs;
    const seconds: number[] = [];
    let residentAfter = 0;
    for (let round = 1; round <= rounds; round++) {
      site.doing(`recovery with ${runs} runs, ${round} of ${rounds}`);
      await killProcess(plane);
      const recovered = await recover(site, databaseUrl, address);
      plane = recovered.plane;
      seconds.push(recovered.seconds);
      residentAfter = residentMiB(plane.pid ?? 0);
    }
    return { seconds: median(seconds), residentAfter };
  }

  const one = await recoverWith(1);
  const withMany = await recoverWith(many);
  const withMost = await recoverWith(most);
  return {
    figures: {
      'with 1 pending, s': one.seconds,
      [`with ${grouped(many)} pending, s`]: withMany.seconds,
      [`with ${grouped(most)} pending, s`]: withMost.seconds,
      [`ratio ${grouped(many)} to 1`]: withMany.seconds / one.seconds,
      [`ratio ${grouped(most)} to ${grouped(many)}`]: withMost.seconds / withMany.seconds,
      [`resident with ${grouped(most)}, MiB`]: withMost.residentAfter,
    },
    targets: [
      atMost(`${grouped(many)} pending, s`, withMany.seconds, 1.5),
      atMost(`${grouped(most)} pending, s`, withMost.seconds, 10),
    ],
  };
};

async function recover(site: Site, databaseUrl: string, address: string) {
  const startedMs = performance.now();
  const assigned = firstAssignment(address);
  const port = Number(address.split(':')[1]);
  const [[plane], assignedMs] = await Promise.all([site.start(PLANE, { databaseUrl, port }), assigned]);
  return { plane, seconds: (assignedMs - startedMs) / 1_000 };
}

/** When the first assignment came, on the clock of `performance`. The step is given back before this resolves. */
async function firstAssignment(address: string): Promise<number> {
  let assignedMs: number | null = null;
  while (assignedMs === null) {
    await new Promise<void>((resolve) => {
      const worker = connectRawWorker({
        address,
        name: 'recovery',
        action: 'recover',
        heard(message) {
          if (message.case !== 'runStep' || assignedMs !== null) return;
          assignedMs = performance.now();
          worker.goodbye();
        },
        ended: () => resolve(),
      });
    });
    await sleep(TRY_AGAIN_MS);
  }
  return assignedMs;
}
