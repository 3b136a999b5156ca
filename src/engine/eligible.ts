/** Which waiting runs a worker may take, as an operator asks. */
import { suits } from '../domain/feasibility.ts';
import { comparePlaces, type QueuePlace } from '../domain/priority.ts';
import { isRefusal, type Refusal } from '../domain/refusal.ts';
import type { CommandOf, ResultOf } from './commands.ts';
import {
  type DemandRecord,
  type EngineState,
  nameKey,
  pinnedKey,
  type StepRecord,
  type WorkerRecord,
} from './state.ts';
import { runView } from './views.ts';
import { findWorker } from './workers.ts';

/** In queue order, each run once, at the place of its first waiting step that fits; free slots are not looked at. */
export function listEligibleRuns(
  state: EngineState,
  command: CommandOf<'list_eligible_runs'>,
): ResultOf<'list_eligible_runs'> | Refusal {
  const worker = findWorker(state, command.namespace, command.workerId);
  if (isRefusal(worker)) return worker;
  const page: StepRecord[] = [];
  let next: QueuePlace | null = null;
  for (const step of inOrder(demandsFor(state, worker), command.after)) {
    if (!isFirstOfItsRun(step, worker)) continue;
    if (page.length === command.limit) {
      next = page.at(-1) ?? null;
      break;
    }
    page.push(step);
  }
  return {
    runs: page.map((step) => runView(step.run, '')),
    next: next === null ? null : { priority: next.priority, readySequence: next.readySequence },
  };
}

// Enough of one demand at a time to be worth a search in its queue.
const STEPS_PER_LOOK = 64;

/** The steps of all these demands that come after a place, one by one, in queue order. */
function* inOrder(demands: readonly DemandRecord[], after: QueuePlace | null): Iterable<StepRecord> {
  const lanes = demands.map((demand) => ({ demand, steps: demand.queue.after(after, STEPS_PER_LOOK) }));
  for (;;) {
    let first: (typeof lanes)[number] | undefined;
    for (const lane of lanes) {
      const head = lane.steps[0];
      if (head !== undefined && (first?.steps[0] === undefined || comparePlaces(head, first.steps[0]) < 0))
        first = lane;
    }
    const step = first?.steps.shift();
    if (first === undefined || step === undefined) return;
    if (first.steps.length === 0) first.steps = first.demand.queue.after(step, STEPS_PER_LOOK);
    yield step;
  }
}

function demandsFor(state: EngineState, worker: WorkerRecord): DemandRecord[] {
  const found: DemandRecord[] = [];
  for (const action of worker.actions) {
    const actionKey = nameKey(worker.namespace, action);
    for (const key of [actionKey, pinnedKey(actionKey, worker.workerId)]) {
      for (const demand of state.demandsByLookup.get(key) ?? []) {
        if (suits(worker, demand.spec, demand.namespace.matchMode)) found.push(demand);
      }
    }
  }
  return found;
}

function isFirstOfItsRun(step: StepRecord, worker: WorkerRecord): boolean {
  return !step.run.steps.some(
    (other) =>
      other !== step &&
      other.queued &&
      comparePlaces(other, step) < 0 &&
      suits(worker, other.demand.spec, other.demand.namespace.matchMode),
  );
}
