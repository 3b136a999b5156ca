/** A store that keeps final images only, as the real one does: what it holds is all that recovery gets to see. */
import { namespaceRow, runInsertRow, runUpdateRow, workerRow } from '../../src/engine/images.ts';
import type { LiveRows } from '../../src/engine/restore.ts';
import type { AttemptRow, NamespaceRow, RunInsertRow, WorkerRow } from '../../src/engine/rows.ts';
import type { Change } from '../../src/engine/turn.ts';

export interface FakeStore {
  readonly runs: ReadonlyMap<string, RunInsertRow>;
  readonly workers: ReadonlyMap<string, WorkerRow>;
  readonly attempts: readonly AttemptRow[];
  write(changes: readonly Change[]): void;
  /** What recovery reads: through JSON, so that nothing is shared with the engine that wrote it. */
  liveRows(): LiveRows;
}

const NO_ROWS: LiveRows = { namespaces: [], workers: [], runs: [] };

/** Holds `rows` from the start: what another engine wrote. */
export function createFakeStore(rows: LiveRows = NO_ROWS): FakeStore {
  const runs = new Map<string, RunInsertRow>(
    rows.runs.map((row) => [row.run_id, { ...row, input: 'null', output: null }]),
  );
  const workers = new Map<string, WorkerRow>(rows.workers.map((row) => [row.worker_id, row]));
  const namespaces = new Map<string, NamespaceRow>(rows.namespaces.map((row) => [row.name, row]));
  const attempts: AttemptRow[] = [];

  function writeRun(change: Extract<Change, { table: 'runs' }>): void {
    const { run, insert, outputJson } = change;
    const stored = runs.get(run.runId);
    if (insert !== null) runs.set(run.runId, runInsertRow(run, insert.inputJson, outputJson));
    else if (stored === undefined) throw new Error(`run ${run.runId} is updated before it is inserted`);
    else runs.set(run.runId, { ...stored, ...runUpdateRow(run, outputJson), output: outputJson ?? stored.output });
  }

  return {
    runs,
    workers,
    attempts,
    write(changes) {
      for (const change of changes) {
        if (change.table === 'runs') writeRun(change);
        else if (change.table === 'attempts') attempts.push(change.attempt);
        else if (change.table === 'namespaces') namespaces.set(change.namespace.name, namespaceRow(change.namespace));
        else if (change.deleted) workers.delete(change.worker.workerId);
        else workers.set(change.worker.workerId, workerRow(change.worker));
      }
    },
    liveRows() {
      const live = [...runs.values()].filter((row) => row.end_ms === null);
      return JSON.parse(
        JSON.stringify({ namespaces: [...namespaces.values()], workers: [...workers.values()], runs: live }),
      );
    },
  };
}
