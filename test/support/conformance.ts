/** A server on a database of its own, and stock clients that speak with it through its listener. */
import type { MessageInitShape } from '@bufbuild/protobuf';
import { Client, credentials } from '@grpc/grpc-js';
import { afterAll, afterEach, beforeAll } from 'vitest';
import { AdminService, type ScheduleRunRequestSchema } from '../../gen/yardmaster/v1/admin_service_pb.ts';
import { type Run, RunState, type Step, StepState } from '../../gen/yardmaster/v1/run_pb.ts';
import { WorkerService } from '../../gen/yardmaster/v1/worker_service_pb.ts';
import { DEFAULT_LIMITS, DEFAULT_TIMES, type Limits, type Times } from '../../src/domain/limits.ts';
import { SILENT_LOG } from '../../src/lib/log.ts';
import type { ServerConfig } from '../../src/server/config.ts';
import type { Plane } from '../../src/server/plane.ts';
import { type RunningServer, startServer } from '../../src/server/server.ts';
import { type Calls, callsOf, metadataOf } from './conformance_calls.ts';
import { type HelloInit, WorkerStream } from './conformance_stream.ts';
import { createTestDatabase, type TestDatabase } from './postgres.ts';

export type RunInit = MessageInitShape<typeof ScheduleRunRequestSchema>;
export type RunRest = Omit<RunInit, 'what'>;
export type StepInit = Extract<NonNullable<RunInit['what']>, { case: 'step' }>['value'];

export interface YardSettings {
  readonly times?: Partial<Times>;
  readonly limits?: Partial<Limits>;
}

interface Running {
  readonly database: TestDatabase;
  readonly settings: Partial<ServerConfig>;
  readonly server: RunningServer;
  readonly client: Client;
}

export class Yard {
  readonly admin: Calls<typeof AdminService> = callsOf(() => this.client, AdminService);
  readonly workers: Calls<typeof WorkerService> = callsOf(() => this.client, WorkerService);
  #running: Running | undefined;
  #streams: WorkerStream[] = [];

  get client(): Client {
    if (this.#running === undefined) throw new Error('the server was not started');
    return this.#running.client;
  }

  /** For checks of what no message tells. */
  get plane(): Plane {
    if (this.#running === undefined) throw new Error('the server was not started');
    return this.#running.server.plane;
  }

  /** For what only another of its clients can do. */
  get database(): TestDatabase {
    return present(this.#running).database;
  }

  async start({ times, limits }: YardSettings): Promise<void> {
    const database = await createTestDatabase();
    const settings = {
      databaseUrl: database.url,
      grpcPort: 0,
      times: { ...DEFAULT_TIMES, ...times },
      limits: { ...DEFAULT_LIMITS, ...limits },
    };
    this.#running = { database, settings, ...(await serve(settings)) };
  }

  /** The server stops, and another begins on the same database. Streams end without a goodbye; their processes go on. */
  async restart(): Promise<void> {
    const { client, server, settings, database } = present(this.#running);
    await server.stop();
    client.close();
    // At the same address, as whoever was connected expects.
    this.#running = { database, settings, ...(await serve({ ...settings, grpcPort: server.grpcPort, httpPort: 0 })) };
  }

  /** Where SDKs connect to. */
  get address(): string {
    return `127.0.0.1:${present(this.#running).server.grpcPort}`;
  }

  async stop(): Promise<void> {
    if (this.#running === undefined) return;
    const { database, server, client } = this.#running;
    client.close();
    await server.stop();
    await database.drop();
  }

  /** A stream on which nothing was said yet. */
  open(metadata: Record<string, string> = {}): WorkerStream {
    const stream = new WorkerStream(this.client, metadataOf(metadata));
    this.#streams.push(stream);
    return stream;
  }

  /** A welcomed worker, by a name of its own unless the hello says who it is. */
  async connect(hello: HelloInit = {}): Promise<WorkerStream> {
    const stream = this.open();
    await stream.hello(hello.workerId ? hello : { name: unique('worker'), ...hello });
    return stream;
  }

  /** Every worker leaves, so that the next test has none of them. */
  async leave(): Promise<void> {
    await Promise.all(this.#streams.splice(0).map((stream) => stream.leave()));
  }

  /** Submits a run of one step; its id. */
  async submit(step: StepInit, rest: RunRest = {}): Promise<string> {
    const { run } = await this.admin.scheduleRun(runOf(step, rest));
    return present(run).runId;
  }

  /** Submits so many equal ones together. */
  async submitMany(count: number, step: StepInit, rest: RunRest = {}): Promise<string[]> {
    const { runIds } = await this.admin.scheduleRuns({ runs: Array.from({ length: count }, () => runOf(step, rest)) });
    return runIds;
  }

  /**
   * A barrier: everything that the server decided before has been committed and released, and has arrived on these
   * streams. The read waits for the commits before it, the heartbeat's answer follows whatever they sent.
   */
  async quiet(...streams: WorkerStream[]): Promise<void> {
    await this.workers.getQueueDepth({ actions: [] });
    await Promise.all(streams.map((stream) => stream.heartbeat()));
  }

  async pending(action: string): Promise<number> {
    const { pendingByAction } = await this.workers.getQueueDepth({ actions: [action] });
    return Number(pendingByAction[action]);
  }

  async run(runId: string): Promise<Run> {
    return present((await this.admin.getRun({ runId })).run);
  }

  async step(runId: string): Promise<Step> {
    return present((await this.run(runId)).steps[0]);
  }

  async runState(runId: string): Promise<string> {
    return nameIn(RunState, (await this.run(runId)).state);
  }

  async stepState(runId: string): Promise<string> {
    return nameIn(StepState, (await this.step(runId)).state);
  }

  async worker(workerId: string) {
    return present((await this.admin.getWorker({ workerId })).worker);
  }
}

async function serve(settings: Partial<ServerConfig>) {
  const server = await startServer(settings, SILENT_LOG);
  return { server, client: new Client(`127.0.0.1:${server.grpcPort}`, credentials.createInsecure()) };
}

/** One server for the file; after each test all its workers leave. */
export function useYard(settings: YardSettings = {}): Yard {
  const yard = new Yard();
  beforeAll(() => yard.start(settings));
  afterEach(() => yard.leave());
  afterAll(() => yard.stop());
  return yard;
}

export function runOf(step: StepInit, rest: RunRest = {}): RunInit {
  return { ...rest, what: { case: 'step', value: step } } as RunInit;
}

let count = 0;

/** A name nobody else in this file has. */
export function unique(stem: string): string {
  count += 1;
  return `${stem}-${count}`;
}

export function present<T>(value: T | undefined): T {
  if (value === undefined) throw new Error('something that must be there is not');
  return value;
}

export function nameIn(values: Readonly<Record<string, number>>, value: number): string {
  return Object.keys(values).find((name) => values[name] === value) ?? String(value);
}

/** Waits for something that no message announces, asking again until it holds. */
export async function until(holds: () => Promise<boolean>, what: string): Promise<void> {
  const giveUpAt = performance.now() + 8_000;
  while (!(await holds())) {
    if (performance.now() > giveUpAt) throw new Error(`it never came true: ${what}`);
    await new Promise((resolve) => setTimeout(resolve, 10));
  }
}
