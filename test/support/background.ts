/** A process that runs beside a test. */
import { type ChildProcess, type SpawnOptions, spawn } from 'node:child_process';
import { once } from 'node:events';

export interface Background {
  readonly child: ChildProcess;
  /** What it printed so far, both streams. */
  output(): string;
  /** Its exit code, 128 + the signal's number as shells do, or null while it runs. */
  code(): number | null;
}

export function startInBackground(command: string, args: readonly string[], options: SpawnOptions = {}): Background {
  // A group of its own: a launcher such as npx has children that must go with it.
  const child = spawn(command, [...args], { ...options, detached: true, stdio: ['ignore', 'pipe', 'pipe'] });
  let output = '';
  let code: number | null = null;
  child.stdout?.on('data', (data) => {
    output += data;
  });
  child.stderr?.on('data', (data) => {
    output += data;
  });
  child.on('exit', (exitCode, signal) => {
    code = exitCode ?? (signal === 'SIGTERM' ? 143 : 137);
  });
  return { child, output: () => output, code: () => code };
}

/** Asks the whole group to end, and waits for it. */
export async function stopBackground({ child }: Background): Promise<void> {
  if (child.exitCode !== null || child.signalCode !== null || child.pid === undefined) return;
  const gone = once(child, 'exit');
  process.kill(-child.pid, 'SIGTERM');
  await gone;
}
