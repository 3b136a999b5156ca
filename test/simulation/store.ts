/** A store that keeps what was committed and nothing else, can be away, and sometimes does not say whether it did it. */
import type { LiveRows } from '../../src/engine/restore.ts';
import type {
  AttemptRow,
  LiveRunRow,
  NamespaceRow,
  RunAssignRow,
  RunExecuteRow,
  RunInsertRow,
  RunUpdateRow,
  WorkerRow,
} from '../../src/engine/rows.ts';
import type { SealedBatch } from '../../src/store/batch.ts';
import { DeposedError } from '../../src/store/holder.ts';
import type { LogLines } from '../../src/store/logs.ts';
import type { Ending } from '../../src/store/queries/find_ending.ts';
import type { KnownRequest } from '../../src/store/queries/find_requests.ts';
import type { Chance } from './chance.ts';
import type { SimProcess } from './process.ts';
import type { World } from './world.ts';

/** What one batch wrote, as it was read back. */
interface Written {
  readonly runs: readonly { readonly before: RunInsertRow | null; readonly after: RunInsertRow }[];
  readonly attempts: readonly AttemptRow[];
  readonly workers: readonly WorkerRow[];
}

/** A line as it is stored. */
interface StoredLine {
  readonly text: string;
}

export interface SimStore {
  readonly runs: ReadonlyMap<string, RunInsertRow>;
  readonly workers: ReadonlyMap<string, WorkerRow>;
  /** By assignment, by line number. */
  readonly logs: ReadonlyMap<string, ReadonlyMap<number, StoredLine>>;
  /** It is away, or so slow that nothing can be on time. */
  readonly isSlow: boolean;
  /** A new holder; whoever held before can write no more. */
  beginEpoch(): number;
  /** As a statement on a connection of `process`: rejects with a connection's error, or a DeposedError. */
  commit(process: SimProcess, epoch: number, batch: SealedBatch, number: number): Promise<void>;
  appendLogs(process: SimProcess, epoch: number, lines: readonly LogLines[]): Promise<void>;
  readInput(process: SimProcess, runId: string): Promise<string>;
  findRequest(process: SimProcess, requestId: string): Promise<KnownRequest | null>;
  findEnding(process: SimProcess, assignmentId: string): Promise<Ending | null>;
  liveRows(): LiveRows;
  /** HANGING: nothing answers until it is back; REFUSING: connections are refused meanwhile. */
  goAway(how: 'HANGING' | 'REFUSING', forMs: number): void;
  /** So many of the next commits are lost on the way there, or their answers on the way back. */
  spoilCommits(count: number): void;
  calm(): void;
  onWritten(tell: (written: Written) => void): void;
}

/** A statement under way for longer is slow. */
const SLOW_MS = 100;

export function createStore(world: World, chance: Chance): SimStore {
  const runs = new Map<string, RunInsertRow>();
  const workers = new Map<string, WorkerRow>();
  const namespaces = new Map<string, NamespaceRow>();
  const attempts = new Map<string, AttemptRow>();
  const logs = new Map<string, Map<number, StoredLine>>();
  // Of the statements under way, when each began.
  const underWay = new Set<{ readonly sinceMs: number }>();
  const listeners: ((written: Written) => void)[] = [];
  let epoch = 0;
  let batchNumber = 0;
  let awayUntilMs = 0;
  let awayHow: 'HANGING' | 'REFUSING' = 'HANGING';
  let spoiled = 0;
  let isCalm = false;
  // The process whose last commit failed, and which will try again in a while.
  let failing: SimProcess | null = null;

  const isAway = () => world.nowMs() < awayUntilMs;
  const delayMs = () => (!isCalm && chance.happens(0.01) ? chance.between(5, 800) : chance.between(0.2, 6));

  /** One statement: what is under way when its process dies is done at once, or never. */
  function statement<T>(process: SimProcess, work: () => T, fate: 'GOOD' | 'UNSENT' | 'UNANSWERED'): Promise<T> {
    return new Promise((resolve, reject) => {
      let settled = false;
      const began = { sinceMs: world.nowMs() };
      underWay.add(began);
      const answer = (tell: () => void) =>
        world.after(delayMs(), () => {
          underWay.delete(began);
          process.enter(tell);
        });
      const lostConnection = () => answer(() => reject(connectionError('CONNECTION_CLOSED')));
      const execute = () => {
        if (settled) return;
        if (isAway()) {
          world.at(awayUntilMs + delayMs(), execute);
          return;
        }
        settled = true;
        try {
          const result = work();
          if (fate === 'UNANSWERED') lostConnection();
          else answer(() => resolve(result));
        } catch (error) {
          answer(() => reject(error));
        }
      };
      process.onDeath(() => {
        underWay.delete(began);
        if (settled) return;
        if (!isAway() && chance.happens(0.5)) execute();
        settled = true;
      });
      if (isAway() && awayHow === 'REFUSING') answer(() => reject(connectionError('ECONNREFUSED')));
      else if (fate === 'UNSENT') lostConnection();
      else world.after(delayMs(), execute);
    });
  }

  function fateOfCommit(): 'GOOD' | 'UNSENT' | 'UNANSWERED' {
    if (spoiled === 0) return 'GOOD';
    spoiled -= 1;
    return chance.happens(0.6) ? 'UNANSWERED' : 'UNSENT';
  }

  function write(ofEpoch: number, batch: SealedBatch, number: number): void {
    if (ofEpoch === epoch && number === batchNumber) return;
    if (ofEpoch !== epoch || number !== batchNumber + 1) {
      throw new DeposedError(`batch ${number} of epoch ${ofEpoch}: epoch ${epoch} is at batch ${batchNumber}`);
    }
    batchNumber = number;
    const written = apply(batch);
    for (const tell of listeners) tell(written);
  }

  function apply(batch: SealedBatch): Written {
    // Through JSON, so that nothing is shared with the engine that wrote it.
    const rows = new Map(batch.parts.map((part, index) => [part, JSON.parse(JSON.stringify(batch.rows[index]))]));
    const of = <T>(part: (typeof batch.parts)[number]) => (rows.get(part) ?? []) as T[];
    const changed: { before: RunInsertRow | null; after: RunInsertRow }[] = [];
    for (const row of of<RunInsertRow>('runs_insert')) {
      if (runs.has(row.run_id)) throw new Error(`run ${row.run_id} is inserted twice`);
      runs.set(row.run_id, row);
      changed.push({ before: null, after: row });
    }
    const updates = [
      ...of<RunUpdateRow>('runs_update'),
      ...of<RunAssignRow>('runs_assign'),
      ...of<RunExecuteRow>('runs_execute'),
    ];
    for (const row of updates) {
      const before = runs.get(row.run_id);
      if (before === undefined) throw new Error(`run ${row.run_id} is updated before it is inserted`);
      const brought: Partial<RunUpdateRow> = withoutNulls(row);
      const { output = before.output, why = before.why, runs_on = before.runs_on } = brought;
      const after = { ...before, ...row, output, why, runs_on };
      runs.set(row.run_id, after);
      changed.push({ before, after });
    }
    for (const row of of<AttemptRow>('attempts')) attempts.set(row.assignment_id, row);
    for (const row of of<NamespaceRow>('namespaces')) namespaces.set(row.name, row);
    for (const row of of<{ worker_id: string }>('workers_delete')) workers.delete(row.worker_id);
    for (const row of of<WorkerRow>('workers')) workers.set(row.worker_id, row);
    return { runs: changed, attempts: of<AttemptRow>('attempts'), workers: of<WorkerRow>('workers') };
  }

  function writeLogs(ofEpoch: number, all: readonly LogLines[]): void {
    if (ofEpoch !== epoch) throw new DeposedError(`log lines of epoch ${ofEpoch}: it is epoch ${epoch}`);
    for (const { assignmentId, firstLineNumber, lines } of all) {
      const stored = logs.get(assignmentId) ?? new Map<number, StoredLine>();
      logs.set(assignmentId, stored);
      lines.forEach(({ text }, index) => {
        if (!stored.has(firstLineNumber + index)) stored.set(firstLineNumber + index, { text });
      });
    }
  }

  return {
    runs,
    workers,
    logs,
    get isSlow() {
      const [oldest] = underWay;
      return (
        isAway() ||
        spoiled > 0 ||
        failing?.isAlive === true ||
        (oldest !== undefined && world.nowMs() - oldest.sinceMs > SLOW_MS)
      );
    },
    beginEpoch() {
      epoch += 1;
      batchNumber = 0;
      return epoch;
    },
    async commit(process, ofEpoch, batch, number) {
      try {
        await statement(process, () => write(ofEpoch, batch, number), fateOfCommit());
        failing = null;
      } catch (error) {
        failing = process;
        throw error;
      }
    },
    appendLogs: (process, ofEpoch, lines) => statement(process, () => writeLogs(ofEpoch, lines), 'GOOD'),
    readInput: (process, runId) => statement(process, () => (runs.get(runId) as RunInsertRow).input, 'GOOD'),
    findRequest(process, requestId) {
      const find = () => [...runs.values()].find((row) => row.request_id === requestId);
      return statement(
        process,
        () => {
          const row = find();
          return row ? { requestId, runId: row.run_id, requestDigest: row.request_digest ?? '' } : null;
        },
        'GOOD',
      );
    },
    findEnding(process, assignmentId) {
      const find = (): Ending | null => {
        const attempt = attempts.get(assignmentId);
        if (attempt !== undefined) return { workerId: attempt.worker_id, fact: attempt.fact };
        const row = [...runs.values()].find((one) => one.assignment_id === assignmentId);
        return row?.step_state === 'SUCCEEDED' ? { workerId: row.worker_id ?? '', fact: 'succeeded' } : null;
      };
      return statement(process, find, 'GOOD');
    },
    liveRows() {
      const live = [...runs.values()].filter((row) => row.end_ms === null).map(liveRow);
      live.sort((a, b) => (a.ready_sequence ?? 0) - (b.ready_sequence ?? 0));
      const all = [...workers.values()].sort((a, b) => a.worker_number - b.worker_number);
      const rows: LiveRows = {
        namespaces: [...namespaces.values()],
        workers: all,
        runs: live,
        steps: [],
        workflows: [],
        workflowNames: [],
        results: [],
        stepTotals: [],
        runTotals: [],
        leaderboard: [],
      };
      return JSON.parse(JSON.stringify(rows));
    },
    goAway(how, forMs) {
      world.note('store', `is away for ${Math.round(forMs)} ms, ${how}`);
      awayHow = how;
      awayUntilMs = world.nowMs() + forMs;
    },
    spoilCommits(count) {
      spoiled = count;
    },
    calm() {
      isCalm = true;
      spoiled = 0;
    },
    onWritten: (tell) => void listeners.push(tell),
  };
}

/** What an image that brings null leaves as it was. */
function withoutNulls({ output = null, why = null, runs_on = null }: Partial<RunUpdateRow>) {
  return {
    ...(output === null ? {} : { output }),
    ...(why === null ? {} : { why }),
    ...(runs_on === null ? {} : { runs_on }),
  };
}

function liveRow({ input: _input, output, why: _why, ...row }: RunInsertRow): LiveRunRow {
  return { ...row, runs_on: row.runs_on ?? '[]', output_bytes: Buffer.byteLength(output ?? '') };
}

function connectionError(code: string): Error {
  return Object.assign(new Error(`the connection to the store is lost: ${code}`), { code });
}
