/** Reading on at the end of a log. The order is that of arrival, which the one writer of lines gives. */
import type { Sql } from 'postgres';
import type { StoredLine } from './read_logs.ts';

export interface TailedLine extends StoredLine {
  readonly stepName: string;
}

/** Which lines: of one step, or of all of them. */
export interface TailedLog {
  readonly runId: string;
  /** Empty: every step. */
  readonly stepName: string;
}

/** At most `limit` lines that came after `afterLogId`. */
export async function readLinesAfter(
  sql: Sql,
  log: TailedLog,
  afterLogId: number,
  limit: number,
): Promise<TailedLine[]> {
  return sql<TailedLine[]>`
    SELECT ${lineColumns(sql)} FROM step_logs
    WHERE ${ofLog(sql, log)} AND log_id > ${afterLogId} ORDER BY log_id LIMIT ${limit}`;
}

/** The last `limit` lines there are, oldest first. */
export async function readLastLines(sql: Sql, log: TailedLog, limit: number): Promise<TailedLine[]> {
  const lines = await sql<TailedLine[]>`
    SELECT ${lineColumns(sql)} FROM step_logs WHERE ${ofLog(sql, log)} ORDER BY log_id DESC LIMIT ${limit}`;
  return [...lines].reverse();
}

/** Where the log of a run ends now; 0: it has no line. */
export async function readLastLogId(sql: Sql, runId: string): Promise<number> {
  const [row] = await sql<{ last: number }[]>`
    SELECT coalesce(max(log_id), 0)::float8 AS last FROM step_logs WHERE run_id = ${runId}`;
  return row?.last ?? 0;
}

function lineColumns(sql: Sql) {
  return sql`log_id::float8 AS "logId", line_number::float8 AS number, attempt, level, text, step_name AS "stepName",
    extract(epoch FROM line_time)::float8 * 1000 AS "lineMs"`;
}

function ofLog(sql: Sql, { runId, stepName }: TailedLog) {
  return stepName === '' ? sql`run_id = ${runId}` : sql`run_id = ${runId} AND step_name = ${stepName}`;
}
