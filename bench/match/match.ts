/**
 * The engine alone: many steps wait, every worker but a few is busy. A run arrives and waits, or is taken at once; a step
 * ends and its worker gets the next; a label changes and its worker gets a step. The floor is the same with few waiting.
 */
import { stopProcess } from '../support/processes.ts';
import { atMost, type Bench, grouped, latencyFigures } from '../support/report.ts';
import type { Site } from '../support/site.ts';
import { medianOfRounds, type Summary } from '../support/statistics.ts';
import type { MatchSizes, Measured } from './match.process.ts';

const SIZES: MatchSizes = { pending: 1_000_000, actions: 10, groups: 100, workers: 10_000, rounds: 5, perRound: 2_000 };
const SMOKE: MatchSizes = { pending: 5_000, actions: 2, groups: 10, workers: 200, rounds: 1, perRound: 100 };
const FEWER = 100;
const PROCESS = new URL('./match.process.ts', import.meta.url);
const FLAGS = ['--expose-gc', '--max-old-space-size=8192'];
const KINDS = {
  arrival: 'arrival',
  takenArrival: 'arrival, taken',
  completion: 'completion',
  labelChange: 'label change',
};

export const match: Bench = async (site, smoke) => {
  const sizes = smoke ? SMOKE : SIZES;
  const fewer = sizes.pending / FEWER;
  const many = await measure(site, sizes);
  const few = await measure(site, { ...sizes, pending: fewer });
  const figures: Record<string, number> = { 'heap bytes a pending step': many.bytesPerPending };
  const targets = [atMost('heap bytes a pending step', many.bytesPerPending, 300)];
  for (const [kind, name] of Object.entries(KINDS)) {
    const large = many.summaries[kind as keyof typeof KINDS];
    const small = few.summaries[kind as keyof typeof KINDS];
    const ratio = large.p50 / small.p50;
    Object.assign(figures, latencyFigures(`${name}, ${grouped(sizes.pending)},`, large, 'µs'));
    Object.assign(figures, { [`${name}, ${grouped(fewer)}, p50 µs`]: small.p50, [`${name}, ratio p50`]: ratio });
    targets.push(atMost(`${name} p99 µs`, large.p99, 50), atMost(`${name} p50 / of ${grouped(fewer)}`, ratio, 2));
  }
  return { figures, targets };
};

async function measure(site: Site, sizes: MatchSizes) {
  site.doing(`${sizes.pending} pending steps`);
  const [child, { bytesPerPending, ...rounds }] = await site.start<Measured>(PROCESS, sizes, { flags: FLAGS });
  await stopProcess(child);
  const summaries: Record<keyof typeof KINDS, Summary> = {
    arrival: medianOfRounds(rounds.arrival),
    takenArrival: medianOfRounds(rounds.takenArrival),
    completion: medianOfRounds(rounds.completion),
    labelChange: medianOfRounds(rounds.labelChange),
  };
  return { bytesPerPending, summaries };
}
