import type { Sql } from 'postgres';
import type { RunView } from '../../engine/views.ts';
import { type RunRow, runColumns, viewOfRow } from './run_row.ts';

export interface RunFilter {
  readonly namespace: string;
  /** Empty: those that have not ended. */
  readonly states: readonly string[];
  readonly anyState: boolean;
  /** Empty: of any, or none. */
  readonly workflow: string;
  /** Runs with a step of this action; empty: of any. */
  readonly action: string;
  /** Runs that ask for all of these tags. */
  readonly runsOn: readonly string[];
  /** Every entry must be among the run's. */
  readonly metadata: Readonly<Record<string, string>>;
  readonly createMsFrom: number | null;
  readonly createMsTo: number | null;
  readonly oldestFirst: boolean;
  /** The page goes on after this run; null: the first page. */
  readonly afterRunId: string | null;
  readonly limit: number;
}

/** A page of runs with their steps, without payloads and attempts. Run ids are in order of creation, so pages are stable under inserts. */
export async function listRuns(sql: Sql, filter: RunFilter): Promise<RunView[]> {
  const after = filter.oldestFirst ? sql`run_id > ${filter.afterRunId}` : sql`run_id < ${filter.afterRunId}`;
  const rows = await sql<RunRow[]>`
    SELECT ${runColumns(sql)} FROM runs
    WHERE namespace = ${filter.namespace}
      ${stateClause(sql, filter)}
      ${filter.workflow === '' ? sql`` : sql`AND workflow = ${filter.workflow}`}
      ${actionClause(sql, filter)}
      ${filter.runsOn.length === 0 ? sql`` : sql`AND runs_on::jsonb @> ${JSON.stringify(filter.runsOn)}::text::jsonb`}
      ${Object.keys(filter.metadata).length === 0 ? sql`` : sql`AND metadata::jsonb @> ${JSON.stringify(filter.metadata)}::text::jsonb`}
      ${filter.createMsFrom === null ? sql`` : sql`AND create_time >= to_timestamp(${filter.createMsFrom / 1000}::float8)`}
      ${filter.createMsTo === null ? sql`` : sql`AND create_time < to_timestamp(${filter.createMsTo / 1000}::float8)`}
      ${filter.afterRunId === null ? sql`` : sql`AND ${after}`}
    ORDER BY run_id ${filter.oldestFirst ? sql`ASC` : sql`DESC`}
    LIMIT ${filter.limit}`;
  return rows.map((row) => viewOfRow(row, null));
}

function stateClause(sql: Sql, filter: RunFilter) {
  if (filter.anyState) return sql``;
  if (filter.states.length === 0) return sql`AND end_time IS NULL`;
  return sql`AND state = ANY(ARRAY(SELECT json_array_elements_text(${JSON.stringify(filter.states)}::text::json)))`;
}

function actionClause(sql: Sql, { action }: RunFilter) {
  if (action === '') return sql``;
  return sql`AND (action = ${action} OR action IS NULL AND EXISTS (
    SELECT 1 FROM steps WHERE steps.run_id = runs.run_id AND steps.action = ${action}))`;
}
