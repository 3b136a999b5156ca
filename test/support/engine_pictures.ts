/** What the engine and the naive plane think, as text that can be compared. */
import type { EngineState, RunRecord, StepRecord } from '../../src/engine/state.ts';
import type { Oracle } from './oracle.ts';
import { addressOf, type OracleRun, pinOf, runStateOf } from './oracle_records.ts';

export interface Picture {
  /** Who has which step. */
  readonly held: string[];
  /** Everything that waits for a worker, in the order of the one queue. */
  readonly waiting: string[];
  /** What waits for a place of its concurrency key, in the same order. */
  readonly forPlace: string[];
  /** Runs with their pins and steps: those that go on, and those that ended lately. */
  readonly runs: string[];
  readonly slots: string[];
}

/** `known`: the runs that the engine has in memory; older ones have ended, and are forgotten. */
export function pictureOfOracle(oracle: Oracle, known: { has(runId: string): boolean }): Picture {
  const steps = oracle.steps();
  return {
    held: steps.flatMap((step) => (step.holder === null ? [] : [`${addressOf(step)} ${step.holder.name}`])).sort(),
    waiting: oracle.waiting().map(addressOf),
    forPlace: oracle.heldForPlace().map(addressOf),
    runs: oracle.runs
      .filter((run) => !run.ended || known.has(run.order.id))
      .map(shownOracleRun)
      .sort(),
    slots: oracle.workers.map((worker) => `${worker.name} ${oracle.used(worker)}/${worker.slots}`).sort(),
  };
}

function shownOracleRun(run: OracleRun): string {
  const pin = pinOf(run);
  // A preference for a worker that is gone is none.
  const shownPin = pin === null || (pin.deleted && run.order.sticky === 'SOFT') ? '-' : pin.deleted ? 'gone' : pin.name;
  const steps = run.steps.map((step) => `${step.order.name} ${step.state} ${step.failures}/${step.losses}`);
  return `${run.order.id} ${runStateOf(run)} pin ${shownPin}: ${steps.join(', ')}`;
}

/** The same of the engine. */
export function pictureOfEngine(state: EngineState): Picture {
  const live = [...state.runs.values()].flatMap((run) => run.steps).filter((step) => step.endMs === null);
  return {
    held: live
      .flatMap((step) => (step.assignment === null ? [] : [`${shownAddress(step)} ${step.assignment.worker.name}`]))
      .sort(),
    waiting: asOne([...state.demands.values()].map((demand) => [...demand.queue])),
    forPlace: asOne([...state.concurrency.values()].map((record) => [...record.held])),
    runs: [...state.runs.values()].map((run) => shownRun(state, run)).sort(),
    slots: [...state.workers.values()].map((worker) => `${worker.name} ${worker.slotsUsed}/${worker.slots}`).sort(),
  };
}

/** The queues as one, by the places that the engine gave; each of them has to be in this order already. */
function asOne(queues: readonly StepRecord[][]): string[] {
  const inOrder = (steps: readonly StepRecord[]) =>
    [...steps].sort((a, b) => b.priority - a.priority || a.readySequence - b.readySequence).map(shownAddress);
  for (const queue of queues) {
    const shown = queue.map(shownAddress);
    if (shown.join() !== inOrder(queue).join()) throw new Error(`a queue is not in order: ${shown}`);
  }
  return inOrder(queues.flat());
}

function shownAddress(step: StepRecord): string {
  return `${step.run.runId}/${step.definition.name}`;
}

function shownRun(state: EngineState, run: RunRecord): string {
  const pinned = run.sticky === 'NONE' ? null : run.pinnedWorkerId;
  const name = pinned === null ? '-' : state.workers.get(pinned)?.name;
  const shownPin = name ?? (run.sticky === 'SOFT' ? '-' : 'gone');
  const steps = run.steps.map((step) => `${step.definition.name} ${step.state} ${step.failures}/${step.losses}`);
  return `${run.runId} ${run.state} pin ${shownPin}: ${steps.join(', ')}`;
}
