import type { Sql } from 'postgres';

/** The inputs of these runs, by run id. */
export async function readInputs(sql: Sql, runIds: readonly string[]): Promise<Map<string, string>> {
  const rows = await sql<{ run_id: string; input: string }[]>`
    SELECT run_id, input FROM runs
    WHERE run_id = ANY(ARRAY(SELECT json_array_elements_text(${JSON.stringify(runIds)}::text::json)::uuid))`;
  return new Map(rows.map((row) => [row.run_id, row.input]));
}
