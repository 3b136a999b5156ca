/**
 * Our dispatch while many steps wait that no worker may take, in turn with the same on a plane where nothing waits. They
 * ask for the same action as what is dispatched, and differ from it by a label.
 */
import { inTurn, type LatencySizes, openDispatch } from '../support/one_at_a_time.ts';
import { atMost, type Bench, latencyFigures } from '../support/report.ts';
import { runOf, submitRuns } from '../support/runs.ts';
import { medianOfRounds } from '../support/statistics.ts';

const SIZES = { rounds: 5, perRound: 400, warmUp: 300, backlog: 100_000, demands: 100 };
const SMOKE: typeof SIZES = { rounds: 1, perRound: 20, warmUp: 5, backlog: 1_000, demands: 10 };

export const backlog: Bench = async (site, smoke) => {
  const sizes = smoke ? SMOKE : SIZES;
  const latencySizes: LatencySizes = sizes;
  const full = await site.openYard();
  const empty = await site.openYard();
  site.doing(`submitting ${sizes.backlog} runs that nobody takes`);
  await submitRuns(full.admin, sizes.backlog, (index) =>
    runOf('dispatch', { label: { key: 'nobody', value: index % sizes.demands }, patient: true }),
  );
  const measures = [await openDispatch(site, full), await openDispatch(site, empty)];
  const [fullMs = [], emptyMs = []] = await inTurn(site, latencySizes, measures);
  const ours = medianOfRounds(fullMs);
  const floor = medianOfRounds(emptyMs);
  const ratio = ours.p50 / floor.p50;
  return {
    figures: { ...latencyFigures('with backlog', ours), ...latencyFigures('without', floor), 'ratio p50': ratio },
    targets: [atMost("p50 / dispatch's", ratio, 1.1)],
  };
};
