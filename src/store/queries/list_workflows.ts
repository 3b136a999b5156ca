import type { Sql } from 'postgres';
import type { WorkflowRow } from '../../engine/rows.ts';
import { workflowColumns } from '../live_rows.ts';

/** A page of a namespace's workflows, the newest version of each, after `afterName` (null: the first page). */
export async function listWorkflows(
  sql: Sql,
  namespace: string,
  afterName: string | null,
  limit: number,
): Promise<WorkflowRow[]> {
  // The same order on every machine, unlike a locale's.
  return sql<WorkflowRow[]>`
    SELECT ${workflowColumns(sql)} FROM workflow_names n
    JOIN workflows ON workflows.namespace = n.namespace AND workflows.name = n.name AND version = n.latest_version
    WHERE n.namespace = ${namespace} ${afterName === null ? sql`` : sql`AND n.name COLLATE "C" > ${afterName}`}
    ORDER BY n.name COLLATE "C" LIMIT ${limit}`;
}
