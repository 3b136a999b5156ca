/** The one statement of a batch: a guard, and one write per table that has rows. Built once for each set of tables. */
import {
  ATTEMPT,
  type Column,
  LEADERBOARD,
  NAMESPACE,
  RESULT,
  RESULTS_PURGE,
  RUN_ASSIGN,
  RUN_EXECUTE,
  RUN_ID,
  RUN_INSERT,
  RUN_KEY,
  RUN_TOTALS,
  RUN_UPDATE,
  STEP_INSERT,
  STEP_KEY,
  STEP_OUTPUT,
  STEP_TOTALS,
  STEP_UPDATE,
  WORKER,
  WORKFLOW,
  WORKFLOW_NAME,
} from './columns.ts';
import { FEW, formOf, type Parameter } from './forms.ts';

/** The parts of a batch. A row is in at most one of them, so no two writes of a statement meet. */
export type Part =
  | 'runs_insert'
  | 'runs_update'
  | 'runs_assign'
  | 'runs_execute'
  | 'steps_insert'
  | 'steps_update'
  | 'attempts'
  | 'step_outputs'
  | 'step_totals'
  | 'run_totals'
  | 'leaderboard'
  | 'workflows'
  | 'workflow_names'
  | 'results'
  | 'results_purge'
  | 'workers'
  | 'workers_delete'
  | 'namespaces'
  | 'retired_runs'
  | 'retired_steps'
  | 'retired_step_outputs'
  | 'retired_attempts'
  | 'retired_results';

/** What is known only at some moments, and left alone by every image that does not bring it. */
const KEPT: Readonly<Record<string, string>> = {
  output: 'coalesce(r.output, t.output)',
  runs_on: 'coalesce(r.runs_on, t.runs_on)',
  // Of the assignment in the row: another one, or none, does not inherit it.
  why: 'CASE WHEN r.why IS NULL AND r.assignment_id = t.assignment_id THEN t.why ELSE r.why END',
};

/** A write: the columns that its rows bring, and its SQL, given what stands for those rows. */
interface Write {
  readonly columns: readonly Column[];
  sql(rows: string): string;
}

const WRITES: Readonly<Record<Part, Write>> = {
  runs_insert: insert('runs', RUN_INSERT),
  runs_update: update('runs', RUN_KEY, RUN_UPDATE),
  runs_assign: update('runs', RUN_KEY, RUN_ASSIGN),
  runs_execute: update('runs', RUN_KEY, RUN_EXECUTE),
  steps_insert: insert('steps', STEP_INSERT),
  steps_update: update('steps', STEP_KEY, STEP_UPDATE),
  // An attempt that ended is written once; the same batch tried again never gets this far.
  attempts: insert('attempts', ATTEMPT),
  step_outputs: upsert('step_outputs', STEP_OUTPUT, ['run_id', 'step_name', 'generation']),
  step_totals: upsert('step_totals', STEP_TOTALS, ['namespace', 'workflow', 'action']),
  run_totals: upsert('run_totals', RUN_TOTALS, ['namespace', 'workflow']),
  leaderboard: upsert('leaderboard', LEADERBOARD, ['namespace', 'nickname']),
  // A version never changes.
  workflows: insert('workflows', WORKFLOW),
  workflow_names: upsert('workflow_names', WORKFLOW_NAME, ['namespace', 'name']),
  results: upsert('results', RESULT, ['namespace', 'content_hash', 'target', 'version']),
  // A success after the purge may be in the same statement: whichever write comes to the row first, that success stays.
  results_purge: {
    columns: RESULTS_PURGE,
    sql: (rows) => `DELETE FROM results t USING guard, ${rows}
      WHERE t.namespace = r.namespace AND (r.content_hash IS NULL OR t.content_hash = r.content_hash)`,
  },
  workers: upsert('workers', WORKER, ['worker_id']),
  workers_delete: remove('workers', ['worker_id', 'uuid', 'worker_id']),
  namespaces: upsert('namespaces', NAMESPACE, ['name']),
  // Lines go before, on a connection where they keep nobody waiting.
  retired_runs: remove('runs', RUN_ID),
  retired_steps: remove('steps', RUN_ID),
  retired_step_outputs: remove('step_outputs', RUN_ID),
  retired_attempts: remove('attempts', RUN_ID),
  retired_results: remove('results', RUN_ID),
};

export const PARTS = Object.keys(WRITES) as Part[];

function value([, type, key]: Column): string {
  return type === 'time' ? `to_timestamp(r."${key}" / 1000)` : `r."${key}"`;
}

function insert(table: string, columns: readonly Column[]): Write {
  const names = columns.map(([column]) => column).join(', ');
  const values = columns.map(value).join(', ');
  return { columns, sql: (rows) => `INSERT INTO ${table} (${names}) SELECT ${values} FROM guard, ${rows}` };
}

function upsert(table: string, columns: readonly Column[], key: readonly string[]): Write {
  const sets = columns.filter(([column]) => !key.includes(column)).map(([column]) => `${column} = excluded.${column}`);
  const inserted = insert(table, columns);
  const sql = (rows: string) =>
    `${inserted.sql(rows)} ON CONFLICT (${key.join(', ')}) DO UPDATE SET ${sets.join(', ')}`;
  return { columns, sql };
}

/** An UPDATE rather than an upsert: a run's input, which may be a megabyte, then travels only once. */
function update(table: string, key: readonly Column[], columns: readonly Column[]): Write {
  const sets = columns.map((column) => `${column[0]} = ${KEPT[column[0]] ?? value(column)}`);
  const matches = key.map(([column]) => `t.${column} = r.${column}`);
  const sql = (rows: string) =>
    `UPDATE ${table} t SET ${sets.join(', ')} FROM guard, ${rows} WHERE ${matches.join(' AND ')}`;
  return { columns: [...key, ...columns], sql };
}

function remove(table: string, key: Column): Write {
  const sql = (rows: string) => `DELETE FROM ${table} t USING guard, ${rows} WHERE t.${key[0]} = r.${key[0]}`;
  return { columns: [key], sql };
}

const texts = new Map<string, string>();

/** Parts and their rows, as a batch has them. */
interface Rows {
  readonly parts: readonly Part[];
  readonly rows: readonly (readonly object[])[];
}

/**
 * The statement that writes these parts; parameters: epoch, batch, then `parametersOf`.
 * The guard comes first and everything joins it: with another epoch, or another batch than the next, nothing is
 * written. Whatever is written renews the lease; without parts it does nothing else. The answer is one row: `guarded` (0 or 1), and the holder's epoch and batch as they were before.
 */
export function batchStatement({ parts, rows }: Rows): string {
  const form = formOf(rows);
  const key = `${form.name} ${parts.join()}`;
  let text = texts.get(key);
  if (text === undefined) {
    let parameter = 3;
    const writes = parts.map((part) => {
      const { columns, sql } = WRITES[part];
      const write = `, ${part} AS (${sql(form.sql(columns, parameter))})`;
      parameter += columns.length + (form === FEW ? 1 : 0);
      return write;
    });
    text = `WITH guard AS (
      UPDATE holder SET batch = $2::bigint, lease_end_time = clock_timestamp() + lease_ms * interval '1 millisecond' WHERE id = 1 AND epoch = $1::bigint AND batch = $2::bigint - 1 RETURNING 1
    )${writes.join('')}
    SELECT (SELECT count(*) FROM guard)::int AS guarded, epoch::float8 AS epoch, batch::float8 AS batch FROM holder WHERE id = 1`;
    texts.set(key, text);
  }
  return text;
}

/** Those of each part in turn. */
export function parametersOf({ parts, rows }: Rows): Parameter[] {
  const form = formOf(rows);
  return parts.flatMap((part, index) => form.parameters(WRITES[part].columns, rows[index] ?? []));
}
