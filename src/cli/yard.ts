/** What the commands that speak with a server are given, and how they are carried out. */
import { type DescMessage, type MessageShape, toJson } from '@bufbuild/protobuf';
import type { CallOptions } from '@connectrpc/connect';
import type { Command } from 'commander';
import type { Warning } from '../../gen/yardmaster/v1/admin_service_pb.ts';
import { type AdminClient, createAdminClient } from '../client/index.ts';
import type { ExitCode } from './exit.ts';
import type { Io } from './io.ts';
import { printable } from './show/text.ts';

/** The options every command has. */
export interface GlobalOptions {
  readonly address: string;
  readonly token?: string;
  readonly namespace?: string;
  readonly json?: boolean;
}

/** What a command is made with. */
export interface Cli {
  readonly io: Io;
  done(exitCode: number): void;
}

export interface Yard {
  readonly io: Io;
  readonly admin: AdminClient;
  readonly options: GlobalOptions;
  /** For programs: proto3 JSON instead of text. */
  readonly json: boolean;
  readonly signal: AbortSignal;
  /** For every call, so that Ctrl-C ends it. */
  readonly call: CallOptions;
}

/** Carries out a command that needs the server, and keeps its exit code. */
export async function remote(cli: Cli, command: Command, work: (yard: Yard) => Promise<ExitCode>): Promise<void> {
  const options = command.optsWithGlobals<GlobalOptions>();
  const { address, token, namespace } = options;
  const admin = createAdminClient({ address, token, namespace });
  const signal = cli.io.interrupted();
  try {
    cli.done(await work({ io: cli.io, admin, options, json: options.json === true, signal, call: { signal } }));
  } finally {
    admin.close();
  }
}

/** The one document of a command with --json. */
export function printJson<Desc extends DescMessage>({ io }: Yard, schema: Desc, message: MessageShape<Desc>): void {
  io.stdout(`${JSON.stringify(toJson(schema, message), null, 2)}\n`);
}

/** One of several, a line each. */
export function printJsonLine<Desc extends DescMessage>({ io }: Yard, schema: Desc, message: MessageShape<Desc>): void {
  io.stdout(`${JSON.stringify(toJson(schema, message))}\n`);
}

/** With --json they are in the document. */
export function printWarnings({ io, json }: Yard, warnings: readonly Warning[]): void {
  if (json) return;
  for (const { reason, message } of warnings) io.stderr(`warning: ${printable(message)} (${printable(reason)})\n`);
}
