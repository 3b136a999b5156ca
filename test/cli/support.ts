/** The command line in this process, against a server of its own, with everything it says kept. */
import { setTimeout as wait } from 'node:timers/promises';
import { afterAll, afterEach, beforeAll } from 'vitest';
import type { Io } from '../../src/cli/io.ts';
import { runCli } from '../../src/cli/program.ts';
import { systemClock } from '../../src/lib/clock.ts';
import { SILENT_LOG } from '../../src/lib/log.ts';
import { type RunningServer, startServer } from '../../src/server/server.ts';
import { createWorker, type Worker, type WorkerOptions } from '../../src/worker/index.ts';
import { createTestDatabase, type TestDatabase } from '../support/postgres.ts';
import { until } from '../support/until.ts';

export interface IoSettings {
  readonly stdin?: string;
  readonly isTTY?: boolean;
  readonly colours?: boolean;
}

/** A command that may still be under way. */
export interface Told {
  readonly stdout: string;
  readonly stderr: string;
  readonly exitCode: Promise<number>;
  interrupt(): void;
  /** Standard output has this in it by now. */
  says(text: string | RegExp): Promise<void>;
}

export interface Ended {
  readonly exitCode: number;
  readonly stdout: string;
  readonly stderr: string;
}

export function begin(args: readonly string[], { stdin = '', isTTY = false, colours = false }: IoSettings = {}): Told {
  const said = { stdout: '', stderr: '' };
  const interruption = new AbortController();
  const io: Io = {
    stdout(text) {
      said.stdout += text;
    },
    stderr(text) {
      said.stderr += text;
    },
    stdin: async () => stdin,
    async *stdinChunks() {
      yield Buffer.from(stdin);
    },
    isTTY,
    colours,
    clock: systemClock(),
    interrupted: () => interruption.signal,
  };
  const exitCode = runCli(args, io);
  return {
    get stdout() {
      return said.stdout;
    },
    get stderr() {
      return said.stderr;
    },
    exitCode,
    interrupt: () => interruption.abort(),
    says: (text) =>
      until(
        () => said.stdout.search(text) !== -1,
        () => said.stdout + said.stderr,
        10_000,
      ),
  };
}

export async function finish(args: readonly string[], settings: IoSettings = {}): Promise<Ended> {
  const told = begin(args, settings);
  const exitCode = await told.exitCode;
  return { exitCode, stdout: told.stdout, stderr: told.stderr };
}

export interface CliYard {
  readonly address: string;
  readonly databaseUrl: string;
  begin(...args: string[]): Told;
  run(...args: string[]): Promise<Ended>;
  /** With standard input, or at a terminal. */
  runWith(settings: IoSettings, ...args: string[]): Promise<Ended>;
  /** Its JSON; fails unless it went well. */
  json<Document = Record<string, unknown>>(...args: string[]): Promise<Document>;
  /** Schedules a run of that action, with further arguments; its id. */
  submit(action: string, ...args: string[]): Promise<string>;
  worker(options: Pick<WorkerOptions, 'name' | 'actions'> & Partial<WorkerOptions>): Promise<Worker>;
  /** Until the run has that state. */
  reaches(runId: string, state: string): Promise<void>;
}

export function useCli(): CliYard {
  let database: TestDatabase;
  let server: RunningServer;
  const workers: Worker[] = [];
  const here = () => ['--address', `127.0.0.1:${server.grpcPort}`];
  beforeAll(async () => {
    database = await createTestDatabase();
    server = await startServer({ databaseUrl: database.url, grpcPort: 0 }, SILENT_LOG);
  });
  afterEach(async () => {
    await Promise.all(workers.splice(0).map((worker) => worker.stop({ graceMs: 0 })));
  });
  afterAll(async () => {
    await server.stop();
    await database.drop();
  });
  const yard: CliYard = {
    get address() {
      return `127.0.0.1:${server.grpcPort}`;
    },
    get databaseUrl() {
      return database.url;
    },
    begin: (...args) => begin([...here(), ...args]),
    run: (...args) => finish([...here(), ...args]),
    runWith: (settings, ...args) => finish([...here(), ...args], settings),
    async json(...args) {
      const { exitCode, stdout, stderr } = await yard.run('--json', ...args);
      if (exitCode !== 0) throw new Error(`${args.join(' ')} ended with ${exitCode}: ${stderr}`);
      return JSON.parse(stdout);
    },
    async submit(...args) {
      const { stdout, stderr } = await yard.run('schedule', ...args);
      if (!UUID.test(stdout.trim())) throw new Error(`no run: ${stderr}`);
      return stdout.trim();
    },
    async worker(options) {
      const worker = createWorker({ address: yard.address, ...options });
      workers.push(worker);
      await worker.start();
      return worker;
    },
    async reaches(runId, state) {
      const stateOf = async () => (await yard.json<{ run: { state: string } }>('run', runId)).run.state;
      await until(async () => (await stateOf()) === `RUN_STATE_${state}`);
    },
  };
  return yard;
}

export const UUID = /^[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}$/;

/** A handler that goes on until it is stopped. */
export function untilStopped(context: { signal: AbortSignal }): Promise<void> {
  return wait(60_000, undefined, { signal: context.signal });
}

export function documents(jsonLines: string): Record<string, unknown>[] {
  return jsonLines
    .trim()
    .split('\n')
    .map((line) => JSON.parse(line));
}
