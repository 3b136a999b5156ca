import type { Sql } from 'postgres';
import { joinOutputs } from '../../domain/outputs.ts';
import type { WorkflowDefinition } from '../../engine/images.ts';
import type { RunView } from '../../engine/views.ts';
import { readOutputs } from './read_inputs.ts';
import { type RunRow, runColumns, type StoredAttempt, viewOfRow } from './run_row.ts';

/** A run by its id (a UUID), or by its number within its workflow. */
export type RunKey = string | { readonly workflow: string; readonly number: number };

interface FullRow extends RunRow {
  readonly input: string;
  readonly output: string | null;
  readonly attempts: StoredAttempt[] | null;
  /** WorkflowDefinition of a run of several steps that has an output. */
  readonly definition_of_output: string | null;
}

/**
 * One run with its payloads, its steps and every attempt, or null. What changes is read in one statement: an attempt
 * that ends meanwhile is seen once. Outputs of several steps follow, since nothing changes one once it is there.
 */
export async function readRun(sql: Sql, namespace: string, key: RunKey): Promise<RunView | null> {
  const [row] = await sql<FullRow[]>`
    SELECT ${runColumns(sql)}, input, ${outputColumn(sql)} AS output, (
      SELECT json_agg(a ORDER BY a.assign_time, a.end_time) FROM (
        SELECT assignment_id, step_name, number, worker_id, worker_name, device, labels_revision, outcome, failure, why, assign_time,
          end_time, extract(epoch FROM assign_time)::float8 * 1000 AS assign_ms,
          extract(epoch FROM accept_time)::float8 * 1000 AS accept_ms, extract(epoch FROM end_time)::float8 * 1000 AS end_ms
        FROM attempts WHERE run_id = runs.run_id
      ) a
    ) AS attempts, CASE WHEN action IS NULL AND state = 'SUCCEEDED' THEN (
      SELECT w.definition FROM workflows w
      WHERE w.namespace = runs.namespace AND w.name = runs.workflow AND w.version = runs.workflow_version
    ) END AS definition_of_output
    FROM runs WHERE namespace = ${namespace} AND ${keyClause(sql, key)}`;
  if (row === undefined) return null;
  const outputs = await outputsOf(sql, row);
  const attempts = row.attempts ?? [];
  return viewOfRow(row, { inputJson: row.input, outputJson: outputOf(row, outputs), outputs, attempts });
}

/** Of a single step. What an equal run did for another is stored once, with the run that did it. */
function outputColumn(sql: Sql) {
  return sql`coalesce(output, CASE WHEN state = 'SUCCEEDED' AND executed_by_run_id IS NOT NULL THEN (
      SELECT executor.output FROM runs executor WHERE executor.run_id = runs.executed_by_run_id) END)`;
}

function keyClause(sql: Sql, key: RunKey) {
  if (typeof key === 'string') return sql`run_id = ${key}`;
  return sql`workflow = ${key.workflow} AND number = ${key.number}`;
}

async function outputsOf(sql: Sql, row: FullRow): Promise<ReadonlyMap<string, string>> {
  if (row.steps === null) return new Map(row.output === null ? [] : [[row.step_name ?? '', row.output]]);
  const steps = row.steps.filter((step) => step.step_state === 'SUCCEEDED');
  const generations = new Map(steps.map((step) => [step.name, step.generation]));
  const names = steps.map((step) => step.name);
  if (names.length === 0) return new Map();
  const own = await readOutputs(sql, row.run_id, names, generations);
  if (row.executed_by_run_id === null || row.state !== 'SUCCEEDED') return own;
  // It may have done some of it itself, before it was retried.
  return new Map([...(await executorOutputs(sql, row.executed_by_run_id)), ...own]);
}

async function executorOutputs(sql: Sql, runId: string): Promise<ReadonlyMap<string, string>> {
  const steps = await sql<{ name: string; generation: number }[]>`
    SELECT name, generation FROM steps WHERE run_id = ${runId} AND step_state = 'SUCCEEDED'`;
  const generations = new Map(steps.map(({ name, generation }) => [name, generation]));
  const names = steps.map(({ name }) => name);
  return names.length === 0 ? new Map() : readOutputs(sql, runId, names, generations);
}

/** Of a run that succeeded: what its only step that nobody needs gave, or what all of those gave, by name. */
function outputOf(row: FullRow, outputs: ReadonlyMap<string, string>): string {
  if (row.definition_of_output === null) return row.output ?? '';
  const { steps } = JSON.parse(row.definition_of_output) as WorkflowDefinition;
  const needed = new Set(steps.flatMap((step) => step.needs));
  const sinks = steps.map((step) => step.name).filter((name) => !needed.has(name));
  const [only] = sinks;
  return sinks.length === 1 && only !== undefined ? (outputs.get(only) ?? '') : joinOutputs(sinks, outputs);
}
