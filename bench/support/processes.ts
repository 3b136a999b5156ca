/** Processes of a benchmark: everything measured runs in its own, as it does for a user. */
import { type ChildProcess, fork } from 'node:child_process';
import { once } from 'node:events';
import { fileURLToPath } from 'node:url';

const STOP_MS_MAX = 15_000;

export interface StartOptions {
  /** For node itself. */
  readonly flags?: readonly string[];
}

/** A script with an IPC channel and its settings. TypeScript is run by tsx, JavaScript by node alone. */
export function forkScript(script: URL, settings: object, { flags = [] }: StartOptions = {}): ChildProcess {
  const loader = script.pathname.endsWith('.ts') ? ['--import', 'tsx'] : [];
  return fork(fileURLToPath(script), [], {
    env: { ...process.env, BENCH_SETTINGS: JSON.stringify(settings) },
    execArgv: [...flags, ...loader],
    stdio: ['ignore', 'inherit', 'inherit', 'ipc'],
  });
}

/** Waits for the next message of a process; rejects when it ends instead. */
export async function nextMessage<T>(child: ChildProcess): Promise<T> {
  if (hasEnded(child)) throw new Error(`${nameOf(child)} has ended and says no more`);
  const stopListening = new AbortController();
  const { signal } = stopListening;
  const ended = once(child, 'exit', { signal }).then(([code, killedBy]) => {
    throw new Error(`${nameOf(child)} ended (${code ?? killedBy}) where it had something to say`);
  });
  try {
    const [message] = await Promise.race([once(child, 'message', { signal }), ended]);
    return message as T;
  } finally {
    ended.catch(() => {});
    stopListening.abort();
  }
}

/** Tells a process what to do and waits for what it says next. */
export function ask<T>(child: ChildProcess, order: object = {}): Promise<T> {
  const answer = nextMessage<T>(child);
  child.send(order);
  return answer;
}

/** In good order, and after a while by force. */
export async function stopProcess(child: ChildProcess): Promise<void> {
  if (hasEnded(child)) return;
  const gone = once(child, 'exit');
  const force = setTimeout(() => child.kill('SIGKILL'), STOP_MS_MAX);
  child.kill('SIGTERM');
  await gone;
  clearTimeout(force);
}

export async function killProcess(child: ChildProcess): Promise<void> {
  if (hasEnded(child)) return;
  const gone = once(child, 'exit');
  child.kill('SIGKILL');
  await gone;
}

function hasEnded(child: ChildProcess): boolean {
  return child.exitCode !== null || child.signalCode !== null;
}

function nameOf(child: ChildProcess): string {
  return child.spawnargs.find((argument) => argument.includes('.process.')) ?? `process ${child.pid}`;
}
