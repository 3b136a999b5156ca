/** One step: its files, its command, and what its end means. */
import { type Clock, sleep } from '../../lib/clock.ts';
import { rawJson, type StepContext } from '../../worker/index.ts';
import { LabelsFile } from './labels_file.ts';
import { LastLines } from './last_lines.ts';
import type { LogGate } from './log_gate.ts';
import { type CommandEnd, type CommandLine, runCommand } from './process.ts';
import { ProgressFile } from './progress_file.ts';
import { stepEnvironment } from './step_environment.ts';
import { exitFailure, type Printed, signalFailure, startFailure } from './step_failure.ts';
import { StepFiles } from './step_files.ts';
import { Watch } from './watch.ts';

/** The labels a command has written are told before its end, so that the next step is matched under them. */
const LABELS_MS_MAX = 2_000;

export interface StepSettings {
  readonly line: CommandLine;
  readonly cancelGraceMs: number;
  /** Exit codes that no further attempt can mend. */
  readonly finalExitCodes: readonly number[];
}

export interface StepPorts {
  readonly clock: Clock;
  readonly gate: LogGate;
  readonly environment: NodeJS.ProcessEnv;
  started(processId: number): void;
}

/** The command was told to end. */
export class StoppedError extends Error {
  override readonly name: string = 'StoppedError';
}

/** Resolves with the output; rejects with a StepFailure, or, when the signal ended the command, with a StoppedError. */
export async function runStep(
  ctx: StepContext,
  settings: StepSettings,
  signal: AbortSignal,
  ports: StepPorts,
): Promise<unknown> {
  const files = await StepFiles.create(ctx.inputJson || 'null');
  try {
    const printed = { stdout: new LastLines(), stderr: new LastLines() };
    const end = await runWithFiles(ctx, settings, signal, ports, files, printed);
    if (end.kind === 'exited' && end.code === 0) {
      const output = await files.readOutput();
      return output === undefined ? undefined : rawJson(output);
    }
    throw failureOf(end, settings, printed);
  } finally {
    await files.remove();
  }
}

async function runWithFiles(
  ctx: StepContext,
  { line, cancelGraceMs }: StepSettings,
  signal: AbortSignal,
  { clock, gate, environment, started }: StepPorts,
  files: StepFiles,
  printed: Printed,
): Promise<CommandEnd> {
  const { log } = ctx;
  const progress = new ProgressFile(files.progress, (report) => ctx.progress(report));
  const labels = new LabelsFile(files.labels, {
    upsert: (patch) => ctx.worker.upsertLabels(patch),
    complain: (text) => log.warning(text),
  });
  const watch = new Watch(clock, [progress, labels]);
  const run = {
    line,
    environment: stepEnvironment(ctx, files, environment),
    input: ctx.inputJson || 'null',
    cancelGraceMs,
    signal,
  };
  const end = await runCommand(run, {
    clock,
    gate,
    started,
    stdout: (text) => {
      printed.stdout.add(text);
      log(text);
    },
    // Many programs use it for whatever is not their result: it is no error until they exit with one.
    stderr: (text) => {
      printed.stderr.add(text);
      log.warning(text);
    },
  });
  await watch.stop();
  await within(clock, LABELS_MS_MAX, labels.answered());
  return end;
}

function failureOf(end: CommandEnd, { line, finalExitCodes }: StepSettings, printed: Printed): Error {
  switch (end.kind) {
    case 'exited':
      return exitFailure(end.code, printed, !finalExitCodes.includes(end.code));
    case 'signalled':
      return signalFailure(end.signal, printed);
    case 'not_started':
      return startFailure(line, end.error);
    case 'stopped':
      return new StoppedError('the command was told to end');
  }
}

async function within(clock: Clock, ms: number, promise: Promise<void>): Promise<void> {
  const done = new AbortController();
  const late = sleep(clock, ms, done.signal).catch(() => {});
  await Promise.race([promise, late]);
  done.abort();
}
