/** One command under way: what it may use, what it has changed, and who has to be matched before it is over. */
import type { Explanation } from '../domain/explain.ts';
import type { Effect } from './effects.ts';
import { FIRST_GENERATION } from './generations.ts';
import type { AttemptRow, ResultRow, WorkflowRow } from './rows.ts';
import type {
  ConcurrencyRecord,
  DemandRecord,
  NamespaceRecord,
  RunRecord,
  StepRecord,
  WorkerRecord,
  WorkflowName,
} from './state.ts';
import type { LeaderboardLine, RunTotals, StepTotals } from './totals.ts';

/** Ids and randomness come in with the command, so that the same commands give the same engine. */
export interface Ids {
  orderedId(): string;
  randomId(): string;
  fraction(): number;
}

/**
 * What of a run's row a change may have touched. ALL is always right; the others, of runs of one step, spare most of the
 * columns on the way that every run goes: to be given to a worker, to be accepted and to succeed.
 */
export type RunExtent = 'ALL' | 'ASSIGNMENT' | 'EXECUTION';

/** A row to be written. Its image is taken when the batch is sealed, so that a row changed twice is written once. */
export type Change =
  | {
      readonly table: 'runs';
      readonly run: RunRecord;
      readonly insert: { readonly inputJson: string } | null;
      /** Of its step, when it has only one. */
      readonly outputJson: string | null;
      readonly extent: RunExtent;
    }
  | {
      /** A step of a run that has several. */
      readonly table: 'steps';
      readonly step: StepRecord;
      readonly insert: boolean;
      readonly outputJson: string | null;
    }
  | {
      /** Of a step that ran again; the first output is in the step's row. */
      readonly table: 'step_outputs';
      readonly step: StepRecord;
      readonly generation: number;
      readonly outputJson: string;
    }
  | { readonly table: 'step_totals'; readonly totals: StepTotals }
  | { readonly table: 'run_totals'; readonly totals: RunTotals }
  | { readonly table: 'leaderboard'; readonly line: LeaderboardLine }
  /** Deletes the run, and everything that is stored of it. */
  | { readonly table: 'retired'; readonly runId: string }
  /** The success that equal runs are answered with from now on. */
  | { readonly table: 'results'; readonly result: ResultRow }
  /** Forgets those of a content hash, or all of the namespace (null). */
  | { readonly table: 'results_purge'; readonly namespace: string; readonly contentHash: string | null }
  | { readonly table: 'workflows'; readonly workflow: WorkflowRow }
  | { readonly table: 'workflow_names'; readonly name: WorkflowName }
  | { readonly table: 'workers'; readonly worker: WorkerRecord; readonly deleted: boolean }
  | { readonly table: 'namespaces'; readonly namespace: NamespaceRecord }
  | { readonly table: 'attempts'; readonly attempt: AttemptRow };

export interface Turn {
  readonly nowMs: number;
  readonly ids: Ids;
  readonly changes: Change[];
  readonly effects: Effect[];
  /** Workers that may take more than before. */
  readonly freedWorkers: Set<WorkerRecord>;
  /** Workers that the lists of open ones may show wrongly. */
  readonly unlistedWorkers: WorkerRecord[];
  /** Workers that may look different now. */
  readonly touchedWorkers: Set<WorkerRecord>;
  /** Demands with a step that waits anew. */
  readonly openedDemands: Set<DemandRecord>;
  /** Concurrency keys with a place that became free. */
  readonly freedKeys: Set<ConcurrencyRecord>;
  /** Of those, the held step that was let out to compete for the place. */
  readonly offeredHeld: Map<ConcurrencyRecord, StepRecord>;
  /** Found in this turn for steps that wait, by the key of their demand. */
  readonly explanations: Map<string, Explanation>;
  /** Ended in this turn; those that depend on them have not been told yet. */
  readonly endedRuns: RunRecord[];
}

export function createTurn(nowMs: number, ids: Ids): Turn {
  return {
    nowMs,
    ids,
    changes: [],
    effects: [],
    freedWorkers: new Set(),
    unlistedWorkers: [],
    touchedWorkers: new Set(),
    openedDemands: new Set(),
    freedKeys: new Set(),
    offeredHeld: new Map(),
    explanations: new Map(),
    endedRuns: [],
  };
}

/** Whether the run's steps have rows of their own: a single step shares its run's. */
export function hasStepRows(run: RunRecord): boolean {
  return run.onlyStep === null;
}

/** The run's row changed; `outputJson` only when the output of its single step became known. */
export function runChanged(
  turn: Turn,
  run: RunRecord,
  outputJson: string | null = null,
  extent: RunExtent = 'ALL',
): void {
  run.revision += 1;
  turn.changes.push({ table: 'runs', run, insert: null, outputJson, extent });
}

/** A step changed, and with it its run; `extent` says what, as far as they share a row. */
export function stepChanged(
  turn: Turn,
  step: StepRecord,
  outputJson: string | null = null,
  extent: RunExtent = 'ALL',
): void {
  if (!hasStepRows(step.run)) {
    runChanged(turn, step.run, outputJson, extent);
    return;
  }
  const { generation } = step;
  const isFirst = generation === FIRST_GENERATION;
  turn.changes.push({ table: 'steps', step, insert: false, outputJson: isFirst ? outputJson : null });
  if (!isFirst && outputJson !== null) turn.changes.push({ table: 'step_outputs', step, generation, outputJson });
  runChanged(turn, step.run);
}

export function workerChanged(turn: Turn, worker: WorkerRecord): void {
  turn.touchedWorkers.add(worker);
  turn.changes.push({ table: 'workers', worker, deleted: false });
}
