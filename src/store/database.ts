/** The database: the one at DATABASE_URL, or an embedded PostgreSQL. The same SQL both ways. */
import postgres from 'postgres';
import { type Connect, refuseOldServer, refuseTransactionPooler } from './embedded/checks.ts';
import { DatabaseOpenError } from './embedded/failure.ts';
import { connectionOptions } from './embedded/url.ts';
import { type OpenLog, openEmbedded } from './embedded.ts';

export { connectionOptions } from './embedded/url.ts';

export interface OpenOptions {
  /** postgres://…; also with a Unix socket: postgres:///name?host=/folder/of/the/socket&user=name. */
  databaseUrl?: string | undefined;
  /** Where the embedded server keeps its data when there is no databaseUrl. */
  dataDirectory: string;
  log: OpenLog;
}

export interface Database {
  /** A client of its own, connecting when it is first used. Whoever asked for it ends it. */
  connect(options?: ConnectOptions): postgres.Sql;
  /** For a person, without the password. */
  describe(): string;
  /** Shuts the embedded server down, also when it was adopted. Does nothing to a server that is not ours. */
  stop(): Promise<void>;
}

export type ConnectOptions = postgres.Options<Record<string, never>>;

export async function openDatabase({ databaseUrl, dataDirectory, log }: OpenOptions): Promise<Database> {
  if (databaseUrl !== undefined && databaseUrl !== '') return openUrl(databaseUrl, log);
  const embedded = await openEmbedded({ dataDirectory, log });
  return {
    connect: (options) => postgres({ ...defaults(log), ...options, ...embedded.clientOptions }),
    describe: embedded.describe,
    stop: embedded.stop,
  };
}

async function openUrl(databaseUrl: string, log: OpenLog): Promise<Database> {
  const { url, options: fromUrl, where } = connectionOptions(databaseUrl);
  const connect = (options?: ConnectOptions) => postgres(url, { ...defaults(log), ...options, ...fromUrl });
  const version = await checked(connect, where);
  log.info({ database: where, version }, 'connected to PostgreSQL');
  return { connect, describe: () => `PostgreSQL ${version} at ${where}`, stop: async () => {} };
}

async function checked(connect: Connect, where: string): Promise<string> {
  try {
    // Beside each other: both wait for little but the way there and back. An old server's refusal has the first word.
    const pooler = refuseTransactionPooler(connect, where);
    pooler.catch(() => {});
    const version = await refuseOldServer(connect, where);
    await pooler;
    return version;
  } catch (error) {
    if (error instanceof DatabaseOpenError) throw error;
    throw new DatabaseOpenError(
      `The database at ${where} cannot be used: ${error instanceof Error ? error.message : String(error)}. ` +
        'Check DATABASE_URL, and that the server runs and lets this user in.',
    );
  }
}

function defaults(log: OpenLog): ConnectOptions {
  return {
    // postgres.js would end every connection after 30 to 60 minutes, and with it the advisory lock of whoever decides.
    max_lifetime: null,
    // To take arrays as parameters it would ask each new connection for the types there are, and when that connection is
    // lost meanwhile, nobody catches the error: the process would end. Lists travel as JSON instead.
    fetch_types: false,
    // Its own default prints them to standard output.
    onnotice: (notice) => log.info({ notice: notice.message }, 'notice from PostgreSQL'),
  };
}
