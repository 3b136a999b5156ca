import type { Sql } from 'postgres';

/** The inputs of these runs, by run id. */
export async function readInputs(sql: Sql, runIds: readonly string[]): Promise<Map<string, string>> {
  const rows = await sql<{ run_id: string; input: string }[]>`
    SELECT run_id, input FROM runs
    WHERE run_id = ANY(ARRAY(SELECT json_array_elements_text(${JSON.stringify(runIds)}::text::json)::uuid))`;
  return new Map(rows.map((row) => [row.run_id, row.input]));
}

/** The outputs of these steps of a run of several, by step name; what has none is not there. */
export async function readOutputs(sql: Sql, runId: string, stepNames: readonly string[]): Promise<Map<string, string>> {
  const rows = await sql<{ name: string; output: string }[]>`
    SELECT name, output FROM steps WHERE run_id = ${runId} AND output IS NOT NULL
      AND name = ANY(ARRAY(SELECT json_array_elements_text(${JSON.stringify(stepNames)}::text::json)))`;
  return new Map(rows.map((row) => [row.name, row.output]));
}
