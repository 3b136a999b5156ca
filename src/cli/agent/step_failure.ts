/** How a command's end is told as the failure of its step. */
import { existsSync } from 'node:fs';
import { constants } from 'node:os';
import type { LastLines } from './last_lines.ts';
import type { CommandLine } from './process.ts';

/** Its name is the type of the step's error. */
export class StepFailure extends Error {
  override readonly name: string;
  readonly retryable: boolean;
  /** Where the agent noticed it helps nobody. */
  override readonly stack = '';

  constructor(type: string, message: string, retryable = true) {
    super(message);
    this.name = type;
    this.retryable = retryable;
  }
}

export interface Printed {
  readonly stdout: LastLines;
  readonly stderr: LastLines;
}

export function exitFailure(code: number, printed: Printed, retryable: boolean): StepFailure {
  return new StepFailure('ExitCode', `exit code ${code}${lastWords(printed)}`, retryable);
}

export function signalFailure(signal: NodeJS.Signals, printed: Printed): StepFailure {
  return new StepFailure('Signal', `ended by ${signal} (signal ${constants.signals[signal]})${lastWords(printed)}`);
}

/** A command that is not there will not be there at the next attempt either; one that cannot start for want of room may. */
export function startFailure({ file, workingDirectory }: CommandLine, error: NodeJS.ErrnoException): StepFailure {
  const name = JSON.stringify(file);
  // The system gives the same answer for both.
  if (error.code === 'ENOENT' && workingDirectory !== undefined && !existsSync(workingDirectory)) {
    return new StepFailure(
      'CommandNotStarted',
      `the working directory ${JSON.stringify(workingDirectory)} is not there`,
    );
  }
  if (error.code === 'ENOENT') {
    return new StepFailure('CommandNotFound', `the command ${name} was not found (or its interpreter)`, false);
  }
  if (error.code === 'EACCES') {
    return new StepFailure('CommandNotExecutable', `the command ${name} may not be executed`, false);
  }
  return new StepFailure('CommandNotStarted', `the command ${name} could not be started: ${error.message}`);
}

function lastWords({ stdout, stderr }: Printed): string {
  if (!stderr.isEmpty) return `; the end of stderr:\n${stderr.text()}`;
  return stdout.isEmpty ? '; it printed nothing' : `; the end of stdout:\n${stdout.text()}`;
}
