/** Who may take a step. Placement asks for the verdict, an explanation for the list of what fails: from the same clauses. */
import type { Demand } from './demand.ts';
import { type DesiredLabel, type Labels, type LabelValue, labelMatches } from './labels.ts';
import { type MatchMode, tagsAllow } from './tags.ts';

/** What the rules need to know of a worker. */
export interface WorkerFacts {
  readonly namespace: string;
  readonly tags: ReadonlySet<string>;
  readonly labels: Labels;
  readonly actions: ReadonlySet<string>;
  readonly slots: number;
  /** Assignments held, and places kept for handlers that were told to stop and have not. */
  readonly slotsUsed: number;
  readonly draining: boolean;
  /** null: ready; else why not (`DISCONNECTED`, `BACK_PRESSURE`, `ACCEPT_MISSED`). */
  readonly notReadyReason: string | null;
}

type ClauseName =
  | 'ACTION'
  | 'RUNS_ON'
  | 'LABEL'
  | 'STICKY'
  | 'SLOT'
  | 'DEVICE'
  | 'DRAINING'
  | 'NOT_READY'
  | 'RETURNED_BEFORE';

export interface FailedClause {
  readonly clause: ClauseName;
  /** The label's key, for LABEL. */
  readonly key: string;
  readonly has: string;
  readonly needs: string;
}

/** Whether what the worker is (action, tags, labels) fits; changes only with labels, tags and actions. */
export function suits(worker: WorkerFacts, demand: Demand, mode: MatchMode): boolean {
  if (!worker.actions.has(demand.action) || worker.namespace !== demand.namespace) return false;
  if (!tagsAllow(demand.runsOn, worker.tags, mode)) return false;
  for (const desired of demand.desired) {
    if (desired.required && !labelMatches(worker.labels, desired)) return false;
  }
  return true;
}

/** Whether the worker can be given anything at all now: a free slot, a live session, not draining. */
export function isOpen(worker: WorkerFacts): boolean {
  return worker.slotsUsed < worker.slots && !worker.draining && worker.notReadyReason === null;
}

/** Every clause that fails, with both values; empty when the worker may take the step. */
export function failedClauses(
  worker: WorkerFacts,
  demand: Demand,
  mode: MatchMode,
  returnedBefore: boolean,
): FailedClause[] {
  const failed: FailedClause[] = [];
  const fail = (clause: ClauseName, has: string, needs: string, key = '') => failed.push({ clause, key, has, needs });
  if (!worker.actions.has(demand.action)) fail('ACTION', [...worker.actions].join(', '), demand.action);
  if (!tagsAllow(demand.runsOn, worker.tags, mode))
    fail('RUNS_ON', [...worker.tags].join(', '), demand.runsOn.join(', '));
  for (const desired of demand.desired) {
    if (!desired.required || labelMatches(worker.labels, desired)) continue;
    fail('LABEL', shown(worker.labels.get(desired.key)), needed(desired), desired.key);
  }
  if (worker.slotsUsed >= worker.slots) fail('SLOT', `${worker.slotsUsed} of ${worker.slots} in use`, 'a free slot');
  if (worker.draining) fail('DRAINING', 'draining', 'not draining');
  if (worker.notReadyReason !== null) fail('NOT_READY', worker.notReadyReason, 'a live, ready session');
  if (returnedBefore)
    fail('RETURNED_BEFORE', 'returned or did not accept this step', 'a change of its own, or some time');
  return failed;
}

function shown(value: LabelValue | undefined): string {
  if (value === undefined) return 'no such label';
  return typeof value === 'string' ? `"${value}"` : String(value);
}

const SYMBOLS: Record<DesiredLabel['comparator'], string> = {
  EQUAL: '=',
  NOT_EQUAL: '≠',
  GREATER_THAN: '>',
  GREATER_THAN_OR_EQUAL: '≥',
  LESS_THAN: '<',
  LESS_THAN_OR_EQUAL: '≤',
  IN: 'in',
  NOT_IN: 'not in',
  EXISTS: 'any value',
  NOT_EXISTS: 'no value',
};

function needed(desired: DesiredLabel): string {
  const symbol = SYMBOLS[desired.comparator];
  if (desired.values.length > 0) return `${symbol} (${desired.values.map(shown).join(', ')})`;
  return desired.value === null ? symbol : `${symbol} ${shown(desired.value)}`;
}
