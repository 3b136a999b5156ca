import type { Sql } from 'postgres';
import type { StoredSuccess } from '../../engine/commands.ts';

/** What a success is looked for by, within a namespace. */
export interface EqualQuestion {
  readonly contentHash: string;
  readonly target: string;
  /** null: the newest there is a success of. */
  readonly version: number | null;
}

/** For each question, in their order, the success there is; null: none. */
export async function findSuccesses(
  sql: Sql,
  namespace: string,
  questions: readonly EqualQuestion[],
): Promise<(StoredSuccess | null)[]> {
  const rows = await sql<{ place: number; runId: string; version: number }[]>`
    SELECT q.place, s.run_id AS "runId", s.version
    FROM json_to_recordset(${JSON.stringify(questions.map((question, place) => ({ ...question, place })))}::text::json)
      AS q(place int, "contentHash" text, target text, version int)
    CROSS JOIN LATERAL (
      SELECT run_id, version FROM results
      WHERE namespace = ${namespace} AND content_hash = q."contentHash" AND target = q.target
        AND (q.version IS NULL OR version = q.version)
      ORDER BY version DESC LIMIT 1
    ) s`;
  const found = new Map(rows.map(({ place, runId, version }) => [place, { runId, version }]));
  return questions.map((_, place) => found.get(place) ?? null);
}
