/** Which waiting runs a worker may take, as an operator asks. */
import { suits } from '../domain/feasibility.ts';
import { comparePlaces } from '../domain/priority.ts';
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
  const steps: StepRecord[] = [];
  for (const demand of demandsFor(state, worker)) {
    // No page needs more of one demand than a page has, and one that tells whether there is another.
    steps.push(...demand.queue.after(command.after, command.limit + 1));
  }
  steps.sort(comparePlaces);
  const firsts = steps.filter((step) => isFirstOfItsRun(step, worker));
  const page = firsts.slice(0, command.limit);
  const last = page.at(-1);
  const next = firsts.length > page.length && last !== undefined ? last : null;
  return {
    runs: page.map((step) => runView(step.run, '')),
    next: next === null ? null : { priority: next.priority, readySequence: next.readySequence },
  };
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
