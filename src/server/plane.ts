/**
 * The control plane without its listeners: becomes the holder, decides, and when it cannot go on, stands down and
 * starts again from the rows.
 */
import type { Sql } from 'postgres';
import type { Limits, Times } from '../domain/limits.ts';
import { type Refusal, refuse } from '../domain/refusal.ts';
import type { CommandKind, CommandOf, ResultOf } from '../engine/commands.ts';
import type { Effect } from '../engine/effects.ts';
import type { EngineState } from '../engine/state.ts';
import { backoffMs } from '../lib/backoff.ts';
import { type Clock, sleep } from '../lib/clock.ts';
import type { Log } from '../lib/log.ts';
import type { IdSource } from '../lib/random.ts';
import type { Database } from '../store/database.ts';
import { becomeHolder, DeposedError, type Holder, LEASE_MS_DEFAULT } from '../store/holder.ts';
import type { Commit } from '../store/journal.ts';
import { createLogWriter, type LogWriter } from '../store/logs.ts';
import { type Ending, findEnding } from '../store/queries/find_ending.ts';
import type { KnownRequest } from '../store/queries/find_requests.ts';
import { errorFacts, isTransient } from '../store/transient.ts';
import { createDecider, type Decider } from './decider.ts';
import { createStepInputs, type StepInputs } from './inputs.ts';
import { type Meters, NO_METERS } from './meters.ts';
import { createPayloadCache, type PayloadCache } from './payloads.ts';
import { recoverEngine } from './recover.ts';
import { createRequestBook, type RequestBook } from './requests.ts';
import { type Retention, startRetention } from './retention.ts';
import { createWatchHub, type WatchHub } from './watch/hub.ts';

/** After a batch that could not be written, commands are committed one by one for this long, to find the culprit. */
const CAUTIOUS_MS = 60_000;
/** When the plane stops, what was decided has this long to be stored: with the database away it never is. */
const STOP_MS_MAX = 4_000;
/** Log lines are to be sent again after this, when there is no room for them. */
const LOGS_RETRY_MS = 1_000;
/** The same for facts: far more must wait before these have no room. */
const FACTS_RETRY_MS = 1_000;
const RESTART = { initialMs: 100, factor: 2, maxMs: 5_000 };
/** Connections that answer reads. */
const READ_CONNECTIONS_MAX = 4;

export interface Plane {
  /** Asks the engine; the answer comes after its commit. Refuses at once while the store is away or nobody decides. */
  submit<K extends CommandKind>(command: CommandOf<K>): Promise<ResultOf<K> | Refusal>;
  /** The same for streams: facts of workers are taken even while the store is away; they wait for it. */
  decide<K extends CommandKind>(command: CommandOf<K>, then: (result: ResultOf<K> | Refusal) => void): void;
  /** Effects for this connection go to `sink` until it is detached. The number is the connection's name in commands. */
  attach(sink: (effect: Effect) => void): number;
  detach(connection: number): void;
  readonly logs: () => LogWriter | null;
  /** Runs that these request ids have in the store already. */
  findRequests(namespace: string, requestIds: readonly string[]): Promise<ReadonlyMap<string, KnownRequest>>;
  readonly reads: Sql;
  readonly payloads: PayloadCache;
  readonly inputs: StepInputs;
  /** How an assignment ended that has left memory; null: it did not, or nobody knows. Tries until the store answers, and rejects when the plane stops. */
  findEnding(assignmentId: string): Promise<Ending | null>;
  readonly watches: WatchHub;
  readonly limits: Limits;
  readonly times: Times;
  readonly clock: Clock;
  readonly ids: IdSource;
  readonly log: Log;
  readonly meters: Meters;
  /** Ready to decide. */
  isReady(): boolean;
  /** Told at once, and whenever it changes, whether this process decides. */
  watchTerm(listener: (decides: boolean) => void): void;
  /** Why nothing is answered here: another process decides. null: this one does, or is about to again. */
  standingBy(): Refusal | null;
  /** Commits and commands of this term, for metrics and checks. */
  counts(): { readonly commits: number; readonly commands: number };
  /** For reading only, by the metrics; null while nobody decides here. */
  engineState(): EngineState | null;
  openStreams(): number;
  /**
   * Settles what was decided and lets the lock go. The streams are to be closed before. Says whether nobody else uses the
   * database, as far as is known.
   */
  stop(): Promise<{ readonly alone: boolean }>;
}

export interface PlaneOptions {
  readonly database: Database;
  readonly name: string;
  readonly limits: Limits;
  readonly times: Times;
  readonly clock: Clock;
  readonly ids: IdSource;
  readonly log: Log;
  readonly meters?: Meters;
  /** How long a commit gives the right to decide; default 5 s. */
  readonly leaseMs?: number;
}

interface Term {
  readonly holder: Holder;
  readonly decider: Decider;
  readonly logs: LogWriter;
  readonly logSql: Sql;
  readonly retention: Retention;
  readonly requests: RequestBook;
}

/** Resolves once this process decides, or knows that another one does. */
export async function startPlane(options: PlaneOptions): Promise<Plane> {
  const { database, clock, ids, log, limits, times } = options;
  const meters = options.meters ?? NO_METERS;
  const sinks = new Map<number, (effect: Effect) => void>();
  const stopping = new AbortController();
  const reads = database.connect({ max: READ_CONNECTIONS_MAX, connection: { application_name: 'yardmaster reads' } });
  const payloads = createPayloadCache();
  const inputs = createStepInputs({ reads, payloads, persistently });
  const watches = createWatchHub(limits.watchesMax, log);
  let lastConnection = 0;
  let cautiousUntilMs = 0;
  let term: Term | null = null;
  let restarting: Promise<void> | null = null;
  /** Who decides while this process stands by; empty: it is not known who. null: it does not stand by. */
  let otherHolder: string | null = null;
  let standsBy: () => void = () => {};
  const listeners: ((decides: boolean) => void)[] = [];
  const leaseMs = options.leaseMs ?? LEASE_MS_DEFAULT;

  function setTerm(next: Term | null): void {
    term = next;
    for (const listener of listeners) listener(next !== null);
  }

  async function beginTerm(): Promise<Term> {
    const onStandby = (name: string) => {
      otherHolder = name;
      standsBy();
    };
    const holder = await becomeHolder(database, options.name, log, {
      clock,
      signal: stopping.signal,
      leaseMs,
      onStandby,
    }).finally(() => {
      otherHolder = null;
    });
    try {
      const engine = await recoverEngine(holder.sql, { limits, times, clock });
      const { runs, workers } = engine.state;
      log.info({ epoch: holder.epoch, runs: runs.size, workers: workers.size }, 'recovered');
      const decider = createDecider({
        engine,
        commit: metered(holder),
        clock,
        ids,
        log,
        meters,
        watches,
        oneCommandPerBatch: clock.nowMs() < cautiousUntilMs,
        onStored: inputs.keepOutputs,
        leaseMs,
        onEffect: deliver,
        onFatal: standDown,
      });
      const logSql = database.connect({ max: 1, connection: { application_name: 'yardmaster logs' } });
      const bytesPerAttemptMax = limits.logBytesPerAttemptMax;
      const logs = createLogWriter({
        sql: logSql,
        epoch: holder.epoch,
        bytesPerAttemptMax,
        clock,
        fraction: ids.fraction,
        log,
        onStored: watches.logged,
        onDeposed: standDown,
      });
      // A term of its own: while another process decided, ids were used that this one never saw.
      const { decide } = decider;
      const { retentionIntervalMs: intervalMs } = times;
      const retention = startRetention({ reads, logSql, epoch: holder.epoch, decide, intervalMs, clock, log });
      return { holder, decider, logs, logSql, retention, requests: createRequestBook(reads, log) };
    } catch (error) {
      await holder.release();
      throw error;
    }
  }

  function metered(holder: Holder): Commit {
    return async (batch, number) => {
      const fromMs = clock.nowMs();
      await holder.commit(batch, number).catch((error: unknown) => {
        meters.commitFailed();
        throw error;
      });
      // A renewal of the lease carries no command.
      if (batch.parts.length > 0) meters.committed(batch.entries.length, clock.nowMs() - fromMs);
    };
  }

  /** Memory is ahead of a store that will not follow: everything decided since is void, and every stream must start anew. */
  function standDown(error: unknown): void {
    if (term === null) return;
    log.error({ ...errorFacts(error), deposed: error instanceof DeposedError }, 'standing down');
    if (!(error instanceof DeposedError)) cautiousUntilMs = clock.nowMs() + CAUTIOUS_MS;
    const ended = term;
    setTerm(null);
    // Streams first: what they sent stays unsettled and is sent again. A refusal would be the last word on it.
    for (const connection of [...sinks.keys()]) {
      deliver({
        kind: 'evict',
        connection,
        reason: 'STANDING_DOWN',
        message: 'the server recovers from its store; connect again',
      });
    }
    watches.endAll(refuse('STANDING_DOWN', 'the server recovers from its store; watch again'));
    endTerm(ended);
    restarting ??= restart(ended).finally(() => {
      restarting = null;
    });
  }

  function deliver(effect: Effect): void {
    try {
      sinks.get(effect.connection)?.(effect);
    } catch (error) {
      // One stream's trouble must not keep the others' effects back.
      log.error({ err: error, effect: effect.kind }, 'an effect failed');
    }
  }

  function endTerm(ended: Term): void {
    ended.retention.stop();
    ended.decider.stop();
    ended.logs.stop();
  }

  async function closeTerm(ended: Term): Promise<void> {
    await Promise.all([ended.holder.release(), ended.logSql.end({ timeout: 5 })]);
  }

  async function restart(ended: Term): Promise<void> {
    await closeTerm(ended).catch((error) => log.warn({ err: error }, 'the old connection did not close cleanly'));
    await tryToBegin(beginTerm);
  }

  /** Until this process decides, or is stopped. */
  async function tryToBegin(first: () => Promise<Term>): Promise<void> {
    for (let tries = 0; !stopping.signal.aborted; tries++) {
      try {
        const begun = await (tries === 0 ? first() : beginTerm());
        setTerm(begun);
        scheduleEndOfCaution(begun);
        return;
      } catch (error) {
        if (stopping.signal.aborted) return;
        log.warn({ ...errorFacts(error), tries }, 'cannot recover yet');
        await sleep(clock, backoffMs(RESTART, tries, ids.fraction()), stopping.signal).catch(() => {});
      }
    }
  }

  /** Once the minute is over a fresh term commits in groups again; nobody notices but the log. */
  function scheduleEndOfCaution(cautious: Term): void {
    clock.after(Math.max(0, cautiousUntilMs - clock.nowMs()), () => {
      if (term === cautious) cautious.decider.journal.setOneCommandPerBatch(false);
    });
  }

  function decide<K extends CommandKind>(command: CommandOf<K>, then: (result: ResultOf<K> | Refusal) => void): void {
    if (term === null) then(standingBy() ?? refuse('STANDING_DOWN', 'nobody decides here now: try again'));
    else if (command.kind === 'log_step' && !hasRoomForLogs(term)) then(tryLogsLater());
    else if (CAN_WAIT.has(command.kind) && term.decider.journal.isFull()) then(tryLater(command.kind));
    else term.decider.decide<K>(command, then);
  }

  function standingBy(): Refusal | null {
    if (otherHolder === null) return null;
    const who = otherHolder === '' ? 'another process' : `"${otherHolder}"`;
    return refuse('STANDING_BY', `${who} decides on this database; this one stands by`, { holder: otherHolder });
  }

  /** True: what was decided is stored. False: it has had its time. */
  async function settle(ended: Term): Promise<boolean> {
    const settled = new AbortController();
    const limit = sleep(clock, STOP_MS_MAX, settled.signal).then(
      () => {
        log.warn({ limitMs: STOP_MS_MAX }, 'stopping without having stored everything: the database does not answer');
        return false;
      },
      () => true,
    );
    const stored = Promise.all([ended.decider.journal.settled(), ended.logs.settled()]).then(() => true);
    const inTime = await Promise.race([stored, limit]);
    settled.abort();
    return inTime;
  }

  async function persistently<T>(read: () => Promise<T>): Promise<T> {
    for (let tries = 0; ; tries++) {
      stopping.signal.throwIfAborted();
      try {
        return await read();
      } catch (error) {
        if (!isTransient(error)) throw error;
        await sleep(clock, backoffMs(RESTART, tries, ids.fraction()), stopping.signal);
      }
    }
  }

  const starting = beginTerm();
  const waits = new Promise<null>((resolve) => {
    standsBy = () => resolve(null);
  });
  setTerm(await Promise.race([starting, waits]));
  if (term === null)
    restarting = tryToBegin(() => starting).finally(() => {
      restarting = null;
    });
  return {
    standingBy,
    watchTerm(listener) {
      listeners.push(listener);
      listener(term !== null);
    },
    reads,
    findEnding: (assignmentId) => persistently(() => findEnding(reads, assignmentId)),
    payloads,
    inputs,
    watches,
    limits,
    times,
    clock,
    ids,
    log,
    meters,
    decide,
    submit(command) {
      if (term !== null && (term.decider.journal.isStalled() || term.decider.journal.isFull())) {
        return Promise.resolve(
          refuse('STORE_UNAVAILABLE', 'the database does not answer: try again with the same request_id'),
        );
      }
      return new Promise((resolve) => decide(command, resolve));
    },
    attach(sink) {
      lastConnection += 1;
      sinks.set(lastConnection, sink);
      return lastConnection;
    },
    detach: (connection) => void sinks.delete(connection),
    logs: () => term?.logs ?? null,
    // Without a term the command that follows is refused anyway.
    findRequests: async (namespace, requestIds) => (await term?.requests.find(namespace, requestIds)) ?? new Map(),
    isReady: () => term !== null && !term.decider.journal.isStalled(),
    counts: () => term?.decider.journal.counts ?? { commits: 0, commands: 0 },
    engineState: () => term?.decider.engine.state ?? null,
    openStreams: () => sinks.size,
    async stop() {
      watches.stop();
      // Whoever was only standing by knows that somebody is there.
      let alone = otherHolder === null;
      stopping.abort(new Error('the plane was stopped'));
      await restarting;
      const ended = term;
      setTerm(null);
      if (ended !== null) {
        // A database that does not answer cannot be asked either.
        const answers = await settle(ended);
        endTerm(ended);
        if (answers) alone = !(await ended.holder.isAwaited());
        await closeTerm(ended);
      }
      await reads.end({ timeout: 5 });
      return { alone };
    },
  };
}

/** Lines are many, and the store may be away: what finds no room stays with its worker. */
function hasRoomForLogs(term: Term): boolean {
  return !term.logs.isFull() && !term.decider.journal.isStalled();
}

/** What a worker can keep and send again. Whatever ends something must be taken, and there is not much of that. */
const CAN_WAIT: ReadonlySet<CommandKind> = new Set([
  'open_session',
  'upsert_labels',
  'change_slots',
  'accept_step',
  'return_step',
  'progress_step',
  'succeed_step',
  'fail_step',
  'confirm_cancel',
  'report_input_invalid',
]);

function tryLater(kind: CommandKind): Refusal {
  if (kind === 'open_session') return refuse('STORE_UNAVAILABLE', 'the database does not keep up: connect again later');
  const message = `the database does not keep up: send the same again after ${FACTS_RETRY_MS} ms`;
  return { ...refuse('RATE_LIMITED', message), retryAfterMs: FACTS_RETRY_MS };
}

function tryLogsLater(): Refusal {
  const message = `step_logged: the store does not keep up with the log lines; send the same again after ${LOGS_RETRY_MS} ms`;
  return { ...refuse('RATE_LIMITED', message), retryAfterMs: LOGS_RETRY_MS };
}
