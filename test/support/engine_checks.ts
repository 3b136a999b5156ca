/** What must hold of the engine after every command of a duel, whatever the naive plane thinks. */

import { expect } from 'vitest';
import { comparePlaces } from '../../src/domain/priority.ts';
import { type StepState, stepEnded } from '../../src/domain/step.ts';
import type { ConcurrencyRecord, EngineState, RunRecord } from '../../src/engine/state.ts';
import { NO_TIMER, NOWHERE } from '../../src/engine/timers.ts';
import type { Duel } from './engine_duel.ts';
import { pictureOfEngine, pictureOfOracle } from './engine_pictures.ts';
import { addressOf } from './oracle_records.ts';

const ENDED: readonly StepState[] = ['SUCCEEDED', 'FAILED', 'CRASHED', 'TIMED_OUT', 'CANCELLED', 'SKIPPED'];
/** Where a step may be after one command, by where it was before. Several moves may lie in between. */
const AFTER: Partial<Record<StepState, readonly StepState[]>> = {
  BLOCKED: ['PENDING', 'ASSIGNED', 'FAILED', 'CANCELLED', 'SKIPPED'],
  PENDING: ['BLOCKED', 'ASSIGNED', 'FAILED', 'TIMED_OUT', 'CANCELLED'],
  ASSIGNED: ['BLOCKED', 'PENDING', 'RUNNING', 'FAILED', 'TIMED_OUT', 'CANCELLED'],
  RUNNING: ['PENDING', 'ASSIGNED', 'BLOCKED', 'SUCCEEDED', 'FAILED', 'CRASHED', 'TIMED_OUT', 'CANCELLED'],
};
const AFTER_RETRY: readonly StepState[] = ['BLOCKED', 'PENDING', 'ASSIGNED', 'FAILED', 'SKIPPED'];

export function expectSame({ yard, oracle }: Duel): void {
  const { state } = yard.engine;
  const expected = pictureOfOracle(oracle, state.runs);
  const found = pictureOfEngine(state);
  // Comparing text first: a matcher costs a hundred times as much, and is needed only to show a difference.
  if (JSON.stringify(found) !== JSON.stringify(expected)) expect(found).toEqual(expected);
}

export function expectNothingLeft({ yard, oracle }: Duel): void {
  for (const step of oracle.waiting()) {
    for (const worker of oracle.workers) {
      if (oracle.mayTake(worker, step, yard.nowMs))
        throw new Error(`${addressOf(step)} waits although ${worker.name} may take it`);
    }
  }
}

/** Whoever was given something has room for all that it holds. */
export function expectRoom({ yard, offered }: Duel): void {
  for (const connection of offered) {
    const worker = yard.engine.state.workersByConnection.get(connection);
    if (worker === undefined || worker.slotsUsed > worker.slots) throw new Error(`${worker?.name} was given too much`);
  }
}

/** A check that remembers where every step was. */
export function legalMoves() {
  const before = new Map<string, StepState>();
  return ({ yard, commands }: Duel) => {
    const last = commands.findLast(({ command }) => command.kind !== 'handed_over')?.command;
    const retried = last?.kind === 'retry_run' ? last.runId : null;
    for (const run of yard.engine.state.runs.values()) {
      for (const { definition, state } of run.steps) {
        const address = `${run.runId}/${definition.name}`;
        const was = before.get(address) ?? 'BLOCKED';
        const isEnd = ENDED.includes(was);
        const may = isEnd && was !== 'SUCCEEDED' && retried === run.runId ? AFTER_RETRY : AFTER[was];
        if (state !== was && !may?.includes(state)) throw new Error(`${address} went from ${was} to ${state}`);
        before.set(address, state);
      }
    }
  };
}

/** Whatever is kept besides the records themselves says the same as they do, and nothing more. */
export function expectIndexes(state: EngineState): void {
  expectWorkers(state);
  expectQueues(state);
  expectPlaces(state);
  expectPins(state);
  expectDependents(state);
  expectNoTimers(state);
}

function expectWorkers(state: EngineState): void {
  for (const worker of state.workers.values()) {
    const room = worker.slots > worker.assignments.size + worker.reserved.size;
    const ready = worker.connection !== null && !worker.draining && !worker.acceptMissed && !worker.backPressured;
    const listed = [...worker.actions].map((action) => state.openWorkers.get(`${worker.namespace}\n${action}`));
    if (worker.open !== (room && ready) || listed.some((open) => (open?.has(worker) ?? false) !== worker.open))
      throw new Error(`${worker.name} is listed as ${worker.open ? 'open' : 'not open'}, and wrongly`);
  }
}

function expectQueues(state: EngineState): void {
  const listed = [...state.demandsByLookup.values()].flatMap((demands) => [...demands]);
  if (listed.length !== state.demands.size) throw new Error('the two indexes of demands differ in size');
  for (const demand of state.demands.values()) {
    const first = demand.queue.first();
    if (first === undefined) throw new Error('an empty demand is kept');
    if (comparePlaces(demand, first) !== 0) throw new Error(`${demand.key} is not at the place of its first step`);
    if (!state.demandsByLookup.get(demand.lookupKey)?.has(demand)) throw new Error(`${demand.key} is not looked up`);
  }
}

function liveRuns(state: EngineState): RunRecord[] {
  return [...state.runs.values()].filter((run) => run.endMs === null);
}

function expectPlaces(state: EngineState): void {
  const found = [...state.concurrency.values()].map(shownPlaces);
  expectText(found, placesOf(state, liveRuns(state)), 'concurrency');
}

function shownPlaces({ key, live, held, waiting }: ConcurrencyRecord): string {
  const steps = [...held].map((step) => step.stepId).sort();
  return `${key} live ${live} held ${steps} waiting ${[...waiting].map((run) => run.runId).sort()}`;
}

/** What the records of the keys have to say, made from the runs alone. */
function placesOf(state: EngineState, runs: readonly RunRecord[]): string[] {
  const keyOf = (run: RunRecord) => `${run.namespace.name}\n${run.concurrency?.key}`;
  const keys = new Set(runs.flatMap((run) => (run.concurrency === null ? [] : [keyOf(run)])));
  return [...keys].flatMap((key) => {
    const its = runs.filter((run) => run.concurrency !== null && keyOf(run) === key);
    const live = its.filter((run) => run.live).length;
    const held = its.flatMap((run) => run.steps.filter((step) => step.blockedOn === 'HELD').map((step) => step.stepId));
    const waiting = its.filter((run) => !run.live && run.steps.some((step) => step.queued)).map((run) => run.runId);
    const isEmpty = live + held.length + waiting.length === 0;
    // A run of the key that waits for something else may have a record, and needs none.
    if (isEmpty && !state.concurrency.has(key)) return [];
    return [`${key} live ${live} held ${held.sort()} waiting ${waiting.sort()}`];
  });
}

function expectPins(state: EngineState): void {
  const found = [...state.pinnedRuns].flatMap(([workerId, runs]) => [...runs].map((run) => `${workerId} ${run.runId}`));
  const expected = liveRuns(state).flatMap(({ sticky, pinnedWorkerId, runId }) =>
    sticky === 'NONE' || pinnedWorkerId === null ? [] : [`${pinnedWorkerId} ${runId}`],
  );
  expectText(found, expected, 'pinnedRuns');
}

function expectDependents(state: EngineState): void {
  const found = [...state.dependents].flatMap(([runId, runs]) => [...runs].map((run) => `${runId} ${run.runId}`));
  const expected = liveRuns(state).flatMap((run) =>
    run.openDependencies === 0
      ? []
      : run.dependsOn.flatMap((id) => (state.runs.get(id)?.endMs === null ? [`${id} ${run.runId}`] : [])),
  );
  expectText(found, expected, 'dependents');
  const open = liveRuns(state).reduce((total, run) => total + run.openDependencies, 0);
  if (open !== found.length) throw new Error(`${open} dependencies are open, ${found.length} are listed`);
}

function expectNoTimers(state: EngineState): void {
  for (const step of [...state.runs.values()].flatMap((run) => run.steps)) {
    const timers = [step.backoffTimer, step.reofferTimer];
    const isTimed = step.timerPlace !== NOWHERE || timers.some((timer) => timer !== NO_TIMER);
    if (stepEnded(step.state) && isTimed) throw new Error(`${step.stepId} has ended, and has a timer`);
  }
}

function expectText(found: string[], expected: string[], what: string): void {
  if (found.sort().join('\n') !== expected.sort().join('\n')) expect({ [what]: found }).toEqual({ [what]: expected });
}
