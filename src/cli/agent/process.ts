/**
 * One command, from its start to the end of everything it started. It leads a process group of its own, so that a signal
 * reaches its children too and Ctrl-C in the agent's terminal does not.
 */
import { type ChildProcessByStdio, spawn } from 'node:child_process';
import type { Readable, Writable } from 'node:stream';
import { type Clock, sleep } from '../../lib/clock.ts';
import type { LogGate } from './log_gate.ts';
import { PipeReader } from './pipe_reader.ts';
import { ProcessGroup } from './process_group.ts';

/** What a command leaves behind may go on for this long after it, and a pipe it left open stay silent for as long. */
const LINGER_MS = 1_000;
/** Whoever holds a pipe open, and escaped from the group, is listened to for this long at most. */
const PIPES_MS_MAX = 120_000;
/** Not even SIGKILL ends a process that the kernel holds; nobody waits longer for it. */
const KILL_MS_MAX = 2_000;
/** The end of a group announces itself to nobody: it is looked for, at first often. */
const LOOK_MS_MIN = 10;
const LOOK_MS_MAX = 250;

export interface CommandLine {
  readonly file: string;
  readonly args: readonly string[];
  /** Undefined: the agent's own. */
  readonly workingDirectory: string | undefined;
}

export interface CommandRun {
  readonly line: CommandLine;
  readonly environment: NodeJS.ProcessEnv;
  /** Written to its standard input, which ends after it. */
  readonly input: string;
  /** Between SIGTERM and SIGKILL, milliseconds. */
  readonly cancelGraceMs: number;
  /** Aborted: end it. */
  readonly signal: AbortSignal;
}

export interface CommandPorts {
  readonly clock: Clock;
  readonly gate: LogGate;
  started(processId: number): void;
  stdout(line: string): void;
  stderr(line: string): void;
}

export type CommandEnd =
  | { kind: 'not_started'; error: NodeJS.ErrnoException }
  | { kind: 'exited'; code: number }
  | { kind: 'signalled'; signal: NodeJS.Signals }
  /** It was told to end before it did, whatever it ended with. */
  | { kind: 'stopped' };

type Child = ChildProcessByStdio<Writable, Readable, Readable>;

/** Resolves when the command, its group and its pipes are done with, or given up; never rejects. */
export async function runCommand(run: CommandRun, ports: CommandPorts): Promise<CommandEnd> {
  if (run.signal.aborted) return { kind: 'stopped' };
  const started = start(run);
  if (started instanceof Error) return { kind: 'not_started', error: started };
  const { child } = started;
  // Without a process there may not even be pipes.
  if (child.pid === undefined) return started.end;
  const readers = [reader(child.stdout, ports.stdout, run, ports), reader(child.stderr, ports.stderr, run, ports)];
  // A command that does not read its input is no failure.
  child.stdin.on('error', () => {});
  child.stdin.end(run.input);
  ports.started(child.pid);
  const end = await new Ending(new ProcessGroup(child.pid), readers, run, ports.clock).wait(started.end);
  for (const one of readers) one.close();
  await Promise.all(readers.map((one) => one.ended));
  child.unref();
  return end;
}

function start({ line, environment }: CommandRun): { child: Child; end: Promise<CommandEnd> } | NodeJS.ErrnoException {
  try {
    const child: Child = spawn(line.file, line.args, {
      cwd: line.workingDirectory,
      env: environment,
      detached: true,
      stdio: ['pipe', 'pipe', 'pipe'],
    });
    const end = new Promise<CommandEnd>((resolve) => {
      child.once('error', (error) => resolve({ kind: 'not_started', error }));
      child.once('exit', (code, signal) =>
        resolve(signal === null ? { kind: 'exited', code: code ?? 0 } : { kind: 'signalled', signal }),
      );
    });
    return { child, end };
  } catch (error) {
    return error as NodeJS.ErrnoException;
  }
}

function reader(
  stream: Readable,
  line: (text: string) => void,
  run: CommandRun,
  { clock, gate }: CommandPorts,
): PipeReader {
  return new PipeReader(stream, { clock, gate, hurry: run.signal, line });
}

class Ending {
  readonly #group: ProcessGroup;
  readonly #readers: readonly PipeReader[];
  readonly #run: CommandRun;
  readonly #clock: Clock;
  #end: CommandEnd | undefined;

  constructor(group: ProcessGroup, readers: readonly PipeReader[], run: CommandRun, clock: Clock) {
    this.#group = group;
    this.#readers = readers;
    this.#run = run;
    this.#clock = clock;
  }

  async wait(leader: Promise<CommandEnd>): Promise<CommandEnd> {
    void leader.then((end) => {
      this.#end = end;
    });
    await Promise.race([leader, aborted(this.#run.signal)]);
    // In the turn of the abort the leader's end may be known already, and then it counts.
    await Promise.resolve();
    const end: CommandEnd = this.#end ?? { kind: 'stopped' };
    if (this.#end !== undefined) await this.#linger();
    if (!this.#isOver()) await this.#stop();
    await this.#drainPipes();
    return end;
  }

  /** The leader has ended by itself: its children may follow it, and what stands in the pipes is read. */
  async #linger(): Promise<void> {
    await this.#within(LINGER_MS, () => this.#run.signal.aborted || this.#isOver());
  }

  async #stop(): Promise<void> {
    this.#group.signal('SIGTERM');
    if (await this.#within(this.#run.cancelGraceMs, () => this.#isOver())) return;
    this.#group.signal('SIGKILL');
    await this.#within(KILL_MS_MAX, () => this.#isOver());
  }

  /** Nobody of the group writes any more; somebody who has left it may still hold the other end. */
  async #drainPipes(): Promise<void> {
    const fromMs = this.#clock.nowMs();
    await this.#within(PIPES_MS_MAX, () => {
      const nowMs = this.#clock.nowMs();
      if (this.#run.signal.aborted && nowMs - fromMs >= KILL_MS_MAX) return true;
      const open = this.#readers.filter((one) => !one.hasEnded);
      return open.every((one) => nowMs - Math.max(fromMs, one.quietSinceMs(nowMs)) >= LINGER_MS);
    });
  }

  #isOver(): boolean {
    return this.#end !== undefined && !this.#group.isAlive();
  }

  /** True as soon as the condition holds, false when it did not in time. */
  async #within(ms: number, condition: () => boolean): Promise<boolean> {
    const untilMs = this.#clock.nowMs() + ms;
    let lookMs = LOOK_MS_MIN;
    while (!condition()) {
      const leftMs = untilMs - this.#clock.nowMs();
      if (leftMs <= 0) return false;
      const open = this.#readers.filter((one) => !one.hasEnded).map((one) => one.ended);
      const later = sleep(this.#clock, Math.min(lookMs, leftMs));
      await Promise.race(open.length === 0 ? [later] : [later, Promise.all(open)]);
      lookMs = Math.min(lookMs * 2, LOOK_MS_MAX);
    }
    return true;
  }
}

function aborted(signal: AbortSignal): Promise<void> {
  return new Promise((resolve) => {
    if (signal.aborted) resolve();
    else signal.addEventListener('abort', () => resolve(), { once: true });
  });
}
