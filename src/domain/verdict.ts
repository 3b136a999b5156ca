/** Why a waiting step has no worker, in one word. */
import type { Demand } from './demand.ts';
import { suits, type WorkerFacts } from './feasibility.ts';
import type { MatchMode } from './tags.ts';

/** From "nobody ever" to "somebody soon". */
export type WaitingVerdict =
  | 'NO_SUCH_ACTION' // no registered worker lists the action
  | 'UNSATISFIABLE_NOW' // some do, and none has the tags and labels
  | 'DRAINING' // every one that has is draining
  | 'NOT_READY' // those that are not draining have no live, ready stream
  | 'BUSY'; // a ready one is full, or has just given the step back

/** The verdict over all workers of the demand's namespace: the best standing that any of them has. */
export function waitingVerdict(demand: Demand, mode: MatchMode, workers: Iterable<WorkerFacts>): WaitingVerdict {
  let verdict: WaitingVerdict = 'NO_SUCH_ACTION';
  for (const worker of workers) {
    if (worker.namespace !== demand.namespace || !worker.actions.has(demand.action)) continue;
    if (verdict === 'NO_SUCH_ACTION') verdict = 'UNSATISFIABLE_NOW';
    if (!suits(worker, demand, mode)) continue;
    if (!worker.draining && worker.notReadyReason === null) return 'BUSY';
    if (!worker.draining) verdict = 'NOT_READY';
    else if (verdict !== 'NOT_READY') verdict = 'DRAINING';
  }
  return verdict;
}
