/**
 * The plane of one server process, over the real decider and the simulated store. What src/server/plane.ts does with
 * connections to PostgreSQL is done here by hand, in the same order; everything that decides is the real thing.
 */
import { DEFAULT_LIMITS, DEFAULT_TIMES } from '../../src/domain/limits.ts';
import { type Refusal, refuse } from '../../src/domain/refusal.ts';
import type { CommandKind, CommandOf, ResultOf } from '../../src/engine/commands.ts';
import type { Effect, Offer } from '../../src/engine/effects.ts';
import { createEngine, type Engine } from '../../src/engine/engine.ts';
import { sleep } from '../../src/lib/clock.ts';
import type { Log } from '../../src/lib/log.ts';
import type { IdSource } from '../../src/lib/random.ts';
import { createDecider, type Decider } from '../../src/server/decider.ts';
import type { StepInput, StepInputs } from '../../src/server/inputs.ts';
import { NO_METERS } from '../../src/server/meters.ts';
import { createPayloadCache } from '../../src/server/payloads.ts';
import type { Plane } from '../../src/server/plane.ts';
import type { LogLines, LogWriter } from '../../src/store/logs.ts';
import { isTransient } from '../../src/store/transient.ts';
import type { SimProcess } from './process.ts';
import type { SimStore } from './store.ts';
import type { World } from './world.ts';

const RESTART_MS = 200;
const RETRY_MS = 50;
/** As the setting's default. */
export const LEASE_MS = 5_000;
const LOGS_RETRY_MS = 1_000;

export interface SimPlane {
  /** What sessions are given. */
  readonly plane: Plane;
  submit<K extends CommandKind>(command: CommandOf<K>): Promise<ResultOf<K> | Refusal>;
  /** null while nobody decides here. */
  engine(): Engine | null;
  isStalled(): boolean;
}

/** Told of every engine as it begins, so that its decisions can be looked at from outside. */
export type OnTerm = (engine: Engine, process: SimProcess, isStalled: () => boolean) => void;

interface Term {
  readonly decider: Decider;
  readonly logs: LogWriter & { stop(): void };
}

export interface SimPlaneOptions {
  readonly world: World;
  readonly process: SimProcess;
  readonly store: SimStore;
  readonly ids: IdSource;
  readonly onTerm: OnTerm;
  /** This process is the one that may decide. */
  readonly isHolder: () => boolean;
}

export function createSimPlane({ world, process, store, ids, onTerm, isHolder }: SimPlaneOptions): SimPlane {
  const sinks = new Map<number, (effect: Effect) => void>();
  const payloads = createPayloadCache();
  const log = logOf(world, process.name);
  let lastConnection = 0;
  let term: Term | null = beginTerm();

  function beginTerm(): Term {
    const epoch = store.beginEpoch();
    const rows = store.liveRows();
    world.note(process.name, `decides as epoch ${epoch}: ${rows.runs.length} runs, ${rows.workers.length} workers`);
    const decider = createDecider({
      engine: createEngine({ rows, nowMs: process.nowMs() }),
      commit: (batch, number) => store.commit(process, epoch, batch, number),
      clock: process,
      ids,
      log,
      meters: NO_METERS,
      oneCommandPerBatch: false,
      leaseMs: LEASE_MS,
      onStored() {},
      // Nobody watches.
      watches: { observe: () => null },
      onEffect: deliver,
      onFatal: standDown,
    });
    onTerm(decider.engine, process, () => decider.journal.isStalled());
    return { decider, logs: createLogs(process, store, epoch, standDown) };
  }

  function deliver(effect: Effect): void {
    sinks.get(effect.connection)?.(effect);
  }

  function standDown(error: unknown): void {
    if (term === null) return;
    world.note(process.name, `stands down: ${String(error)}`);
    const ended = term;
    term = null;
    const message = 'the server recovers from its store; connect again';
    for (const connection of [...sinks.keys()]) {
      deliver({ kind: 'evict', connection, reason: 'STANDING_DOWN', message });
    }
    ended.decider.stop();
    ended.logs.stop();
    process.after(RESTART_MS, () => {
      // Whoever took over has the lock for as long as it lives.
      if (isHolder()) term = beginTerm();
    });
  }

  function decide<K extends CommandKind>(command: CommandOf<K>, then: (result: ResultOf<K> | Refusal) => void): void {
    if (term === null) then(refuse('STANDING_DOWN', 'nobody decides here now: try again'));
    else if (command.kind === 'log_step' && term.decider.journal.isStalled()) {
      then({ ...refuse('RATE_LIMITED', 'the store does not keep up'), retryAfterMs: LOGS_RETRY_MS });
    } else term.decider.decide<K>(command, then);
  }

  function submit<K extends CommandKind>(command: CommandOf<K>): Promise<ResultOf<K> | Refusal> {
    if (term?.decider.journal.isStalled()) {
      return Promise.resolve(refuse('STORE_UNAVAILABLE', 'the store does not answer'));
    }
    return new Promise((resolve) => decide<K>(command, resolve));
  }

  async function persistently<T>(read: () => Promise<T>): Promise<T> {
    for (;;) {
      try {
        return await read();
      } catch (error) {
        if (!isTransient(error)) throw error;
        await sleep(process, RETRY_MS);
      }
    }
  }

  async function readInput({ runId }: Offer): Promise<StepInput> {
    const inputJson = await persistently(() => store.readInput(process, runId));
    payloads.put(runId, inputJson);
    return { inputJson, runInputJson: '' };
  }

  // Runs of one step take nothing but their run's input.
  const inputs: StepInputs = {
    held({ runId }) {
      const inputJson = payloads.get(runId);
      return inputJson === undefined ? null : { inputJson, runInputJson: '' };
    },
    read: readInput,
    keepOutputs() {},
  };

  const forSessions = {
    limits: DEFAULT_LIMITS,
    times: DEFAULT_TIMES,
    clock: process,
    ids,
    log,
    meters: NO_METERS,
    payloads,
    inputs,
    findEnding: (assignmentId: string) => persistently(() => store.findEnding(process, assignmentId)),
    decide,
    submit,
    attach(sink: (effect: Effect) => void) {
      lastConnection += 1;
      sinks.set(lastConnection, sink);
      return lastConnection;
    },
    detach: (connection: number) => void sinks.delete(connection),
    logs: () => term?.logs ?? null,
  };
  return {
    // The rest of a plane is for the rpcs and the metrics, which sessions do not touch.
    plane: forSessions as unknown as Plane,
    submit,
    engine: () => term?.decider.engine ?? null,
    isStalled: () => term?.decider.journal.isStalled() ?? true,
  };
}

/** Lines on their way to the store, one statement at a time, in order. */
function createLogs(
  process: SimProcess,
  store: SimStore,
  epoch: number,
  onDeposed: (error: unknown) => void,
): LogWriter & { stop(): void } {
  let waiting: { readonly lines: LogLines; readonly settle: () => void }[] = [];
  let stopped = false;
  let pumping = false;

  async function pump(): Promise<void> {
    pumping = true;
    while (waiting.length > 0 && !stopped) {
      const taken = waiting;
      try {
        await store.appendLogs(
          process,
          epoch,
          taken.map(({ lines }) => lines),
        );
      } catch (error) {
        if (!isTransient(error)) {
          stopped = true;
          onDeposed(error);
          return;
        }
        await sleep(process, RETRY_MS);
        continue;
      }
      if (stopped) return;
      waiting = waiting.slice(taken.length);
      for (const { settle } of taken) settle();
    }
    pumping = false;
  }

  return {
    add(lines, settle) {
      waiting = [...waiting, { lines, settle }];
      if (!pumping) void pump();
    },
    isFull: () => false,
    stored: () => Promise.resolve(),
    settled: () => Promise.resolve(),
    stop() {
      stopped = true;
    },
  };
}

/** What the code logs as an error is never supposed to happen here. */
function logOf(world: World, who: string): Log {
  const tell = (facts: object) => {
    const { err, error } = facts as { err?: unknown; error?: unknown };
    return err instanceof Error ? (err.stack ?? err.message) : String(err ?? error ?? JSON.stringify(facts));
  };
  return {
    debug() {},
    info() {},
    warn() {},
    error(facts, event) {
      if (tell(facts).includes('DeposedError')) return;
      world.broken(`${who} logs an error: ${event}: ${tell(facts)}`);
    },
  };
}
