/** Processes of a benchmark: everything measured runs in its own, as it does for a user. */
import { type ChildProcess, fork } from 'node:child_process';
import { once } from 'node:events';
import { fileURLToPath } from 'node:url';

/** A script beside the benchmark, with an IPC channel; rejects when it dies before its first message. */
export async function startScript(script: URL, environment: Record<string, string>): Promise<ChildProcess> {
  const child = fork(fileURLToPath(script), [], {
    env: { ...process.env, ...environment },
    execArgv: ['--import', 'tsx'],
    stdio: ['ignore', 'inherit', 'inherit', 'ipc'],
  });
  const ready = once(child, 'message');
  const died = once(child, 'exit').then(([code]) => {
    throw new Error(`${script.pathname} exited with ${code} before it was ready`);
  });
  died.catch(() => {});
  await Promise.race([ready, died]);
  return child;
}

export async function stopProcess(child: ChildProcess): Promise<void> {
  if (child.exitCode !== null || child.signalCode !== null) return;
  const gone = once(child, 'exit');
  child.kill('SIGTERM');
  await gone;
}

/** Waits for the next message of a script. */
export async function nextMessage<T>(child: ChildProcess): Promise<T> {
  const [message] = await once(child, 'message');
  return message as T;
}
