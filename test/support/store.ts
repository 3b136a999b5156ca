/** A database of one's own with a plane on it, and a clock that can be moved. */
import { vi } from 'vitest';
import type { LabelValue } from '../../src/domain/labels.ts';
import { DEFAULT_LIMITS, DEFAULT_TIMES, type Limits, type Times } from '../../src/domain/limits.ts';
import { isRefusal, type Refusal } from '../../src/domain/refusal.ts';
import type { CommandKind, CommandOf, OpenSession, ResultOf, SessionOpened } from '../../src/engine/commands.ts';
import type { Effect } from '../../src/engine/effects.ts';
import { type Clock, systemClock, type Timer } from '../../src/lib/clock.ts';
import type { Log } from '../../src/lib/log.ts';
import { type IdSource, systemIds } from '../../src/lib/random.ts';
import { type Plane, startPlane } from '../../src/server/plane.ts';
import { type Database, openDatabase } from '../../src/store/database.ts';
import { draftOf, type RunOptions } from './engine.ts';
import { createTestDatabase, type TestDatabase } from './postgres.ts';
import { type DatabaseProxy, startProxy } from './proxy.ts';

export interface MovingClock extends Clock {
  /** Moves time on at once; timers that are due by then fire. */
  advance(byMs: number): void;
}

/** Goes on by itself as well, so that what waits for a moment need not be pushed. */
export function movingClock(): MovingClock {
  const system = systemClock();
  const armed = new Map<Timer, { dueMs: number; fire: () => void }>();
  let aheadMs = 0;
  const nowMs = () => system.nowMs() + aheadMs;
  return {
    nowMs,
    after(delayMs, run) {
      const fire = () => {
        timer.clear();
        run();
      };
      const inner = system.after(delayMs, fire, true);
      const timer: Timer = {
        clear() {
          inner.clear();
          armed.delete(timer);
        },
      };
      armed.set(timer, { dueMs: nowMs() + delayMs, fire });
      return timer;
    },
    advance(byMs) {
      aheadMs += byMs;
      const due = [...armed.values()].filter(({ dueMs }) => dueMs <= nowMs()).sort((a, b) => a.dueMs - b.dueMs);
      for (const { fire } of due) fire();
    },
  };
}

interface LogRecord {
  readonly level: string;
  readonly event: string;
  readonly facts: Record<string, unknown>;
}

function recordingLog(): Log & { readonly records: LogRecord[] } {
  const records: LogRecord[] = [];
  const write = (level: string) => (facts: object, event: string) => {
    records.push({ level, event, facts: facts as Record<string, unknown> });
  };
  return { records, debug: write('debug'), info: write('info'), warn: write('warn'), error: write('error') };
}

export interface TestStore {
  readonly test: TestDatabase;
  /** What the code under test opens: by way of the proxy. */
  readonly database: Database;
  readonly proxy: DatabaseProxy;
  /** Past the proxy. */
  readonly sql: ReturnType<TestDatabase['connect']>;
  readonly log: ReturnType<typeof recordingLog>;
  plane(options?: PlaneSettings): Promise<TestPlane>;
  close(): Promise<void>;
}

interface PlaneSettings {
  readonly clock?: Clock;
  readonly ids?: IdSource;
  readonly times?: Partial<Times>;
  readonly limits?: Partial<Limits>;
}

export async function openTestStore(): Promise<TestStore> {
  const test = await createTestDatabase();
  const proxy = await startProxy(test.url);
  const log = recordingLog();
  const database = await openDatabase({ databaseUrl: proxy.url, dataDirectory: '', log });
  const sql = test.connect({ max: 2, fetch_types: false });
  const planes: Plane[] = [];
  return {
    test,
    database,
    proxy,
    sql,
    log,
    async plane(settings = {}) {
      const plane = await startTestPlane(database, log, settings);
      planes.push(plane);
      return withHelpers(plane);
    },
    async close() {
      await Promise.all(planes.map((plane) => plane.stop()));
      await sql.end({ timeout: 1 });
      await proxy.close();
      await test.drop();
    },
  };
}

function startTestPlane(database: Database, log: Log, settings: PlaneSettings): Promise<Plane> {
  return startPlane({
    database,
    name: 'test',
    limits: { ...DEFAULT_LIMITS, ...settings.limits },
    times: { ...DEFAULT_TIMES, ...settings.times },
    clock: settings.clock ?? systemClock(),
    ids: settings.ids ?? systemIds(),
    log,
  });
}

interface HelloSettings {
  readonly labels?: Record<string, LabelValue>;
  readonly tags?: string[];
  readonly slots?: number;
  readonly actions?: string[];
  readonly resume?: OpenSession['resume'];
}

/** A worker's stream without a socket: it keeps what it is sent. */
export interface TestWorker {
  readonly connection: number;
  readonly opened: SessionOpened;
  readonly effects: Effect[];
  /** The assignment of this run, once it has been pushed. */
  offered(runId: string): Promise<string>;
}

export interface TestPlane extends Plane {
  /** A command that has to be taken. */
  take<K extends CommandKind>(command: CommandOf<K>): Promise<ResultOf<K>>;
  /** A command that has to be refused. */
  refuse<K extends CommandKind>(command: CommandOf<K>): Promise<Refusal>;
  /** A fact of a worker; resolves with its answer. */
  fact<K extends CommandKind>(command: CommandOf<K>): Promise<ResultOf<K> | Refusal>;
  run(options?: RunOptions): Promise<string>;
  worker(name: string, options?: HelloSettings): Promise<TestWorker>;
}

function withHelpers(plane: Plane): TestPlane {
  async function take<K extends CommandKind>(command: CommandOf<K>): Promise<ResultOf<K>> {
    const result = await plane.submit<K>(command);
    if (isRefusal(result)) throw new Error(`${command.kind} was refused: ${result.refused}: ${result.message}`);
    return result as ResultOf<K>;
  }
  return {
    ...plane,
    take,
    async refuse(command) {
      const result = await plane.submit(command);
      if (!isRefusal(result)) throw new Error(`${command.kind} was taken`);
      return result;
    },
    fact: (command) => new Promise((resolve) => plane.decide(command, resolve)),
    async run(options) {
      const draft = draftOf(plane.ids.orderedId(), options);
      await take({ kind: 'schedule_runs', runs: [draft] });
      return draft.runId;
    },
    async worker(name, options = {}) {
      const effects: Effect[] = [];
      const connection = plane.attach((effect) => effects.push(effect));
      const opened = await take({ kind: 'open_session', ...helloOf(connection, name, options) });
      const offered = (runId: string) =>
        vi.waitFor(() => {
          const offer = effects
            .flatMap((effect) => (effect.kind === 'run_step' ? [effect.offer] : []))
            .findLast((each) => each.runId === runId);
          if (offer === undefined) throw new Error(`run ${runId} was not offered to ${name}`);
          return offer.assignmentId;
        }, WAIT);
      return { connection, opened, effects, offered };
    },
  };
}

/** Server processes of this database that have the lock of who decides (`granted`), or wait for it. */
export async function lockers(store: TestStore, granted: boolean): Promise<number[]> {
  // The locks of all databases are listed, and other tests run beside this one.
  const rows = await store.sql<{ pid: number }[]>`
    SELECT pid FROM pg_locks JOIN pg_database d ON d.oid = database
    WHERE locktype = 'advisory' AND granted = ${granted} AND datname = current_database()`;
  return rows.map(({ pid }) => pid);
}

/** Ends the connection of whoever decides. */
export async function endHolder(store: TestStore): Promise<void> {
  for (const pid of await lockers(store, true)) await store.sql`SELECT pg_terminate_backend(${pid})`;
}

/** Somebody waits for the lock by now. */
export async function someoneWaits(store: TestStore): Promise<void> {
  await vi.waitFor(async () => {
    if ((await lockers(store, false)).length === 0) throw new Error('nobody waits for the lock');
  }, WAIT);
}

/** Lets everything that is ready to go, go: what was submitted is on its way to the store afterwards. */
export const aMoment = () => new Promise<void>((resolve) => setImmediate(resolve));

/** For conditions that come about by themselves, and soon. */
export const WAIT = { timeout: 5_000, interval: 5 };

function helloOf(connection: number, name: string, options: HelloSettings): OpenSession {
  return {
    connection,
    namespace: 'default',
    workerId: '',
    name,
    tags: options.tags ?? [],
    labels: options.labels ? new Map(Object.entries(options.labels)) : null,
    actions: options.actions ?? ['build'],
    slots: options.slots ?? 1,
    devices: null,
    nickname: '',
    sdk: null,
    resume: options.resume ?? null,
    newSessionHash: `session-${connection}`,
  };
}
