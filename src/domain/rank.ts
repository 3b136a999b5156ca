/** Which of the workers that may take a step gets it. */
import type { Demand } from './demand.ts';
import { poolFor } from './devices.ts';
import type { WorkerFacts } from './feasibility.ts';
import { labelMatches } from './labels.ts';
import { tagsCover } from './tags.ts';

export interface Rank {
  /** It has not reported the input of this step as invalid. */
  readonly unbiased: boolean;
  /** It is the worker of a SOFT pin; a HARD one leaves nothing to choose. */
  readonly sticky: boolean;
  /** It has the device asked for, rather than the CPU slot that stands in for it; true when none was asked for. */
  readonly deviceAskedFor: boolean;
  /** Highest single weight among the matched optional labels; 0 when none matched. */
  readonly highestWeight: number;
  readonly weightSum: number;
  /** False for a worker that fits only because it has no tags (LEGACY). */
  readonly tagsCover: boolean;
  /** Slots in use, 0 to 1. */
  readonly slotsShareUsed: number;
  /** Place of the worker's last assignment in the order of all assignments; 0 = never had one. */
  readonly lastAssignSequence: number;
  /** When that was, for people: the order is by the place. null = never had one. */
  readonly lastAssignMs: number | null;
  /** Order of registration: only makes the choice the same every time. */
  readonly workerNumber: number;
}

export interface RankedWorker extends WorkerFacts {
  readonly lastAssignSequence: number;
  readonly lastAssignMs: number | null;
  readonly workerNumber: number;
}

/** `reporters`: ids of the workers that reported the step's input as invalid. */
export function rankOf(worker: RankedWorker, demand: Demand, reporters?: ReadonlySet<string>): Rank {
  let highestWeight = 0;
  let weightSum = 0;
  let matched = false;
  for (const desired of demand.desired) {
    if (desired.required || !labelMatches(worker.labels, desired)) continue;
    highestWeight = matched ? Math.max(highestWeight, desired.weight) : desired.weight;
    weightSum += desired.weight;
    matched = true;
  }
  return {
    unbiased: !reporters?.has(worker.workerId),
    sticky: demand.pin !== null && !demand.pin.hard && demand.pin.workerId === worker.workerId,
    deviceAskedFor: demand.device === null || poolFor(worker.devices, demand.device) === demand.device.kind,
    highestWeight,
    weightSum,
    tagsCover: tagsCover(demand.runsOn, worker.tags),
    slotsShareUsed: worker.slotsUsed / worker.slots,
    lastAssignSequence: worker.lastAssignSequence,
    lastAssignMs: worker.lastAssignMs,
    workerNumber: worker.workerNumber,
  };
}

/** Negative when `a` is the better worker. */
export function compareRanks(a: Rank, b: Rank): number {
  return (
    Number(b.unbiased) - Number(a.unbiased) ||
    Number(b.sticky) - Number(a.sticky) ||
    Number(b.deviceAskedFor) - Number(a.deviceAskedFor) ||
    b.highestWeight - a.highestWeight ||
    b.weightSum - a.weightSum ||
    Number(b.tagsCover) - Number(a.tagsCover) ||
    a.slotsShareUsed - b.slotsShareUsed ||
    a.lastAssignSequence - b.lastAssignSequence ||
    a.workerNumber - b.workerNumber
  );
}
