/** Why a waiting step has no worker, in one word. */
import type { Demand } from './demand.ts';
import { type ClauseName, suits, type WorkerFacts } from './feasibility.ts';
import type { MatchMode } from './tags.ts';

/** From "nobody ever" to "somebody soon". */
export type WaitingVerdict =
  | 'NO_SUCH_ACTION' // no registered worker lists the action
  | 'UNSATISFIABLE_NOW' // some do, and none has the tags and labels
  | 'DRAINING' // every one that has is draining
  | 'NOT_READY' // those that are not draining have no live, ready stream
  | 'BUSY'; // a ready one is full, or has just given the step back

const STANDINGS: Readonly<Record<WaitingVerdict, number>> = {
  NO_SUCH_ACTION: 0,
  UNSATISFIABLE_NOW: 1,
  DRAINING: 2,
  NOT_READY: 3,
  BUSY: 4,
};

/** Negative when `a` is the worse standing. */
export function compareStandings(a: WaitingVerdict, b: WaitingVerdict): number {
  return STANDINGS[a] - STANDINGS[b];
}

/** What one worker of the namespace makes possible by itself, from the clauses it fails. */
export function standingOf(
  failed: readonly { readonly clause: ClauseName; readonly busy?: boolean }[],
): WaitingVerdict {
  let standing: WaitingVerdict = 'BUSY';
  for (const { clause, busy } of failed) {
    const allows = busy ? 'BUSY' : ALLOWED_BY[clause];
    if (compareStandings(allows, standing) < 0) standing = allows;
  }
  return standing;
}

/** The best standing of a worker that fails this clause. */
const ALLOWED_BY: Readonly<Record<ClauseName, WaitingVerdict>> = {
  ACTION: 'NO_SUCH_ACTION',
  RUNS_ON: 'UNSATISFIABLE_NOW',
  LABEL: 'UNSATISFIABLE_NOW',
  STICKY: 'UNSATISFIABLE_NOW',
  DEVICE: 'UNSATISFIABLE_NOW',
  DRAINING: 'DRAINING',
  NOT_READY: 'NOT_READY',
  SLOT: 'BUSY',
  RETURNED_BEFORE: 'BUSY',
};

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
