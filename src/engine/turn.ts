/** One command under way: what it may use, what it has changed, and who has to be matched before it is over. */
import type { Effect } from './effects.ts';
import type { AttemptRow } from './rows.ts';
import type { DemandRecord, NamespaceRecord, RunRecord, WorkerRecord } from './state.ts';

/** Ids and randomness come in with the command, so that the same commands give the same engine. */
export interface Ids {
  orderedId(): string;
  randomId(): string;
  fraction(): number;
}

/** A row to be written. Its image is taken when the batch is sealed, so that a row changed twice is written once. */
export type Change =
  | {
      readonly table: 'runs';
      readonly run: RunRecord;
      readonly insert: { readonly inputJson: string } | null;
      readonly outputJson: string | null;
    }
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
  /** Workers that may look different now. */
  readonly touchedWorkers: Set<WorkerRecord>;
  /** Demands with a step that waits anew. */
  readonly openedDemands: Set<DemandRecord>;
}

export function createTurn(nowMs: number, ids: Ids): Turn {
  return {
    nowMs,
    ids,
    changes: [],
    effects: [],
    freedWorkers: new Set(),
    touchedWorkers: new Set(),
    openedDemands: new Set(),
  };
}

/** The run's row changed; `outputJson` only when the run's output became known. */
export function runChanged(turn: Turn, run: RunRecord, outputJson: string | null = null): void {
  run.revision += 1;
  turn.changes.push({ table: 'runs', run, insert: null, outputJson });
}

export function workerChanged(turn: Turn, worker: WorkerRecord): void {
  turn.touchedWorkers.add(worker);
  turn.changes.push({ table: 'workers', worker, deleted: false });
}
