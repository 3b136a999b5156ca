/** Servers in processes of their own, to be killed, stopped and started again. */
import { type ChildProcess, spawn } from 'node:child_process';
import { once } from 'node:events';
import { createInterface } from 'node:readline';
import type { Times } from '../../src/domain/limits.ts';
import type { ServerConfig } from '../../src/server/config.ts';

export type ProcessSettings = Partial<Omit<ServerConfig, 'times'>> & { times?: Partial<Times> };

export interface ServerProcess {
  readonly grpcPort: number;
  readonly httpPort: number;
  readonly pid: number;
  /** What it logged so far. */
  logged(): string;
  /** SIGKILL; resolves when it is gone. */
  kill(): Promise<void>;
  /** It stands still, and holds what it holds. */
  pause(): void;
  wake(): void;
  /** SIGTERM; resolves with its exit code. */
  stop(): Promise<number | null>;
}

const running = new Set<ChildProcess>();

/** Resolves when it listens: as the one that decides, or standing by. */
export async function startServerProcess(settings: ProcessSettings): Promise<ServerProcess> {
  const main = new URL('server_main.ts', import.meta.url).pathname;
  const child = spawn(
    process.execPath,
    ['--import', 'tsx', main, JSON.stringify({ grpcPort: 0, httpPort: 0, ...settings })],
    {
      stdio: ['ignore', 'pipe', 'pipe'],
    },
  );
  running.add(child);
  let logged = '';
  child.stderr.on('data', (data) => {
    logged += data;
  });
  const exited = once(child, 'exit').then(() => running.delete(child));
  const [line] = (await Promise.race([
    once(createInterface({ input: child.stdout }), 'line'),
    exited.then(() => Promise.reject(new Error(`the server ended before it listened:\n${logged}`))),
  ])) as [string];
  const end = async (signal: NodeJS.Signals) => {
    child.kill(signal);
    await exited;
    return child.exitCode;
  };
  return {
    ...JSON.parse(line),
    logged: () => logged,
    kill: async () => void (await end('SIGKILL')),
    pause: () => void child.kill('SIGSTOP'),
    wake: () => void child.kill('SIGCONT'),
    stop: () => end('SIGTERM'),
  };
}

/** For afterEach: whatever a failed test left behind. */
export async function killServerProcesses(): Promise<void> {
  await Promise.all(
    [...running].map(async (child) => {
      const gone = child.exitCode === null && child.signalCode === null ? once(child, 'exit') : null;
      child.kill('SIGKILL');
      await gone;
    }),
  );
}
