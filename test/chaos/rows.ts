/** What the database says in the end. */
import type { Sql } from 'postgres';

interface RunRow {
  readonly runId: string;
  readonly requestId: string;
  readonly state: string;
}

/** A step with a row of its own, or a run of one step. */
export interface StepRow {
  readonly runId: string;
  readonly name: string;
  readonly place: number;
  readonly state: string;
  readonly assignmentId: string | null;
  readonly worker: string | null;
  readonly output: string | null;
}

/** An assignment that ended without success. */
interface AttemptRow {
  readonly assignmentId: string;
  readonly runId: string;
  readonly worker: string;
  readonly outcome: string;
}

/** Of one assignment. */
export interface LogRow {
  readonly assignmentId: string;
  readonly count: number;
  readonly first: number;
  readonly last: number;
  /** Lines whose text is not what their number says. */
  readonly strange: number;
  /** Lines that the worker says it dropped, and the lines that say so. */
  readonly dropped: number;
  readonly notices: number;
  /** Bytes over the limit of an attempt. */
  readonly cutBytes: number;
}

export interface Rows {
  readonly runs: readonly RunRow[];
  readonly steps: readonly StepRow[];
  readonly attempts: readonly AttemptRow[];
  readonly logs: readonly LogRow[];
  /** Of the planes: each begins with one. */
  readonly epoch: number;
}

export async function readRows(sql: Sql): Promise<Rows> {
  const runs = await sql<RunRow[]>`SELECT run_id AS "runId", request_id AS "requestId", state FROM runs`;
  const steps = await sql<StepRow[]>`
    SELECT run_id AS "runId", step_name AS name, 0 AS place, step_state AS state, assignment_id AS "assignmentId",
      worker_name AS worker, output FROM runs WHERE step_state IS NOT NULL
    UNION ALL
    SELECT run_id, name, place, step_state, assignment_id, worker_name, output FROM steps`;
  const attempts = await sql<AttemptRow[]>`
    SELECT assignment_id AS "assignmentId", run_id AS "runId", worker_name AS worker, outcome FROM attempts`;
  const logs = await sql<LogRow[]>`
    SELECT assignment_id AS "assignmentId", count(*)::int AS count, min(line_number)::int AS first, max(line_number)::int AS last,
      (count(*) FILTER (WHERE text <> 'line ' || line_number))::int AS strange,
      coalesce(sum(substring(text FROM '^\\[(\\d+) log lines dropped')::int), 0)::int AS dropped,
      (count(*) FILTER (WHERE text LIKE '[% log lines dropped%'))::int AS notices,
      coalesce((SELECT cut_bytes FROM step_log_totals t WHERE t.assignment_id = l.assignment_id), 0)::float8 AS "cutBytes"
    FROM step_logs l GROUP BY assignment_id`;
  const [holder] = await sql<{ epoch: number }[]>`SELECT epoch::float8 AS epoch FROM holder`;
  return { runs, steps, attempts, logs, epoch: holder?.epoch ?? 0 };
}
