/**
 * Log lines go by a connection of their own: they are many, nobody decides by them, and a burst of them must not
 * delay an assignment. The same fence holds: a holder that lost its epoch writes none.
 */
import type { Sql } from 'postgres';
import { type Backoff, backoffMs } from '../lib/backoff.ts';
import { type Clock, sleep } from '../lib/clock.ts';
import type { Log } from '../lib/log.ts';
import { utf8Bytes } from '../domain/text.ts';
import { isTransient } from './transient.ts';

export interface LogEntry {
  readonly lineMs: number;
  /** As in the contract: 1 DEBUG, 2 INFO, 3 WARNING, 4 ERROR. */
  readonly level: number;
  readonly text: string;
}

/** Consecutive lines of one assignment. */
export interface LogLines {
  readonly assignmentId: string;
  readonly runId: string;
  readonly stepName: string;
  readonly attempt: number;
  readonly firstLineNumber: number;
  readonly lines: readonly LogEntry[];
}

export interface LogWriter {
  /** `settle` is called once the lines are stored, in the order of the calls. */
  add(lines: LogLines, settle: () => void): void;
  settled(): Promise<void>;
  stop(): void;
}

/** One statement carries at most this many lines. */
const LINES_PER_WRITE_MAX = 5_000;
/** Assignments whose totals are remembered; older ones are read back when they log again. */
const TOTALS_MAX = 20_000;
const RETRY: Backoff = { initialMs: 20, factor: 2, maxMs: 1_000 };

interface Total {
  storedBytes: number;
  cutBytes: number;
  lastLine: number;
}

interface Waiting {
  readonly lines: LogLines;
  readonly settle: () => void;
}

export interface LogWriterOptions {
  readonly sql: Sql;
  readonly epoch: number;
  readonly bytesPerAttemptMax: number;
  readonly clock: Clock;
  readonly fraction: () => number;
  readonly log: Log;
}

export function createLogWriter(options: LogWriterOptions): LogWriter {
  const { sql, epoch, clock, log } = options;
  const totals = new Map<string, Total>();
  const stopped = new AbortController();
  let waiting: Waiting[] = [];
  let pumping: Promise<void> | null = null;

  async function pump(): Promise<void> {
    await null;
    try {
      while (waiting.length > 0 && !stopped.signal.aborted) {
        const taken = take();
        if (!(await persist(taken))) return;
        for (const { settle } of taken) settle();
      }
    } finally {
      pumping = null;
    }
  }

  function take(): Waiting[] {
    let lines = 0;
    let count = 0;
    while (count < waiting.length && (count === 0 || lines < LINES_PER_WRITE_MAX)) {
      lines += waiting[count]?.lines.lines.length ?? 0;
      count += 1;
    }
    const taken = waiting.slice(0, count);
    waiting = waiting.slice(count);
    return taken;
  }

  async function persist(taken: readonly Waiting[]): Promise<boolean> {
    let prepared: Prepared | null = null;
    for (let tries = 0; !stopped.signal.aborted; tries++) {
      try {
        prepared ??= await prepare(taken);
        if (prepared.lines.length > 0 || prepared.totals.length > 0) await insert(prepared);
        return true;
      } catch (error) {
        if (!isTransient(error)) {
          // Losing lines is better than losing the plane; they are counted as refused by nobody, so say it loudly.
          log.error({ err: error, lines: taken.length }, 'log lines could not be stored');
          return true;
        }
        await sleep(clock, backoffMs(RETRY, tries, options.fraction()), stopped.signal).catch(() => {});
      }
    }
    return false;
  }

  /** Drops what was stored before and cuts what is over the limit. Done once, however often the write is tried. */
  async function prepare(taken: readonly Waiting[]): Promise<Prepared> {
    const prepared: Prepared = { lines: [], totals: [] };
    const touched = new Map<string, { total: Total; runId: string }>();
    for (const { lines } of taken) {
      const total = await totalOf(lines);
      touched.set(lines.assignmentId, { total, runId: lines.runId });
      lines.lines.forEach((line, index) => {
        const number = lines.firstLineNumber + index;
        if (number <= total.lastLine) return;
        total.lastLine = number;
        const bytes = utf8Bytes(line.text);
        if (total.storedBytes + bytes > options.bytesPerAttemptMax) {
          total.cutBytes += bytes;
          return;
        }
        total.storedBytes += bytes;
        prepared.lines.push(lineRow(lines, number, line));
      });
    }
    for (const [assignmentId, { total, runId }] of touched) {
      prepared.totals.push({ assignment_id: assignmentId, run_id: runId, stored_bytes: total.storedBytes, cut_bytes: total.cutBytes });
    }
    return prepared;
  }

  async function totalOf(lines: LogLines): Promise<Total> {
    const known = totals.get(lines.assignmentId);
    if (known) return known;
    const total = lines.firstLineNumber === 1 ? { storedBytes: 0, cutBytes: 0, lastLine: 0 } : await readTotal(lines.assignmentId);
    totals.set(lines.assignmentId, total);
    const oldest = totals.size > TOTALS_MAX ? totals.keys().next().value : undefined;
    if (oldest !== undefined) totals.delete(oldest);
    return total;
  }

  async function readTotal(assignmentId: string): Promise<Total> {
    const [row] = await sql<{ stored: number; cut: number; last: number }[]>`
      SELECT coalesce(max(t.stored_bytes), 0)::float8 AS stored, coalesce(max(t.cut_bytes), 0)::float8 AS cut,
        (SELECT coalesce(max(line_number), 0)::float8 FROM step_logs WHERE assignment_id = ${assignmentId}) AS last
      FROM step_log_totals t WHERE t.assignment_id = ${assignmentId}`;
    return { storedBytes: row?.stored ?? 0, cutBytes: row?.cut ?? 0, lastLine: row?.last ?? 0 };
  }

  async function insert(prepared: Prepared): Promise<void> {
    await sql.unsafe(INSERT_LINES, [epoch, JSON.stringify(prepared.lines), JSON.stringify(prepared.totals)], { prepare: true });
  }

  return {
    add(lines, settle) {
      waiting.push({ lines, settle });
      pumping ??= pump();
    },
    async settled() {
      while (pumping !== null) await pumping;
    },
    stop: () => stopped.abort(new Error('the log writer was stopped')),
  };
}

interface Prepared {
  readonly lines: LineRow[];
  readonly totals: { assignment_id: string; run_id: string; stored_bytes: number; cut_bytes: number }[];
}

interface LineRow {
  readonly assignment_id: string;
  readonly line_number: number;
  readonly run_id: string;
  readonly step_name: string;
  readonly attempt: number;
  readonly line_ms: number;
  readonly level: number;
  readonly text: string;
}

function lineRow(lines: LogLines, number: number, line: LogEntry): LineRow {
  return {
    assignment_id: lines.assignmentId,
    line_number: number,
    run_id: lines.runId,
    step_name: lines.stepName,
    attempt: lines.attempt,
    line_ms: line.lineMs,
    level: line.level,
    text: line.text,
  };
}

// A line that is there already stays as it is: the same lines come again after a reconnect. The guard takes no lock on
// the holder's row: every commit of the journal would wait for it.
const INSERT_LINES = `
  WITH guard AS (SELECT 1 FROM holder WHERE id = 1 AND epoch = $1::bigint),
  lines AS (
    INSERT INTO step_logs (assignment_id, line_number, run_id, step_name, attempt, line_time, level, text)
    SELECT r.assignment_id, r.line_number, r.run_id, r.step_name, r.attempt, to_timestamp(r.line_ms / 1000), r.level, r.text
    FROM guard, json_to_recordset($2::text::json) AS r(assignment_id uuid, line_number bigint, run_id uuid, step_name text,
      attempt integer, line_ms float8, level smallint, text text)
    ORDER BY r.run_id, r.attempt, r.line_number
    ON CONFLICT (assignment_id, line_number) DO NOTHING
  )
  INSERT INTO step_log_totals (assignment_id, run_id, stored_bytes, cut_bytes)
  SELECT r.assignment_id, r.run_id, r.stored_bytes, r.cut_bytes
  FROM guard, json_to_recordset($3::text::json) AS r(assignment_id uuid, run_id uuid, stored_bytes bigint, cut_bytes bigint)
  ON CONFLICT (assignment_id) DO UPDATE SET stored_bytes = excluded.stored_bytes, cut_bytes = excluded.cut_bytes`;
