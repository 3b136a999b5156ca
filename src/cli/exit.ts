/** What the exit code of every command says. One table, for the code, the help and the documentation. */
import { Code } from '@connectrpc/connect';

export const EXIT = {
  OK: 0,
  FAILED: 1,
  USAGE: 2,
  NOT_FOUND: 3,
  UNREACHABLE: 4,
  STATE: 5,
  NOT_PERMITTED: 6,
  UNSUPPORTED: 7,
  INTERRUPTED: 130,
} as const;

export type ExitCode = (typeof EXIT)[keyof typeof EXIT];

const MEANINGS: readonly (readonly [code: ExitCode, meaning: string])[] = [
  [EXIT.OK, 'it worked; with --follow: the run succeeded'],
  [EXIT.FAILED, 'the run that was followed ended without success, or the operation failed'],
  [EXIT.USAGE, 'bad flags or settings, or the server refused the input (INVALID_ARGUMENT)'],
  [EXIT.NOT_FOUND, 'there is no such run, worker, workflow or namespace'],
  [EXIT.UNREACHABLE, 'the server cannot be reached, or did not answer in time'],
  [EXIT.STATE, 'its state forbids it (FAILED_PRECONDITION, ALREADY_EXISTS)'],
  [EXIT.NOT_PERMITTED, 'not permitted (UNAUTHENTICATED, PERMISSION_DENIED)'],
  [EXIT.UNSUPPORTED, 'this server does not support it (UNIMPLEMENTED)'],
  [EXIT.INTERRUPTED, 'ended by Ctrl-C'],
];

const BY_STATUS: Readonly<Partial<Record<Code, ExitCode>>> = {
  [Code.InvalidArgument]: EXIT.USAGE,
  [Code.NotFound]: EXIT.NOT_FOUND,
  [Code.Unavailable]: EXIT.UNREACHABLE,
  [Code.DeadlineExceeded]: EXIT.UNREACHABLE,
  [Code.FailedPrecondition]: EXIT.STATE,
  [Code.AlreadyExists]: EXIT.STATE,
  [Code.Unauthenticated]: EXIT.NOT_PERMITTED,
  [Code.PermissionDenied]: EXIT.NOT_PERMITTED,
  [Code.Unimplemented]: EXIT.UNSUPPORTED,
};

export function exitCodeOf(code: Code): ExitCode {
  return BY_STATUS[code] ?? EXIT.FAILED;
}

export function exitCodesHelp(): string {
  const lines = MEANINGS.map(([code, meaning]) => `  ${String(code).padStart(3)}  ${meaning}`);
  return `\nExit codes:\n${lines.join('\n')}\n`;
}
