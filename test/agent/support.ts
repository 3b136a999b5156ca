/** A server of its own for a test file, agents connected to it, and what can be asked of runs. */
import { readFileSync } from 'node:fs';
import { afterAll, beforeAll } from 'vitest';
import { type Run, RunState } from '../../gen/yardmaster/v1/run_pb.ts';
import { LogLevel } from '../../gen/yardmaster/v1/worker_service_pb.ts';
import { type Agent, type AgentOptions, startAgent } from '../../src/cli/agent/agent.ts';
import { type AdminClient, createAdminClient } from '../../src/client/index.ts';
import { systemClock } from '../../src/lib/clock.ts';
import { SILENT_LOG } from '../../src/lib/log.ts';
import { type RunningServer, startServer } from '../../src/server/server.ts';
import { nameIn } from '../support/conformance.ts';
import { createTestDatabase, type TestDatabase } from '../support/postgres.ts';
import { until } from '../support/until.ts';

export const SCRIPTS = new URL('scripts/', import.meta.url).pathname;

export interface RunningAgent extends Agent {
  /** What it told its person. */
  readonly said: string[];
}

type Request = Parameters<AdminClient['scheduleRun']>[0];

export class Plane {
  #running: { database: TestDatabase; server: RunningServer; admin: AdminClient } | undefined;
  #agents: Agent[] = [];

  async start(): Promise<void> {
    const database = await createTestDatabase();
    const server = await startServer({ databaseUrl: database.url, grpcPort: 0 }, SILENT_LOG);
    const admin = createAdminClient({ address: `127.0.0.1:${server.grpcPort}` });
    this.#running = { database, server, admin };
  }

  async stop(): Promise<void> {
    const { database, server, admin } = this.#parts;
    for (const agent of this.#agents) {
      agent.stop();
      agent.stop();
    }
    await Promise.all(this.#agents.map((agent) => agent.ended));
    admin.close();
    await server.stop();
    await database.drop();
  }

  get admin(): AdminClient {
    return this.#parts.admin;
  }

  get address(): string {
    return `127.0.0.1:${this.#parts.server.grpcPort}`;
  }

  /** An agent that serves the action `name` with this command, connected. */
  async agent(name: string, words: readonly string[], options: Partial<AgentOptions> = {}): Promise<RunningAgent> {
    const said: string[] = [];
    const [file = '', ...args] = words;
    const agent = startAgent(
      {
        actions: [name],
        line: { file, args, workingDirectory: undefined },
        cancelGraceMs: 300,
        finalExitCodes: [],
        ...options,
        worker: { address: this.address, name: `agent-${name}`, ...options.worker },
      },
      { clock: systemClock(), environment: process.env, say: (line) => said.push(line) },
    );
    this.#agents.push(agent);
    await until(
      () => said.some((line) => line.startsWith('connected as')),
      () => said.join('\n'),
    );
    return { ended: agent.ended, stop: () => agent.stop(), said };
  }

  async submit(action: string, rest: Partial<Request> = {}): Promise<string> {
    const { run } = await this.admin.scheduleRun({ what: { case: 'step', value: { action } }, ...rest } as Request);
    return run?.runId ?? '';
  }

  async run(runId: string): Promise<Run> {
    const { run } = await this.admin.getRun({ runId });
    if (run === undefined) throw new Error(`there is no run ${runId}`);
    return run;
  }

  async state(runId: string): Promise<string> {
    return nameIn(RunState, (await this.run(runId)).state);
  }

  async untilState(runId: string, state: string): Promise<Run> {
    let run = await this.run(runId);
    await until(
      async () => {
        run = await this.run(runId);
        return nameIn(RunState, run.state) === state;
      },
      () => `it is ${nameIn(RunState, run.state)}: ${JSON.stringify(run.steps[0]?.error?.message)}`,
      15_000,
    );
    return run;
  }

  /** Number, level and text of each line of the log. */
  async log(runId: string, pageSize = 1000): Promise<[number: number, level: string, text: string][]> {
    const lines: [number, string, string][] = [];
    let pageToken = '';
    do {
      const page = await this.admin.getStepLogs({ runId, pageSize, pageToken });
      for (const { number, line } of page.lines) {
        lines.push([Number(number), nameIn(LogLevel, line?.level ?? 0), line?.text ?? '']);
      }
      pageToken = page.nextPageToken;
    } while (pageToken !== '');
    return lines;
  }

  get #parts() {
    if (this.#running === undefined) throw new Error('the server was not started');
    return this.#running;
  }
}

export function usePlane(): Plane {
  const plane = new Plane();
  beforeAll(() => plane.start());
  afterAll(() => plane.stop());
  return plane;
}

/** False also of a process that has ended and that nobody has reaped. */
export function isRunning(processId: number): boolean {
  try {
    process.kill(processId, 0);
  } catch {
    return false;
  }
  if (process.platform !== 'linux') return true;
  try {
    const stat = readFileSync(`/proc/${processId}/stat`, 'utf8');
    return !/^[ZX]/.test(stat.slice(stat.lastIndexOf(')') + 2));
  } catch {
    return false;
  }
}
