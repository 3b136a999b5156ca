/** `yardmaster serve`: the control plane in the foreground. */
import { Command } from 'commander';
import type { ServerConfig } from '../../server/config.ts';
import { integerFrom, PORT_MAX } from '../parse/number.ts';
import type { Cli, GlobalOptions } from '../yard.ts';

interface Options extends GlobalOptions {
  readonly dataDir?: string;
  readonly databaseUrl?: string;
  readonly host?: string;
  readonly grpcPort?: number;
  readonly httpPort?: number;
}

export function serveCommand(cli: Cli): Command {
  return new Command('serve')
    .description('run the control plane until SIGINT or SIGTERM')
    .option('--data-dir <folder>', 'where the embedded PostgreSQL keeps its data (YARDMASTER_DATA_DIR)')
    .option('--database-url <url>', 'use this PostgreSQL instead of the embedded one (DATABASE_URL)')
    .option('--host <address>', 'address to listen on (YARDMASTER_HOST)')
    .option(
      '--grpc-port <port>',
      'port of the gRPC listener, 0 for any (YARDMASTER_GRPC_PORT)',
      integerFrom(0, PORT_MAX),
    )
    .option(
      '--http-port <port>',
      'port of the HTTP listener, 0 for any (YARDMASTER_HTTP_PORT)',
      integerFrom(0, PORT_MAX),
    )
    .action(async (_options: object, self: Command) => {
      // The server takes a while to load, and no other command needs it.
      const { serve } = await import('../serve.ts');
      cli.done(await serve(overridesOf(self.optsWithGlobals())));
    });
}

/** The token of the other commands is what they send; here it is what has to be sent. */
function overridesOf({ dataDir, databaseUrl, host, grpcPort, httpPort, token }: Options): Partial<ServerConfig> {
  return {
    ...(dataDir === undefined ? {} : { dataDirectory: dataDir }),
    ...(databaseUrl === undefined ? {} : { databaseUrl }),
    ...(host === undefined ? {} : { host }),
    ...(grpcPort === undefined ? {} : { grpcPort }),
    ...(httpPort === undefined ? {} : { httpPort }),
    ...(token === undefined || token === '' ? {} : { token }),
  };
}
