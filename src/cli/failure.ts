/** What could not be done: one sentence for a person, or an object for a program, and the exit code. */
import { Code } from '@connectrpc/connect';
import { CommanderError } from 'commander';
import { errorReason } from '../client/index.ts';
import { EXIT, type ExitCode, exitCodeOf } from './exit.ts';
import { printable } from './show/text.ts';

/** The user asked for something that can be seen to be wrong without asking the server. */
export class UsageError extends Error {
  override readonly name = 'UsageError';
}

export interface Failure {
  /** A gRPC status in UPPER_SNAKE, or USAGE when the server was not asked. */
  readonly code: string;
  /** From the one list of reasons; empty when it does not come from the control plane. */
  readonly reason: string;
  readonly message: string;
  readonly fields: readonly { readonly field: string; readonly description: string }[];
  readonly metadata: Readonly<Record<string, string>>;
  readonly exitCode: ExitCode;
}

export function failureOf(error: unknown, address: string): Failure {
  if (error instanceof UsageError) return usage(error.message);
  // Commander puts the word before its messages; it is put before every failure here.
  if (error instanceof CommanderError) return usage(error.message.replace(/^error: /, ''));
  const { code, reason, message, fields, metadata } = errorReason(error);
  return {
    code: statusName(code),
    reason,
    message: reason === '' ? explained(code, message, address) : message,
    fields,
    metadata,
    exitCode: exitCodeOf(code),
  };
}

export function failureLine({ message, reason, fields }: Failure): string {
  const unnamed = fields.map(({ field }) => field).filter((field) => !message.includes(field));
  const notes = [...(reason === '' ? [] : [reason]), ...unnamed.map((field) => `field ${field}`)];
  return `error: ${printable(message)}${notes.length === 0 ? '' : ` (${printable(notes.join(', '))})`}\n`;
}

export function failureJson(failure: Failure): string {
  return `${JSON.stringify({ error: failure })}\n`;
}

function usage(message: string): Failure {
  return { code: 'USAGE', reason: '', message, fields: [], metadata: {}, exitCode: EXIT.USAGE };
}

/** Without a reason it was the transport that spoke, and it does not know what we were after. */
function explained(code: Code, message: string, address: string): string {
  switch (code) {
    case Code.Unavailable:
      return `the server at ${address} cannot be reached: ${message}`;
    case Code.DeadlineExceeded:
      return `the server at ${address} did not answer in time: ${message}`;
    case Code.Unimplemented:
      return `the server at ${address} does not support this: ${message}`;
    default:
      return message === '' ? statusName(code) : message;
  }
}

function statusName(code: Code): string {
  return (Code[code] ?? 'Unknown').replace(/(?<=[a-z])(?=[A-Z])/g, '_').toUpperCase();
}
