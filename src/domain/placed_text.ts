/**
 * Why a worker got a step, as it is stored with each assignment: only what the rest follows from. Whole and as JSON it
 * was a third of a run's row, and a row is written three times.
 */
import { type Explanation, placedExplanation } from './explain.ts';
import type { Rank } from './rank.ts';

type Flag = 0 | 1;
type RankPart = [
  unbiased: Flag,
  sticky: Flag,
  deviceAskedFor: Flag,
  highestWeight: number,
  weightSum: number,
  tagsCover: Flag,
  slotsShareUsed: number,
  lastAssignSequence: number,
  lastAssignMs: number | null,
  workerNumber: number,
];
type Stored = [fitting: number, asOfMs: number, ranked: [workerId: string, workerName: string, ...RankPart][]];

/** Of what `placedExplanation` made. */
export function placedText({ workers, workersTotal, asOfMs }: Explanation): string {
  const stored: Stored = [workersTotal, asOfMs, []];
  for (const { workerId, workerName, rank } of workers) {
    if (rank !== null) stored[2].push([workerId, workerName, ...partsOf(rank)]);
  }
  return JSON.stringify(stored);
}

/** What `placedExplanation` made. */
export function placedOf(text: string): Explanation {
  const stored = JSON.parse(text) as Stored | Explanation;
  // Before there was this form it was stored whole.
  if (!Array.isArray(stored)) return stored;
  const [fitting, asOfMs, all] = stored;
  const ranked = all.map(([workerId, name, ...parts]) => ({ worker: { workerId, name }, rank: rankOf(parts) }));
  return placedExplanation(ranked, fitting, asOfMs);
}

const flag = (is: boolean): Flag => (is ? 1 : 0);

function partsOf(rank: Rank): RankPart {
  return [
    flag(rank.unbiased),
    flag(rank.sticky),
    flag(rank.deviceAskedFor),
    rank.highestWeight,
    rank.weightSum,
    flag(rank.tagsCover),
    rank.slotsShareUsed,
    rank.lastAssignSequence,
    rank.lastAssignMs,
    rank.workerNumber,
  ];
}

function rankOf(parts: RankPart): Rank {
  const [unbiased, sticky, deviceAskedFor, highestWeight, weightSum] = parts;
  const [, , , , , tagsCover, slotsShareUsed, lastAssignSequence, lastAssignMs, workerNumber] = parts;
  return {
    unbiased: unbiased === 1,
    sticky: sticky === 1,
    deviceAskedFor: deviceAskedFor === 1,
    highestWeight,
    weightSum,
    tagsCover: tagsCover === 1,
    slotsShareUsed,
    lastAssignSequence,
    lastAssignMs,
    workerNumber,
  };
}
