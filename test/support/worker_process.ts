/** SDK workers in processes of their own, to be stopped and woken. */
import { spawn } from 'node:child_process';
import { once } from 'node:events';
import type { WorkerEvent, WorkerOptions } from '../../src/worker/index.ts';
import { until } from './until.ts';

type AnyEvent = { type: WorkerEvent['type'] | 'closed'; kind?: string; reason?: string };

export interface WorkerProcess {
  readonly pid: number;
  events(): AnyEvent[];
  output(): string;
  /** Every handler, now and later, ends with this line. */
  say(line: string): void;
  pause(): void;
  wake(): void;
  /** Resolves with its exit code. */
  stop(): Promise<number | null>;
  kill(): Promise<void>;
}

/** Resolves when it is connected. Its handlers wait for a line. */
export async function startWorkerProcess(
  options: Omit<WorkerOptions, 'actions'> & { actions: string[] },
): Promise<WorkerProcess> {
  const loader = new URL('ts_threads.mjs', import.meta.url).href;
  const main = new URL('worker_main.ts', import.meta.url).pathname;
  const child = spawn(process.execPath, ['--import', loader, main, JSON.stringify(options)], {
    stdio: ['pipe', 'pipe', 'pipe'],
  });
  let output = '';
  let problems = '';
  child.stdout.on('data', (data) => {
    output += data;
  });
  child.stderr.on('data', (data) => {
    problems += data;
  });
  const exited = once(child, 'exit');
  // A line may have come in part only.
  const lines = () => output.split('\n').slice(0, -1);
  const events = () => lines().map((line) => JSON.parse(line) as AnyEvent);
  await until(
    () => events().some(({ type }) => type === 'connected'),
    () => output + problems,
  );
  return {
    pid: child.pid ?? 0,
    events,
    output: () => output + problems,
    say: (line) => void child.stdin.write(`${line}\n`),
    pause: () => void child.kill('SIGSTOP'),
    wake: () => void child.kill('SIGCONT'),
    async stop() {
      child.kill('SIGTERM');
      await exited;
      return child.exitCode;
    },
    async kill() {
      child.kill('SIGKILL');
      await exited;
    },
  };
}
