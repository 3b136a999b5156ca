import type { Sql } from 'postgres';

export interface StoredLine {
  readonly logId: number;
  readonly number: number;
  readonly attempt: number;
  readonly lineMs: number;
  readonly level: number;
  readonly text: string;
}

/** A page of a step's lines in the order they arrived, after `afterLogId`. */
export async function readLogs(
  sql: Sql,
  runId: string,
  stepName: string,
  afterLogId: number,
  limit: number,
): Promise<StoredLine[]> {
  return sql<StoredLine[]>`
    SELECT log_id::float8 AS "logId", line_number::float8 AS number, attempt, level, text,
      extract(epoch FROM line_time)::float8 * 1000 AS "lineMs"
    FROM step_logs
    WHERE run_id = ${runId} AND step_name = ${stepName} AND log_id > ${afterLogId}
    ORDER BY log_id LIMIT ${limit}`;
}

/** Bytes that were cut from a step's log because an attempt logged more than it may. */
export async function readCutBytes(sql: Sql, runId: string, stepName: string): Promise<number> {
  // Totals are kept by assignment; which step one was of is written where the assignment is.
  const [row] = await sql<{ cut: number }[]>`
    SELECT coalesce(sum(cut_bytes), 0)::float8 AS cut FROM step_log_totals WHERE run_id = ${runId} AND assignment_id IN (
      SELECT assignment_id FROM attempts WHERE run_id = ${runId} AND step_name = ${stepName}
      UNION ALL SELECT assignment_id FROM steps WHERE run_id = ${runId} AND name = ${stepName}
      UNION ALL SELECT assignment_id FROM runs WHERE run_id = ${runId} AND step_name = ${stepName})`;
  return row?.cut ?? 0;
}
