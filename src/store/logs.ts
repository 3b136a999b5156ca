/**
 * Log lines go by a connection of their own: they are many, nobody decides by them, and a burst of them must not
 * delay an assignment. The same fence holds: a holder that lost its epoch writes none.
 */
import type { Sql } from 'postgres';
import { utf8Bytes } from '../domain/text.ts';
import { type Backoff, backoffMs } from '../lib/backoff.ts';
import { type Clock, sleep } from '../lib/clock.ts';
import type { Log } from '../lib/log.ts';
import { DeposedError } from './holder.ts';
import { errorFacts, isTransient } from './transient.ts';

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
  /** `settle` is called once the lines are stored, in the order of the calls; never, when this holder may not write any more. */
  add(lines: LogLines, settle: () => void): void;
  /** Too much waits already: whoever has more should keep it for a while. */
  isFull(): boolean;
  settled(): Promise<void>;
  /** Resolves once everything added before is stored, however much comes behind it; also when this writer was stopped. */
  stored(): Promise<void>;
  stop(): void;
}

/** What waits for the store is held in memory: up to here, in UTF-16 units, it is taken without asking back. */
export const WAITING_LENGTH_MAX = 32 * 1024 * 1024;
/** Counted for every line beside its text, so that empty lines are not free. */
const LINE_LENGTH_MIN = 100;
/** One statement carries at most this many lines. */
const LINES_PER_WRITE_MAX = 5_000;
/** Assignments whose totals are remembered; older ones are read back when they log again. */
const TOTALS_MAX = 20_000;
const RETRY: Backoff = { initialMs: 20, factor: 2, maxMs: 1_000 };

interface Total {
  storedBytes: number;
  cutBytes: number;
  lastLine: number;
  /** Lines before the last that never came: one refused for its rate comes after those behind it. */
  gaps: Gap[];
}

/** Remembered for one assignment; a line of an older gap is taken for a repeated one. */
const GAPS_MAX = 100;

interface Gap {
  readonly from: number;
  readonly to: number;
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
  /** Lines of this step are stored, and can be read. */
  readonly onStored?: (runId: string, stepName: string) => void;
  /** Another process decides: nothing was stored, and nothing will be. */
  readonly onDeposed?: (error: DeposedError) => void;
}

export function createLogWriter(options: LogWriterOptions): LogWriter {
  const { sql, epoch, clock, log } = options;
  const totals = new Map<string, Total>();
  const stopped = new AbortController();
  let waiting: Waiting[] = [];
  let waitingLength = 0;
  let addedCount = 0;
  let storedCount = 0;
  let storedWaiters: { readonly upTo: number; readonly resolve: () => void }[] = [];
  let pumping: Promise<void> | null = null;

  async function pump(): Promise<void> {
    await null;
    try {
      while (waiting.length > 0 && !stopped.signal.aborted) {
        const taken = take();
        if (!(await persist(taken))) return;
        for (const { lines, settle } of taken) {
          waitingLength -= lengthOf(lines);
          settleOne(settle);
        }
        storedCount += taken.length;
        tellStored();
      }
    } finally {
      pumping = null;
    }
  }

  function settleOne(settle: () => void): void {
    try {
      settle();
    } catch (error) {
      log.error({ err: error }, 'a stream could not be told that its lines are stored');
    }
  }

  function tellStored(): void {
    const isDue = ({ upTo }: { readonly upTo: number }) => upTo <= storedCount || stopped.signal.aborted;
    const due = storedWaiters.filter(isDue);
    storedWaiters = storedWaiters.filter((waiter) => !isDue(waiter));
    for (const { resolve } of due) resolve();
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

  /** False: this writer has been stopped. Lines that the store will never take are lost, and it says so. */
  async function persist(taken: readonly Waiting[]): Promise<boolean> {
    try {
      const known = await retrying(() => totalsOf(taken));
      return known !== null && (await store(prepare(taken, known)));
    } catch (error) {
      return lost(error, taken.length);
    }
  }

  async function store(prepared: Prepared): Promise<boolean> {
    try {
      return (await retrying(() => insert(prepared))) !== null;
    } catch (error) {
      if (error instanceof DeposedError || prepared.totals.length === 1) return lost(error, prepared.lines.length);
      // One assignment's lines must not take the others' with them.
      for (const total of prepared.totals) {
        const lines = prepared.lines.filter((line) => line.assignment_id === total.assignment_id);
        if (!(await store({ lines, totals: [total] }))) return false;
      }
      return true;
    }
  }

  /** Whether to go on. */
  function lost(error: unknown, lines: number): boolean {
    if (error instanceof DeposedError) {
      stopped.abort(error);
      options.onDeposed?.(error);
      return false;
    }
    // Losing lines is better than losing the plane; they are counted as refused by nobody, so say it loudly.
    log.error({ ...errorFacts(error), lines }, 'log lines could not be stored');
    return true;
  }

  /** Tries until the store answers; null when the writer was stopped. */
  async function retrying<T>(work: () => Promise<T>): Promise<T | null> {
    for (let tries = 0; !stopped.signal.aborted; tries++) {
      try {
        return await work();
      } catch (error) {
        if (!isTransient(error)) throw error;
        await sleep(clock, backoffMs(RETRY, tries, options.fraction()), stopped.signal).catch(() => {});
      }
    }
    return null;
  }

  /** Of every assignment in `taken`. Nothing is counted yet: this may fail, and is then done again. */
  async function totalsOf(taken: readonly Waiting[]): Promise<Map<string, Total>> {
    const known = new Map<string, Total>();
    for (const { lines } of taken) {
      if (!known.has(lines.assignmentId)) known.set(lines.assignmentId, await totalOf(lines));
    }
    return known;
  }

  /** Drops what was stored before and cuts what is over the limit. Done once, however often the write is tried. */
  function prepare(taken: readonly Waiting[], known: ReadonlyMap<string, Total>): Prepared {
    const rows: LineRow[] = [];
    const touched = new Map<string, { total: Total; runId: string }>();
    for (const { lines } of taken) {
      const total = known.get(lines.assignmentId) as Total;
      touched.set(lines.assignmentId, { total, runId: lines.runId });
      lines.lines.forEach((line, index) => {
        const number = lines.firstLineNumber + index;
        if (isNew(total, number) && fits(total, line)) rows.push(lineRow(lines, number, line));
      });
    }
    const totals = [...touched].map(([assignmentId, { total, runId }]) => {
      return { assignment_id: assignmentId, run_id: runId, stored_bytes: total.storedBytes, cut_bytes: total.cutBytes };
    });
    return { lines: rows, totals };
  }

  /** Counts the line, as stored or as cut. */
  function fits(total: Total, line: LogEntry): boolean {
    const bytes = utf8Bytes(line.text);
    const stays = total.storedBytes + bytes <= options.bytesPerAttemptMax;
    if (stays) total.storedBytes += bytes;
    else total.cutBytes += bytes;
    return stays;
  }

  async function totalOf(lines: LogLines): Promise<Total> {
    const known = totals.get(lines.assignmentId);
    if (known) return known;
    const total =
      lines.firstLineNumber === 1
        ? { storedBytes: 0, cutBytes: 0, lastLine: 0, gaps: [] }
        : await readTotal(lines.assignmentId);
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
    return { storedBytes: row?.stored ?? 0, cutBytes: row?.cut ?? 0, lastLine: row?.last ?? 0, gaps: [] };
  }

  async function insert(prepared: Prepared): Promise<void> {
    const values = [epoch, JSON.stringify(prepared.lines), JSON.stringify(prepared.totals)];
    const [answer] = await sql.unsafe<{ guarded: number }[]>(INSERT_LINES, values, { prepare: true });
    if (answer?.guarded !== 1)
      throw new DeposedError(`log lines of epoch ${epoch} were refused: another epoch has begun`);
    for (const [runId, stepName] of stepsOf(prepared.lines)) options.onStored?.(runId, stepName);
  }

  return {
    add(lines, settle) {
      if (stopped.signal.aborted) return;
      waiting.push({ lines, settle });
      addedCount += 1;
      waitingLength += lengthOf(lines);
      pumping ??= pump();
    },
    isFull: () => waitingLength >= WAITING_LENGTH_MAX,
    async settled() {
      while (pumping !== null) await pumping;
    },
    stored() {
      if (storedCount >= addedCount || stopped.signal.aborted) return Promise.resolve();
      return new Promise((resolve) => storedWaiters.push({ upTo: addedCount, resolve }));
    },
    stop() {
      stopped.abort(new Error('the log writer was stopped'));
      tellStored();
    },
  };
}

/** The steps these lines are of, each once. */
function stepsOf(lines: readonly LineRow[]): Iterable<readonly [runId: string, stepName: string]> {
  const steps = new Map<string, readonly [string, string]>();
  for (const { run_id, step_name } of lines) steps.set(`${run_id}\n${step_name}`, [run_id, step_name]);
  return steps.values();
}

function lengthOf({ lines }: LogLines): number {
  let length = 0;
  for (const { text } of lines) length += text.length + LINE_LENGTH_MIN;
  return length;
}

/** Whether the line did not come before; from now on it did. */
function isNew(total: Total, number: number): boolean {
  const { lastLine, gaps } = total;
  if (number > lastLine) {
    if (number > lastLine + 1) gaps.push({ from: lastLine + 1, to: number - 1 });
    if (gaps.length > GAPS_MAX) gaps.shift();
    total.lastLine = number;
    return true;
  }
  const gap = gaps.find(({ from, to }) => from <= number && number <= to);
  if (gap === undefined) return false;
  const rest = [
    { from: gap.from, to: number - 1 },
    { from: number + 1, to: gap.to },
  ].filter(({ from, to }) => from <= to);
  gaps.splice(gaps.indexOf(gap), 1, ...rest);
  return true;
}

interface Prepared {
  readonly lines: readonly LineRow[];
  readonly totals: readonly { assignment_id: string; run_id: string; stored_bytes: number; cut_bytes: number }[];
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
  ),
  totals AS (
    INSERT INTO step_log_totals (assignment_id, run_id, stored_bytes, cut_bytes)
    SELECT r.assignment_id, r.run_id, r.stored_bytes, r.cut_bytes
    FROM guard, json_to_recordset($3::text::json) AS r(assignment_id uuid, run_id uuid, stored_bytes bigint, cut_bytes bigint)
    ON CONFLICT (assignment_id) DO UPDATE SET stored_bytes = excluded.stored_bytes, cut_bytes = excluded.cut_bytes
  )
  SELECT count(*)::int AS guarded FROM guard`;
