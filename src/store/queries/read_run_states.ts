import type { Sql } from 'postgres';
import type { RunState } from '../../domain/run.ts';

/** States of those of these runs (ids are UUIDs) that the namespace has, by run id. */
export async function readRunStates(
  sql: Sql,
  namespace: string,
  runIds: readonly string[],
): Promise<Map<string, RunState>> {
  const rows = await sql<{ run_id: string; state: RunState }[]>`
    SELECT run_id, state FROM runs WHERE namespace = ${namespace}
      AND run_id = ANY(ARRAY(SELECT json_array_elements_text(${JSON.stringify(runIds)}::text::json)::uuid))`;
  return new Map(rows.map((row) => [row.run_id, row.state]));
}
