/** Rows back to the engine, after a start or a fall. */
import type { Sql } from 'postgres';
import type { LiveRows, OtherRows } from '../engine/restore.ts';
import type {
  LeaderboardRow,
  LiveRunRow,
  LiveStepRow,
  NamespaceRow,
  ResultRow,
  RunTotalsRow,
  StepTotalsRow,
  WorkerRow,
  WorkflowNameRow,
  WorkflowRow,
} from '../engine/rows.ts';
import { eachCopied } from './copied.ts';
import {
  LIVE_RUN_OWN_COLUMNS,
  LIVE_STEP_OWN_COLUMNS,
  liveRunColumns,
  liveStepColumns,
  ms,
  workflowColumns,
} from './live_rows.ts';

/** All of it in one piece. */
export async function readLiveRows(sql: Sql): Promise<LiveRows> {
  const rows = await readRowsBesideRuns(sql);
  const runs: LiveRunRow[] = [];
  await eachLiveRun(sql, (row) => runs.push({ ...row }));
  return { ...rows, runs, results: await readResultsInUse(sql) };
}

/**
 * Everything the engine needs before the runs: their steps (without their payloads), the workflows they are of and the
 * newest of every name, all workers and namespaces.
 */
export async function readRowsBesideRuns(sql: Sql): Promise<OtherRows> {
  // All on their way before the first is answered; a COPY would let none of them by.
  const [namespaces, workers, workflowNames, workflows, stepTotals, runTotals, leaderboard] = await Promise.all([
    sql<NamespaceRow[]>`
      SELECT name, match_mode, retention_ms::float8 AS retention_ms, schedule_timeout_ms::float8 AS schedule_timeout_ms
      FROM namespaces ORDER BY name`,
    readWorkers(sql),
    sql<WorkflowNameRow[]>`
      SELECT namespace, name, latest_version, last_number::float8 AS last_number
      FROM workflow_names ORDER BY namespace, name`,
    readWorkflowsInUse(sql),
    sql<StepTotalsRow[]>`
      SELECT namespace, workflow, action, succeeded::float8 AS succeeded, failed::float8 AS failed FROM step_totals`,
    sql<RunTotalsRow[]>`SELECT namespace, workflow, ended::float8 AS ended FROM run_totals`,
    sql<LeaderboardRow[]>`
      SELECT namespace, nickname, completed_count::float8 AS completed_count FROM leaderboard`,
  ]);
  const steps = await readLiveSteps(sql);
  return { namespaces, workers, workflowNames, workflows, stepTotals, runTotals, leaderboard, steps };
}

async function readWorkers(sql: Sql): Promise<WorkerRow[]> {
  return sql<WorkerRow[]>`
    SELECT worker_id, worker_number::float8 AS worker_number, namespace, name, display_name, nickname, default_worker, tags,
      labels, labels_revision::float8 AS labels_revision, actions, slots, devices, sdk, draining, crashed, session_hash, reserved,
      completed_count::float8 AS completed_count, ${ms(sql, 'register')}, ${ms(sql, 'connect')}, ${ms(sql, 'last_seen')}
    FROM workers ORDER BY worker_number`;
}

async function readWorkflowsInUse(sql: Sql): Promise<WorkflowRow[]> {
  return sql<WorkflowRow[]>`
    SELECT ${workflowColumns(sql)} FROM workflows
    WHERE (namespace, name, version) IN (
      SELECT namespace, name, latest_version FROM workflow_names
      UNION SELECT namespace, workflow, workflow_version FROM runs WHERE end_time IS NULL AND workflow IS NOT NULL)
    ORDER BY namespace, name, version`;
}

/** Those that runs which have not ended may be answered with. It looks at every such run: only for when some asked for it. */
export async function readResultsInUse(sql: Sql): Promise<ResultRow[]> {
  return sql<ResultRow[]>`
    SELECT namespace, content_hash, target, version, run_id FROM results
    WHERE (namespace, content_hash) IN (
      SELECT namespace, content_hash FROM runs WHERE end_time IS NULL AND content_hash IS NOT NULL)`;
}

/**
 * Calls `take` with the runs that have not ended, as they come: a million rows take longer to sort than to read. The row
 * is the next one's as soon as `take` returns.
 */
export function eachLiveRun(sql: Sql, take: (row: LiveRunRow) => void): Promise<void> {
  const select = () => sql`SELECT ${liveRunColumns(sql)} FROM runs WHERE end_time IS NULL`;
  return eachCopied<LiveRunRow>(sql, select, LIVE_RUN_OWN_COLUMNS, take);
}

/** A run's together, in the order of definition; those that have ended too, since others take their outputs. */
async function readLiveSteps(sql: Sql): Promise<LiveStepRow[]> {
  const steps: LiveStepRow[] = [];
  const select = () => sql`
    SELECT ${liveStepColumns(sql)} FROM runs JOIN steps ON steps.run_id = runs.run_id
    WHERE runs.end_time IS NULL AND runs.action IS NULL ORDER BY steps.run_id, place`;
  await eachCopied<LiveStepRow>(sql, select, LIVE_STEP_OWN_COLUMNS, (row) => steps.push({ ...row }));
  return steps;
}
