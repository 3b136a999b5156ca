import type { Sql } from 'postgres';
import type { WorkflowRow } from '../../engine/rows.ts';
import { workflowColumns } from '../live_rows.ts';

/** One version of a workflow, or the newest (version null); null when there is none. */
export async function readWorkflow(
  sql: Sql,
  namespace: string,
  name: string,
  version: number | null,
): Promise<WorkflowRow | null> {
  const [row] = await sql<WorkflowRow[]>`
    SELECT ${workflowColumns(sql)} FROM workflows
    WHERE namespace = ${namespace} AND name = ${name} ${version === null ? sql`` : sql`AND version = ${version}`}
    ORDER BY version DESC LIMIT 1`;
  return row ?? null;
}
