/** A store that keeps final images only, as the real one does: what it holds is all that recovery gets to see. */

import { equalTarget } from '../../src/domain/equal.ts';
import type { StoredRun, StoredSuccess } from '../../src/engine/commands.ts';
import { NO_ROWS } from '../../src/engine/engine.ts';
import {
  leaderboardRow,
  namespaceRow,
  runAssignRow,
  runExecuteRow,
  runInsertRow,
  runTotalsRow,
  runUpdateRow,
  stepInsertRow,
  stepOutputRow,
  stepTotalsRow,
  stepUpdateRow,
  workerRow,
  workflowNameRow,
} from '../../src/engine/images.ts';
import type { LiveRows } from '../../src/engine/restore.ts';
import type {
  AttemptRow,
  LiveRunRow,
  LiveStepRow,
  NamespaceRow,
  ResultRow,
  RunInsertRow,
  StepInsertRow,
  StepOutputRow,
  WorkerRow,
  WorkflowNameRow,
  WorkflowRow,
} from '../../src/engine/rows.ts';
import { nameKey } from '../../src/engine/state.ts';
import type { Change } from '../../src/engine/turn.ts';

type ChangeOf<Table extends Change['table']> = Extract<Change, { table: Table }>;

export interface FakeStore {
  readonly runs: ReadonlyMap<string, RunInsertRow>;
  /** Of runs with several, by `stepKey`. */
  readonly steps: ReadonlyMap<string, StepInsertRow>;
  readonly workers: ReadonlyMap<string, WorkerRow>;
  /** Every version, in the order they were put. */
  readonly workflows: readonly WorkflowRow[];
  /** By `nameKey`. */
  readonly workflowNames: ReadonlyMap<string, WorkflowNameRow>;
  readonly attempts: readonly AttemptRow[];
  /** Those after the first of a step. */
  readonly stepOutputs: readonly StepOutputRow[];
  write(changes: readonly Change[]): void;
  /** What recovery reads: through JSON, so that nothing is shared with the engine that wrote it. */
  liveRows(): LiveRows;
  /** Successes that equal runs are answered with. */
  readonly results: ReadonlyMap<string, ResultRow>;
  /** As it is looked up for a run; version null: the newest. */
  findSuccess(contentHash: string, target: string, version: number | null): StoredSuccess | null;
  /** One run as a retry reads it, ended or not. */
  readRun(runId: string): StoredRun;
}

/** What an image of a part of a row leaves alone must not have changed. */
function expectNothingMissed(whole: RunInsertRow, partial: RunInsertRow, extent: string): void {
  for (const key of Object.keys(whole) as (keyof RunInsertRow)[]) {
    // An outage postpones a deadline in memory only; a restart postpones it as well.
    if (key === 'schedule_deadline_ms' || whole[key] === partial[key]) continue;
    const said = `${key} is ${JSON.stringify(whole[key])}, and stored as ${JSON.stringify(partial[key])}`;
    throw new Error(`run ${whole.run_id}: the image of its ${extent} misses a change: ${said}`);
  }
}

function totalsKey({ namespace, workflow, action = '' }: { namespace: string; workflow: string; action?: string }) {
  return nameKey(nameKey(namespace, workflow), action);
}

function resultKey({ namespace, content_hash, target, version }: ResultRow): string {
  return JSON.stringify([namespace, content_hash, target, version]);
}

function stepKey(runId: string, name: string): string {
  return `${runId}\n${name}`;
}

/** Holds `rows` from the start: what another engine wrote. */
export function createFakeStore(rows: LiveRows = NO_ROWS): FakeStore {
  const runs = new Map(rows.runs.map((row) => [row.run_id, storedRun(row)]));
  const steps = new Map(rows.steps.map((row) => [stepKey(row.run_id, row.name), storedStep(row)]));
  const workers = new Map(rows.workers.map((row) => [row.worker_id, row]));
  const namespaces = new Map<string, NamespaceRow>(rows.namespaces.map((row) => [row.name, row]));
  const workflows: WorkflowRow[] = [...rows.workflows];
  const workflowNames = new Map(rows.workflowNames.map((row) => [nameKey(row.namespace, row.name), row]));
  const attempts: AttemptRow[] = [];
  const stepOutputs: StepOutputRow[] = [];
  const stepTotals = new Map(rows.stepTotals.map((row) => [totalsKey(row), row]));
  const runTotals = new Map(rows.runTotals.map((row) => [totalsKey(row), row]));
  const leaderboard = new Map(rows.leaderboard.map((row) => [nameKey(row.namespace, row.nickname), row]));

  const results = new Map(rows.results.map((row) => [resultKey(row), row]));

  function purge({ namespace, contentHash }: ChangeOf<'results_purge'>): void {
    for (const [key, row] of results) {
      if (row.namespace === namespace && (contentHash ?? row.content_hash) === row.content_hash) results.delete(key);
    }
  }

  function findSuccess(contentHash: string, target: string, version: number | null): StoredSuccess | null {
    const found = [...results.values()]
      .filter((row) => row.content_hash === contentHash && row.target === target)
      .filter((row) => version === null || row.version === version)
      .sort((a, b) => b.version - a.version)[0];
    return found === undefined ? null : { runId: found.run_id, version: found.version };
  }

  function writeRun({ run, insert, outputJson, extent }: ChangeOf<'runs'>): void {
    const stored = runs.get(run.runId);
    if (insert !== null) runs.set(run.runId, runInsertRow(run, insert.inputJson, outputJson));
    else if (stored === undefined) throw new Error(`run ${run.runId} is updated before it is inserted`);
    else {
      const row = runUpdateRow(run, outputJson);
      const whole = { ...stored, ...row, ...kept(stored, row), runs_on: row.runs_on ?? stored.runs_on };
      if (extent === 'ALL') runs.set(run.runId, whole);
      else {
        const part = extent === 'ASSIGNMENT' ? runAssignRow(run) : runExecuteRow(run, outputJson);
        const partial = { ...stored, ...part, ...kept(stored, { ...stored, ...part }) };
        expectNothingMissed(whole, partial, extent);
        runs.set(run.runId, partial);
      }
    }
  }

  function writeStep({ step, insert, outputJson }: ChangeOf<'steps'>): void {
    const key = stepKey(step.run.runId, step.definition.name);
    const stored = steps.get(key);
    if (insert) steps.set(key, stepInsertRow(step, outputJson));
    else if (stored === undefined) throw new Error(`step ${step.stepId} is updated before it is inserted`);
    else {
      const row = stepUpdateRow(step, outputJson);
      steps.set(key, { ...stored, ...row, ...kept(stored, row) });
    }
  }

  function retire(runId: string): void {
    runs.delete(runId);
    for (const [key, row] of steps) if (row.run_id === runId) steps.delete(key);
    for (const [key, row] of results) if (row.run_id === runId) results.delete(key);
  }

  function writeChange(change: Change): void {
    if (change.table === 'runs') writeRun(change);
    else if (change.table === 'steps') writeStep(change);
    else if (change.table === 'attempts') attempts.push(change.attempt);
    else if (change.table === 'workflows') workflows.push(change.workflow);
    else if (change.table === 'namespaces') namespaces.set(change.namespace.name, namespaceRow(change.namespace));
    else if (change.table === 'workflow_names')
      workflowNames.set(nameKey(change.name.namespace, change.name.name), workflowNameRow(change.name));
    else if (change.table === 'step_outputs') stepOutputs.push(stepOutputRow(change));
    else if (change.table === 'step_totals') stepTotals.set(totalsKey(change.totals), stepTotalsRow(change.totals));
    else if (change.table === 'run_totals') runTotals.set(totalsKey(change.totals), runTotalsRow(change.totals));
    else if (change.table === 'leaderboard')
      leaderboard.set(nameKey(change.line.namespace, change.line.nickname), leaderboardRow(change.line));
    else if (change.table === 'retired') retire(change.runId);
    else if (change.table === 'results') results.set(resultKey(change.result), change.result);
    else if (change.table === 'results_purge') purge(change);
    else if (change.deleted) workers.delete(change.worker.workerId);
    else workers.set(change.worker.workerId, workerRow(change.worker));
  }

  return {
    runs,
    steps,
    workers,
    workflows,
    workflowNames,
    attempts,
    stepOutputs,
    results,
    findSuccess,
    write(changes) {
      for (const change of changes) writeChange(change);
    },
    liveRows() {
      const live = [...runs.values()].filter((row) => row.end_ms === null);
      const liveIds = new Set(live.map((row) => row.run_id));
      const isUsed = ({ namespace, name, version }: WorkflowRow) =>
        workflowNames.get(nameKey(namespace, name))?.latest_version === version ||
        live.some((run) => run.namespace === namespace && run.workflow === name && run.workflow_version === version);
      const read: LiveRows = {
        namespaces: [...namespaces.values()],
        workers: [...workers.values()],
        runs: live.map(liveRun),
        steps: [...steps.values()].filter((step) => liveIds.has(step.run_id)).map(liveStep),
        workflows: workflows.filter(isUsed),
        workflowNames: [...workflowNames.values()],
        stepTotals: [...stepTotals.values()],
        runTotals: [...runTotals.values()],
        leaderboard: [...leaderboard.values()],
        results: [...results.values()].filter((row) => live.some((run) => run.content_hash === row.content_hash)),
      };
      return JSON.parse(JSON.stringify(read));
    },
    readRun(runId) {
      const run = runs.get(runId);
      if (run === undefined) throw new Error(`run ${runId} is not stored`);
      const { namespace, workflow: name, workflow_version: version } = run;
      const workflow = workflows.find(
        (row) => row.namespace === namespace && row.name === name && row.version === version,
      );
      return {
        run: liveRun(run),
        steps: [...steps.values()].filter((step) => step.run_id === runId).map(liveStep),
        workflow: workflow ?? null,
        success:
          run.content_hash === null
            ? null
            : findSuccess(run.content_hash, equalTarget(name, run.action ?? ''), version),
      };
    },
  };
}

interface KeptColumns {
  readonly assignment_id: string | null;
  readonly why: string | null;
  readonly output: string | null;
}

/** What an image that does not bring them leaves as it was. */
function kept(stored: KeptColumns, row: KeptColumns): Pick<KeptColumns, 'why' | 'output'> {
  const sameAssignment = row.assignment_id !== null && row.assignment_id === stored.assignment_id;
  return { output: row.output ?? stored.output, why: row.why ?? (sameAssignment ? stored.why : null) };
}

function liveRun({ input: _input, output, why: _why, ...row }: RunInsertRow): LiveRunRow {
  return { ...row, runs_on: row.runs_on ?? '[]', output_bytes: bytesOf(output) };
}

function liveStep({ action: _action, output, why: _why, ...row }: StepInsertRow): LiveStepRow {
  return { ...row, output_bytes: bytesOf(output) };
}

const bytesOf = (output: string | null) => (output === null ? 0 : Buffer.byteLength(output));

/** Something as long as the output was: recovery is told no more of it. */
const outputOf = (bytes: number) => (bytes === 0 ? null : 'x'.repeat(bytes));

function storedRun({ output_bytes, ...row }: LiveRunRow): RunInsertRow {
  return { ...row, input: 'null', why: null, output: outputOf(output_bytes) };
}

function storedStep({ output_bytes, ...row }: LiveStepRow): StepInsertRow {
  return { ...row, action: '', why: null, output: outputOf(output_bytes) };
}
