import type { Sql } from 'postgres';
import type { Generations } from '../../engine/effects.ts';
import { FIRST_GENERATION } from '../../engine/generations.ts';

/** The inputs of these runs, by run id. */
export async function readInputs(sql: Sql, runIds: readonly string[]): Promise<Map<string, string>> {
  const rows = await sql<{ run_id: string; input: string }[]>`
    SELECT run_id, input FROM runs
    WHERE run_id = ANY(ARRAY(SELECT json_array_elements_text(${JSON.stringify(runIds)}::text::json)::uuid))`;
  return new Map(rows.map((row) => [row.run_id, row.input]));
}

/**
 * The outputs of these steps of a run of several, by step name; what has none is not there. `generations`: of which
 * output, where it is not the first.
 */
export async function readOutputs(
  sql: Sql,
  runId: string,
  stepNames: readonly string[],
  generations: Generations = new Map(),
): Promise<Map<string, string>> {
  const isLater = (name: string) => (generations.get(name) ?? FIRST_GENERATION) !== FIRST_GENERATION;
  const later = stepNames.filter(isLater).map((name) => ({ name, generation: generations.get(name) }));
  const first = stepNames.filter((name) => !isLater(name));
  const rows = [
    ...(first.length === 0 ? [] : await readFirstOutputs(sql, runId, first)),
    ...(later.length === 0 ? [] : await readLaterOutputs(sql, runId, later)),
  ];
  return new Map(rows.map((row) => [row.name, row.output]));
}

function readFirstOutputs(sql: Sql, runId: string, stepNames: readonly string[]) {
  return sql<{ name: string; output: string }[]>`
    SELECT name, output FROM steps WHERE run_id = ${runId} AND output IS NOT NULL
      AND name = ANY(ARRAY(SELECT json_array_elements_text(${JSON.stringify(stepNames)}::text::json)))`;
}

function readLaterOutputs(sql: Sql, runId: string, wanted: readonly object[]) {
  return sql<{ name: string; output: string }[]>`
    SELECT step_name AS name, output FROM step_outputs
    JOIN json_to_recordset(${JSON.stringify(wanted)}::text::json) AS w(name text, generation integer)
      ON step_name = w.name AND step_outputs.generation = w.generation
    WHERE run_id = ${runId}`;
}
