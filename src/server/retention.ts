/**
 * Deletes what is no longer to be kept. It looks, the engine decides, and the journal carries it out: whoever does not
 * decide any more deletes nothing.
 */
import type { Sql } from 'postgres';
import { isRefusal } from '../domain/refusal.ts';
import { compareText } from '../domain/text.ts';
import type { CommandKind, CommandOf, ExpiredRun, ResultOf } from '../engine/commands.ts';
import { type Clock, sleep, type Timer } from '../lib/clock.ts';
import type { Log } from '../lib/log.ts';
import { deleteLogs, FIRST_RUN_ID, scanExpired } from '../store/retention.ts';
import { errorFacts } from '../store/transient.ts';
import type { Decider } from './decider.ts';

/** Runs deleted by one commit, … */
const RUNS_PER_DELETE = 200;
/** … or rather as many as have so many steps: assignments wait for that commit. */
const STEPS_PER_DELETE = 2_000;
/** While there is much to delete, everything else has its turn in between. */
const BETWEEN_DELETES_MS = 50;

export interface RetentionOptions {
  readonly reads: Sql;
  readonly logSql: Sql;
  readonly epoch: number;
  readonly decide: Decider['decide'];
  readonly intervalMs: number;
  readonly clock: Clock;
  readonly log: Log;
}

export interface Retention {
  /** Deletes what is due in the next namespace that has anything to keep for a time only. Returns how many runs went. */
  sweep(): Promise<number>;
  stop(): void;
}

/** Begins at once to look again and again. */
export function startRetention(options: RetentionOptions): Retention {
  const { reads, logSql, epoch, clock, log } = options;
  /** Where the scan of a namespace goes on: what is old and not over yet is not looked at every time. */
  const cursors = new Map<string, string>();
  const stopped = new AbortController();
  let lastNamespace = '';
  let timer: Timer | null = null;

  function ask<K extends CommandKind>(command: CommandOf<K>): Promise<ResultOf<K>> {
    return new Promise((resolve, reject) => {
      options.decide<K>(command, (result) => {
        if (isRefusal(result)) reject(new Error(`${command.kind}: ${result.message}`));
        else resolve(result as ResultOf<K>);
      });
    });
  }

  async function sweep(): Promise<number> {
    await ask({ kind: 'expire_workers' });
    const namespaces = [...(await ask({ kind: 'read_expiry' }))].sort((a, b) => compareText(a.namespace, b.namespace));
    // One at a time, each in its turn: however many there are, looking costs the same.
    const next = namespaces.find(({ namespace }) => compareText(namespace, lastNamespace) > 0) ?? namespaces[0];
    if (next === undefined) return 0;
    lastNamespace = next.namespace;
    return sweepNamespace(next.namespace, clock.nowMs() - next.retentionMs);
  }

  async function sweepNamespace(namespace: string, cutoffMs: number): Promise<number> {
    let retired = 0;
    while (!stopped.signal.aborted) {
      const afterRunId = cursors.get(namespace) ?? FIRST_RUN_ID;
      const { expired, lastRunId } = await scanExpired(reads, { namespace, afterRunId, cutoffMs });
      for (const runs of portions(expired)) {
        if (retired > 0) await sleep(clock, BETWEEN_DELETES_MS, stopped.signal);
        retired += await retire(runs);
      }
      if (lastRunId === null) cursors.delete(namespace);
      else cursors.set(namespace, lastRunId);
      // A slice without anything to delete is enough for once.
      if (lastRunId === null || expired.length === 0) break;
    }
    return retired;
  }

  /** Lines first: once their runs are gone nothing would lead to them. */
  async function retire(runs: readonly ExpiredRun[]): Promise<number> {
    await deleteLogs(
      logSql,
      epoch,
      runs.map(({ runId }) => runId),
    );
    const { retired } = await ask({ kind: 'retire_runs', runs });
    return retired;
  }

  async function look(): Promise<void> {
    try {
      const retired = await sweep();
      if (retired > 0) log.info({ runs: retired, namespace: lastNamespace }, 'ended runs were deleted');
    } catch (error) {
      if (!stopped.signal.aborted) log.warn(errorFacts(error), 'what is no longer to be kept could not be deleted');
    }
    lookLater();
  }

  function lookLater(): void {
    if (!stopped.signal.aborted) timer = clock.after(options.intervalMs, () => void look());
  }

  lookLater();
  return {
    sweep,
    stop() {
      stopped.abort(new Error('retention was stopped'));
      timer?.clear();
    },
  };
}

function portions(runs: readonly ExpiredRun[]): ExpiredRun[][] {
  const all: ExpiredRun[][] = [];
  let steps = 0;
  for (const run of runs) {
    const last = all.at(-1);
    if (last === undefined || last.length >= RUNS_PER_DELETE || steps + run.steps.length > STEPS_PER_DELETE) {
      all.push([run]);
      steps = run.steps.length;
    } else {
      last.push(run);
      steps += run.steps.length;
    }
  }
  return all;
}
