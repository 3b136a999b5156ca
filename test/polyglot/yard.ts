/** A server for these tests, processes that speak with it, and what can be asked of runs and workers. */
import { execFile } from 'node:child_process';
import { promisify } from 'node:util';
import { type Run, RunState } from '../../gen/yardmaster/v1/run_pb.ts';
import { type Worker, WorkerState } from '../../gen/yardmaster/v1/worker_pb.ts';
import { type AdminClient, createAdminClient } from '../../src/client/index.ts';
import { DEFAULT_TIMES } from '../../src/domain/limits.ts';
import { SILENT_LOG } from '../../src/lib/log.ts';
import { type RunningServer, startServer } from '../../src/server/server.ts';
import { type Background, startInBackground } from '../support/background.ts';
import { nameIn } from '../support/conformance.ts';
import { createTestDatabase, type TestDatabase } from '../support/postgres.ts';
import { until } from '../support/until.ts';
import type { Language } from './languages.ts';
import { type StreamProxy, startProxy } from './proxy.ts';

const run = promisify(execFile);
const TOKEN = 'a-token-for-these-tests';
const ADMIN_MS_MAX = 30_000;
const STOP_MS_MAX = 10_000;
/** Short, so that a silence is noticed soon. */
const TIMES = { ...DEFAULT_TIMES, heartbeatIntervalMs: 500, silenceTimeoutMs: 4_000 };

export interface Answer {
  readonly code: number;
  readonly lines: readonly string[];
  readonly errors: string;
}

export class Yard {
  readonly database: TestDatabase;
  #server: RunningServer;
  #client: AdminClient;
  #processes: Background[] = [];
  #proxies: StreamProxy[] = [];

  private constructor(database: TestDatabase, server: RunningServer) {
    this.database = database;
    this.#server = server;
    this.#client = clientOf(server);
    // Whatever ends these tests ends what they started: a worker would look for its server for ever.
    process.once('exit', () => this.#kill());
  }

  static async open(): Promise<Yard> {
    const database = await createTestDatabase();
    return new Yard(database, await serve(database));
  }

  async close(): Promise<void> {
    await this.endProcesses();
    this.#client.close();
    await this.#server.stop();
    await this.database.drop();
  }

  get client(): AdminClient {
    return this.#client;
  }

  /** The server stops in good order and starts again, on another port; proxies follow it. */
  async restart(): Promise<void> {
    this.#client.close();
    await this.#server.stop();
    this.#server = await serve(this.database);
    this.#client = clientOf(this.#server);
    for (const proxy of this.#proxies) proxy.aimAt(this.#server.grpcPort);
  }

  async proxy(): Promise<StreamProxy> {
    const proxy = await startProxy(this.#server.grpcPort);
    this.#proxies.push(proxy);
    return proxy;
  }

  /** A worker of that language, connected. */
  async worker(language: Language, name: string, flags: readonly string[] = [], address?: string): Promise<Background> {
    const { file, args } = language.worker;
    // Go's flags end at the first other word.
    const worker = startInBackground(file, [...args, ...flags, name], { env: this.#environment(address) });
    this.#processes.push(worker);
    await until(() => worker.output().includes(`connected as ${name}`) || worker.code() !== null, worker.output);
    if (worker.code() !== null) throw new Error(`the worker ${name} did not connect: ${worker.output()}`);
    return worker;
  }

  async admin(language: Language, ...words: readonly string[]): Promise<Answer> {
    const { file, args } = language.admin;
    const options = { env: this.#environment(), timeout: ADMIN_MS_MAX };
    try {
      const { stdout, stderr } = await run(file, [...args, ...words], options);
      return answer(0, stdout, stderr);
    } catch (error) {
      const { code, stdout, stderr } = error as { code: unknown; stdout: string; stderr: string };
      if (typeof code !== 'number') throw error;
      return answer(code, stdout, stderr);
    }
  }

  /** Submits with the admin program of that language; the run's id. */
  async schedule(language: Language, ...words: readonly string[]): Promise<string> {
    const { code, lines, errors } = await this.admin(language, 'schedule', ...words);
    if (code !== 0) throw new Error(`schedule ended with ${code}: ${errors}`);
    return lines[0] ?? '';
  }

  async run(runId: string): Promise<Run> {
    const answered = await this.#client.getRun({ runId });
    if (answered.run === undefined) throw new Error(`there is no run ${runId}`);
    return answered.run;
  }

  async untilRun(runId: string, state: keyof typeof RunState): Promise<Run> {
    let seen = await this.run(runId);
    await until(
      async () => {
        seen = await this.run(runId);
        return seen.state === RunState[state];
      },
      () => `it is ${nameIn(RunState, seen.state)}; ${this.#processes.map((each) => each.output()).join('\n')}`,
    );
    return seen;
  }

  async workerNamed(name: string): Promise<Worker> {
    const answered = await this.#client.getWorker({ name });
    if (answered.worker === undefined) throw new Error(`there is no worker ${name}`);
    return answered.worker;
  }

  async untilWorker(name: string, state: keyof typeof WorkerState): Promise<Worker> {
    let seen = await this.workerNamed(name);
    await until(
      async () => {
        seen = await this.workerNamed(name);
        return seen.state === WorkerState[state];
      },
      () => `it is ${nameIn(WorkerState, seen.state)}`,
    );
    return seen;
  }

  /** The step's log: attempt, number and text of each line. */
  async log(runId: string): Promise<string[]> {
    const shown: string[] = [];
    let pageToken = '';
    do {
      const page = await this.#client.getStepLogs({ runId, pageSize: 1000, pageToken });
      for (const { attempt, number, line } of page.lines) shown.push(`${attempt}.${number} ${line?.text}`);
      pageToken = page.nextPageToken;
    } while (pageToken !== '');
    return shown;
  }

  /** Ends what a test started, and waits for it. */
  async endProcesses(): Promise<void> {
    for (const { child } of this.#processes) child.kill('SIGTERM');
    const gone = () => this.#processes.every((each) => each.code() !== null);
    await until(gone, () => 'a process does not end', STOP_MS_MAX).catch(() => this.#kill());
    await until(gone);
    this.#processes = [];
    for (const proxy of this.#proxies.splice(0)) await proxy.close();
  }

  #kill(): void {
    for (const { child } of this.#processes) child.kill('SIGKILL');
  }

  #environment(address = `127.0.0.1:${this.#server.grpcPort}`): NodeJS.ProcessEnv {
    return { ...process.env, YARDMASTER_ADDRESS: address, YARDMASTER_TOKEN: TOKEN };
  }
}

function serve(database: TestDatabase): Promise<RunningServer> {
  return startServer({ databaseUrl: database.url, grpcPort: 0, token: TOKEN, times: TIMES }, SILENT_LOG);
}

function clientOf(server: RunningServer): AdminClient {
  return createAdminClient({ address: `127.0.0.1:${server.grpcPort}`, token: TOKEN });
}

function answer(code: number, output: string, errors: string): Answer {
  return { code, lines: output.trimEnd().split('\n'), errors };
}
