import type { Sql } from 'postgres';

export interface KnownRequest {
  readonly requestId: string;
  readonly requestDigest: string;
  readonly runId: string;
}

/** Which of these request ids were used before, by run. */
export async function findRequests(
  sql: Sql,
  namespace: string,
  requestIds: readonly string[],
): Promise<KnownRequest[]> {
  return sql<KnownRequest[]>`
    SELECT request_id AS "requestId", request_digest AS "requestDigest", run_id AS "runId"
    FROM runs WHERE namespace = ${namespace} AND request_id = ANY(ARRAY(
      SELECT json_array_elements_text(${JSON.stringify(requestIds)}::text::json)))`;
}
