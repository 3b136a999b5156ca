/** What several commands changed, gathered until it can be written: one final image a row. */
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
} from '../engine/images.ts';
import type { AttemptRow, StepOutputRow, WorkflowRow } from '../engine/rows.ts';
import {
  type NamespaceRecord,
  nameKey,
  type RunRecord,
  type StepRecord,
  type WorkerRecord,
  type WorkflowName,
} from '../engine/state.ts';
import type { LeaderboardLine, RunTotals, StepTotals } from '../engine/totals.ts';
import type { Change, RunExtent } from '../engine/turn.ts';
import { createResultChanges } from './results.ts';
import { PARTS, type Part } from './statement.ts';

/**
 * A batch is closed once it has this many rows: with thousands of them everybody waits for the store, and then the store for everybody; and …
 */
export const BATCH_ROWS_MAX = 250;
/** … or this much payload, in UTF-16 units; it can be over by one command, since none is ever split. */
export const BATCH_BYTES_MAX = 8 * 1024 * 1024;

interface RunChange {
  run: RunRecord;
  insert: { readonly inputJson: string } | null;
  outputJson: string | null;
  /** What of the row changed: the same for all changes of it, or ALL. */
  extent: RunExtent;
}

interface StepChange {
  step: StepRecord;
  insert: boolean;
  outputJson: string | null;
}

/** Ready to be sent, and to be sent again as it is. */
export interface SealedBatch {
  readonly parts: readonly Part[];
  /** The rows of each part: images that nothing changes any more. */
  readonly rows: readonly (readonly object[])[];
  /** The commands in it, in order. */
  readonly entries: readonly Entry[];
  /** What its rows carry of payloads, in UTF-16 units. */
  readonly payloadLength: number;
}

/** One command of a batch: what becomes of it once the batch is written, or never will be. */
export interface Entry {
  /** The command's kind, for the log of a failure. */
  readonly command: string;
  /** Lets its answer and its effects leave. */
  release(): void;
  /** CULPRIT: this very command cannot be written. STANDING_DOWN: whether it was is not known here. */
  abandon(why: 'CULPRIT' | 'STANDING_DOWN'): void;
}

export interface OpenBatch {
  add(changes: readonly Change[], entry: Entry): void;
  readonly hasRows: boolean;
  readonly isEmpty: boolean;
  readonly commandCount: number;
  readonly payloadLength: number;
  readonly isFull: boolean;
  /** Takes the images as they are now: to be called between two commands, never inside one. */
  seal(): SealedBatch;
}

export function createBatch(): OpenBatch {
  const runs = new Map<string, RunChange>();
  const steps = new Map<string, StepChange>();
  const workflows: WorkflowRow[] = [];
  const workflowNames = new Map<string, WorkflowName>();
  const workers = new Map<string, { readonly worker: WorkerRecord; readonly deleted: boolean }>();
  const namespaces = new Map<string, NamespaceRecord>();
  const attempts: AttemptRow[] = [];
  const stepOutputs: StepOutputRow[] = [];
  const stepTotals = new Set<StepTotals>();
  const runTotals = new Set<RunTotals>();
  const leaderboard = new Set<LeaderboardLine>();
  const retired: { readonly run_id: string }[] = [];
  const results = createResultChanges();
  const entries: Entry[] = [];
  let payloadLength = 0;

  const rowCount = () =>
    runs.size +
    steps.size +
    attempts.length +
    stepOutputs.length +
    stepTotals.size +
    runTotals.size +
    leaderboard.size +
    retired.length +
    results.size +
    workflows.length +
    workflowNames.size +
    workers.size +
    namespaces.size;

  function addChange(change: Change): void {
    switch (change.table) {
      case 'runs':
        addRun(change);
        return;
      case 'steps':
        addStep(change.step, change.insert, change.outputJson);
        return;
      case 'workflows':
        workflows.push(change.workflow);
        payloadLength += change.workflow.definition.length + change.workflow.source.length;
        return;
      case 'workflow_names':
        workflowNames.set(nameKey(change.name.namespace, change.name.name), change.name);
        return;
      case 'workers':
        workers.set(change.worker.workerId, change);
        return;
      case 'namespaces':
        namespaces.set(change.namespace.name, change.namespace);
        return;
      case 'step_outputs':
        stepOutputs.push(stepOutputRow(change));
        payloadLength += change.outputJson.length;
        return;
      case 'step_totals':
        stepTotals.add(change.totals);
        return;
      case 'run_totals':
        runTotals.add(change.totals);
        return;
      case 'leaderboard':
        leaderboard.add(change.line);
        return;
      case 'retired':
        retired.push({ run_id: change.runId });
        return;
      case 'results':
        results.set(change.result);
        return;
      case 'results_purge':
        results.purge({ namespace: change.namespace, content_hash: change.contentHash });
        return;
      case 'attempts':
        attempts.push(change.attempt);
        payloadLength += (change.attempt.failure?.length ?? 0) + (change.attempt.why?.length ?? 0);
    }
  }

  function addRun({ run, insert, outputJson, extent }: RunChange): void {
    payloadLength += (insert?.inputJson.length ?? 0) + (outputJson?.length ?? 0);
    const known = runs.get(run.runId);
    if (known === undefined) {
      runs.set(run.runId, { run, insert, outputJson, extent });
      return;
    }
    if (known.extent !== extent) known.extent = 'ALL';
    // The newest: a run that had left memory and comes back to it is another record of the same row.
    known.run = run;
    known.insert ??= insert;
    known.outputJson = outputJson ?? known.outputJson;
  }

  function addStep(step: StepRecord, insert: boolean, outputJson: string | null): void {
    payloadLength += outputJson?.length ?? 0;
    const known = steps.get(step.stepId);
    if (known === undefined) {
      steps.set(step.stepId, { step, insert, outputJson });
      return;
    }
    known.step = step;
    known.insert ||= insert;
    known.outputJson = outputJson ?? known.outputJson;
  }

  function images(): Record<Part, object[]> {
    const rows: Record<Part, object[]> = {
      runs_insert: [],
      runs_update: [],
      runs_assign: [],
      runs_execute: [],
      steps_insert: [],
      steps_update: [],
      attempts,
      step_outputs: stepOutputs,
      step_totals: [...stepTotals].map(stepTotalsRow),
      run_totals: [...runTotals].map(runTotalsRow),
      leaderboard: [...leaderboard].map(leaderboardRow),
      workflows,
      workflow_names: [...workflowNames.values()].map(workflowNameRow),
      results: results.results(),
      results_purge: results.purges(),
      workers: [],
      workers_delete: [],
      namespaces: [...namespaces.values()].map(namespaceRow),
      retired_runs: retired,
      retired_steps: retired,
      retired_step_outputs: retired,
      retired_attempts: retired,
      retired_results: retired,
    };
    for (const { run, insert, outputJson, extent } of runs.values()) {
      if (insert) rows.runs_insert.push(runInsertRow(run, insert.inputJson, outputJson));
      else if (extent === 'ASSIGNMENT') rows.runs_assign.push(runAssignRow(run));
      else if (extent === 'EXECUTION') rows.runs_execute.push(runExecuteRow(run, outputJson));
      else rows.runs_update.push(runUpdateRow(run, outputJson));
    }
    for (const { step, insert, outputJson } of steps.values()) {
      if (insert) rows.steps_insert.push(stepInsertRow(step, outputJson));
      else rows.steps_update.push(stepUpdateRow(step, outputJson));
    }
    for (const { worker, deleted } of workers.values()) {
      if (deleted) rows.workers_delete.push({ worker_id: worker.workerId });
      else rows.workers.push(workerRow(worker));
    }
    return rows;
  }

  return {
    get hasRows() {
      return rowCount() > 0;
    },
    get isEmpty() {
      return entries.length === 0;
    },
    get commandCount() {
      return entries.length;
    },
    get payloadLength() {
      return payloadLength;
    },
    get isFull() {
      return rowCount() >= BATCH_ROWS_MAX || payloadLength >= BATCH_BYTES_MAX;
    },
    add(changes, entry) {
      for (const change of changes) addChange(change);
      entries.push(entry);
    },
    seal() {
      const rows = images();
      const parts = PARTS.filter((part) => rows[part].length > 0);
      return { parts, rows: parts.map((part) => rows[part]), entries, payloadLength };
    },
  };
}
