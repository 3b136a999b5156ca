/** Measures the engine in a process of its own, so that its heap is its own; says what it found. */
import { say, settings } from '../support/child.ts';
import { createMatchYard, type MatchYard, type WaitsFor } from './yard.ts';

export interface MatchSizes {
  readonly pending: number;
  readonly actions: number;
  readonly groups: number;
  readonly workers: number;
  readonly rounds: number;
  readonly perRound: number;
}

/** Microseconds by round, for each kind of command. */
export interface Measured {
  readonly arrival: number[][];
  readonly takenArrival: number[][];
  readonly completion: number[][];
  readonly labelChange: number[][];
  readonly bytesPerPending: number;
}

const US_PER_MS = 1_000;
const FILL_BATCH = 1_000;
/** Workers that are free, and fit nothing until they change a label. */
const ROVERS = 100;
const NO_GROUP = -1;
const SPARE_GROUP = -2;

function measure(sizes: MatchSizes): Measured {
  const yard = createMatchYard();
  const demandAt = spread(sizes);
  fillFleet(yard, sizes, demandAt);
  const before = heapBytes();
  fillQueue(yard, sizes.pending, demandAt);
  const bytesPerPending = (heapBytes() - before) / sizes.pending;
  const commands = commandsOf(yard, sizes);
  const rounds = () => Array.from({ length: sizes.rounds }, (): number[] => []);
  const found = { arrival: rounds(), takenArrival: rounds(), completion: rounds(), labelChange: rounds() };
  for (let round = 0; round < sizes.rounds; round++) {
    for (let index = 0; index < sizes.perRound; index++) {
      for (const [kind, command] of Object.entries(commands)) found[kind as keyof typeof found][round]?.push(command());
    }
  }
  return { ...found, bytesPerPending };
}

type DemandAt = (index: number) => WaitsFor;

/** Action and group differ, so that every worker serves the action of every demand, and its label decides. */
function spread({ actions, groups }: MatchSizes): DemandAt {
  return (index) => ({ action: `action-${index % actions}`, group: Math.floor(index / actions) % groups });
}

/** Every worker busy, and a few that are free. */
function fillFleet(yard: MatchYard, { workers, actions, groups }: MatchSizes, demandAt: DemandAt): void {
  const served = Array.from({ length: actions }, (_, index) => `action-${index}`);
  for (let worker = 0; worker < workers; worker++) yard.hello(worker, served, worker % groups);
  for (let worker = 0; worker < workers; worker++) {
    yard.submission(1, () => ({ action: demandAt(worker).action, group: worker % groups }))();
  }
  yard.acceptAll();
  for (let rover = 0; rover < ROVERS; rover++) yard.hello(workers + rover, served, NO_GROUP);
  yard.upsert(workers, SPARE_GROUP);
}

function fillQueue(yard: MatchYard, pending: number, demandAt: DemandAt): void {
  for (let from = 0; from < pending; from += FILL_BATCH) {
    yard.submission(Math.min(FILL_BATCH, pending - from), (index) => demandAt(from + index))();
  }
}

/**
 * Each applies the next of its kind and answers with its microseconds; what it needs before and after is not counted. What
 * is taken from a group's queues is put back into them, so that as many wait at the end as at the beginning.
 */
function commandsOf(yard: MatchYard, { workers, actions, groups }: MatchSizes) {
  const walks = { arrival: walk(), takenArrival: walk(), completion: walk(), labelChange: walk() };
  const spare = workers;
  const submission = (place: number, group: number) =>
    yard.submission(1, () => ({ action: `action-${place % actions}`, group }));
  return {
    arrival() {
      const place = walks.arrival();
      return microseconds(submission(place, (place % workers) % groups));
    },
    takenArrival() {
      const us = microseconds(submission(walks.takenArrival(), SPARE_GROUP));
      expectTaken(yard, spare);
      yard.complete(spare);
      return us;
    },
    completion() {
      const worker = walks.completion() % workers;
      const us = microseconds(() => yard.complete(worker));
      expectTaken(yard, worker);
      return us;
    },
    labelChange() {
      const place = walks.labelChange();
      const rover = workers + 1 + (place % (ROVERS - 1));
      const group = place % groups;
      const us = microseconds(() => yard.upsert(rover, group));
      expectTaken(yard, rover);
      yard.upsert(rover, NO_GROUP);
      yard.complete(rover);
      submission(place, group)();
      return us;
    },
  };
}

/** Over everything, by the steps of a prime; the same for all kinds. */
function walk(): () => number {
  let steps = 0;
  return () => ++steps * 7_919;
}

function expectTaken(yard: MatchYard, by: number): void {
  const taken = yard.acceptAll();
  if (taken.length !== 1 || taken[0] !== by) throw new Error(`worker ${by} was to get one step; it went to ${taken}`);
}

function microseconds(call: () => void): number {
  const fromMs = performance.now();
  call();
  return (performance.now() - fromMs) * US_PER_MS;
}

function heapBytes(): number {
  if (globalThis.gc === undefined) throw new Error('node needs --expose-gc');
  globalThis.gc();
  globalThis.gc();
  return process.memoryUsage().heapUsed;
}

say(measure(settings<MatchSizes>()));
