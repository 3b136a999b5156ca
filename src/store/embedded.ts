/** PostgreSQL without an installation: the real server, from npm, with its data in a folder of the project. */
import { clientOptions, createDatabase, DATABASE } from './embedded/ask.ts';
import { type Binaries, findBinaries } from './embedded/binaries.ts';
import { clusterVersion, createCluster, SUPERUSER } from './embedded/cluster.ts';
import { DatabaseOpenError } from './embedded/failure.ts';
import { placeData } from './embedded/place.ts';
import { shellQuoted, startOrAdopt, stopServer } from './embedded/postmaster.ts';

/** What opening a database says to its operator; pino's logger is one. */
export interface OpenLog {
  info(details: object, message: string): void;
  warn(details: object, message: string): void;
}

export interface EmbeddedOptions {
  dataDirectory: string;
  log: OpenLog;
  /** PostgreSQL settings for this start, before all others. For tests: `fsync: off` loses data in a power cut. */
  settings?: Record<string, string>;
  /** The npm package that holds the programs, when it is not the installed one. */
  packageDirectory?: string;
}

export interface Embedded {
  /** For postgres.js. */
  clientOptions: ReturnType<typeof clientOptions>;
  /** The same server as a URL that openDatabase takes. */
  url: string;
  describe(): string;
  stop(): Promise<void>;
}

/** Starts the server, or adopts the one that a killed process of ours left running. */
export async function openEmbedded({
  dataDirectory,
  log,
  settings = {},
  packageDirectory,
}: EmbeddedOptions): Promise<Embedded> {
  const place = await placeData(dataDirectory);
  let found: Promise<Binaries> | undefined;
  const binaries = () => {
    found ??= findBinaries(place, packageDirectory);
    return found;
  };

  const dataVersion = await clusterVersion(place.home);
  if (dataVersion === undefined) {
    log.info(
      { data_directory: place.home, user: place.account?.name },
      'making the data directory of the embedded PostgreSQL',
    );
    await createCluster(place, await binaries(), settings.fsync !== 'off');
  }
  // A server that runs already is asked first, so its programs need not even be installed any more.
  const server = await startOrAdopt(place, () => matching(binaries(), dataVersion, place.home), settings);
  if (!server.hasDatabase) await createDatabase(server.endpoint);

  const { directory, port } = server.endpoint;
  const psql = `psql -h ${shellQuoted(directory)}${port === 5432 ? '' : ` -p ${port}`} -U ${SUPERUSER} ${DATABASE}`;
  const started = server.adopted
    ? 'adopted the embedded PostgreSQL that was running'
    : 'started the embedded PostgreSQL';
  log.info({ data_directory: place.home, version: server.version, psql }, started);
  return {
    clientOptions: clientOptions(server.endpoint),
    url: `postgres:///${DATABASE}?${new URLSearchParams({ host: directory, port: String(port), user: SUPERUSER })}`,
    describe: () => `embedded PostgreSQL ${server.version} in ${place.home} (${psql})`,
    stop: () => stopServer(place, binaries, server.endpoint),
  };
}

async function matching(binaries: Promise<Binaries>, dataVersion: string | undefined, home: string): Promise<Binaries> {
  const { version } = await binaries;
  if (dataVersion !== undefined && version.split('.')[0] !== dataVersion) {
    throw new DatabaseOpenError(
      `The data in ${home} was made by PostgreSQL ${dataVersion}, and this release of Yardmaster brings PostgreSQL ${version}, ` +
        'which cannot read it. Start the release that made it and move the data with pg_dump, or start with another data directory.',
    );
  }
  return binaries;
}
