/** Processes of a benchmark: everything measured runs in its own, as it does for a user. */
import { type ChildProcess, fork } from 'node:child_process';
import { once } from 'node:events';
import { fileURLToPath } from 'node:url';

/** A script with an IPC channel, and its first message; rejects when it dies before that. */
export async function startScript<T>(
  script: URL,
  environment: Record<string, string>,
): Promise<readonly [ChildProcess, T]> {
  const child = fork(fileURLToPath(script), [], {
    env: { ...process.env, ...environment },
    execArgv: ['--import', 'tsx'],
    stdio: ['ignore', 'inherit', 'inherit', 'ipc'],
  });
  const ready = nextMessage<T>(child);
  const died = once(child, 'exit').then(([code]) => {
    throw new Error(`${script.pathname} exited with ${code} before it was ready`);
  });
  died.catch(() => {});
  return [child, await Promise.race([ready, died])];
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
