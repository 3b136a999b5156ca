/** A process that is put through it: killed, stopped, woken and started again, always by its id. */
import { type ChildProcess, spawn } from 'node:child_process';
import { once } from 'node:events';
import { openSync, writeSync } from 'node:fs';
import { createInterface } from 'node:readline';

export interface SubjectOptions {
  readonly name: string;
  readonly command: readonly [string, ...string[]];
  readonly environment: Readonly<Record<string, string>>;
  /** What it prints is appended there. */
  readonly logFile: string;
  readonly onStart?: () => void;
  /** Told each line of its standard output. */
  readonly onLine?: (line: string) => void;
  /** It ended, and nobody here had asked for it. */
  readonly onEnd: (subject: Subject, how: string) => void;
}

export interface Subject {
  readonly name: string;
  readonly pid: number | null;
  /** Under a fault at this moment: another one has to wait. */
  busy: boolean;
  start(): void;
  /** SIGKILL; resolves when it is gone. */
  kill(): Promise<void>;
  /** SIGTERM; resolves with its exit code, or with the signal if it had to be killed after `msMax`. */
  stop(msMax: number): Promise<number | string | null>;
  pause(): void;
  wake(): void;
}

export function createSubject(options: SubjectOptions): Subject {
  const { name, command, environment, logFile, onStart, onLine, onEnd } = options;
  const log = openSync(logFile, 'a');
  let child: ChildProcess | null = null;
  let isAsked = false;

  function start(): void {
    isAsked = false;
    onStart?.();
    const [program, ...rest] = command;
    const started = spawn(program, rest, {
      env: { ...process.env, ...environment },
      stdio: ['ignore', onLine === undefined ? log : 'pipe', log, 'ipc'],
    });
    child = started;
    if (started.stdout !== null) createInterface({ input: started.stdout }).on('line', heard);
    started.on('error', (error) => onEnd(subject, error.message));
    started.on('exit', (code, signal) => {
      if (child === started) child = null;
      if (!isAsked) onEnd(subject, `${code ?? signal}`);
    });
  }

  function heard(line: string): void {
    writeSync(log, `${line}\n`);
    onLine?.(line);
  }

  async function end(signal: NodeJS.Signals, msMax: number): Promise<number | string | null> {
    const ending = child;
    if (ending === null) return null;
    isAsked = true;
    const gone = once(ending, 'exit');
    ending.kill(signal);
    const force = setTimeout(() => ending.kill('SIGKILL'), msMax);
    await gone;
    clearTimeout(force);
    return ending.exitCode ?? ending.signalCode;
  }

  const subject: Subject = {
    name,
    get pid() {
      return child?.pid ?? null;
    },
    busy: false,
    start,
    kill: async () => void (await end('SIGKILL', 0)),
    stop: (msMax) => end('SIGTERM', msMax),
    pause: () => void child?.kill('SIGSTOP'),
    wake: () => void child?.kill('SIGCONT'),
  };
  return subject;
}
