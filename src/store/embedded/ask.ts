/** One question to a server that may or may not be there. */
import postgres from 'postgres';
import { SUPERUSER } from './cluster.ts';
import { errorCode } from './failure.ts';
import { socketFile } from './place.ts';

export const DATABASE = 'yardmaster';

export interface Endpoint {
  /** Folder of the socket. */
  directory: string;
  port: number;
}

export type Answer =
  | { state: 'answers'; version: string; hasDatabase: boolean; reason?: undefined }
  /** Busy: something listens, and is starting, stopping or stuck. */
  | { state: 'busy' | 'absent'; reason: string };

const ASK_SECONDS_MAX = 5;

/** What postgres.js needs to reach it. Everything is given, so that no PG… variable of the environment steps in. */
export function clientOptions({ directory, port }: Endpoint, database = DATABASE) {
  return {
    host: 'localhost',
    port,
    path: socketFile(directory, port),
    database,
    user: SUPERUSER,
    password: 'unused',
    ssl: false,
  } as const;
}

export async function ask(endpoint: Endpoint, database = DATABASE): Promise<Answer> {
  try {
    return { state: 'answers', hasDatabase: true, version: await versionOf(endpoint, database) };
  } catch (error) {
    const code = errorCode(error) ?? '';
    if (code === '3D000' && database === DATABASE) {
      // There is no such database: the server is new. The one named postgres is always there.
      const answer = await ask(endpoint, 'postgres');
      return answer.state === 'answers' ? { ...answer, hasDatabase: false } : answer;
    }
    const state = ['ENOENT', 'ECONNREFUSED', 'EACCES', 'ENOTDIR'].includes(code) ? 'absent' : 'busy';
    return { state, reason: String(error) };
  }
}

async function versionOf(endpoint: Endpoint, database: string): Promise<string> {
  const sql = postgres({
    ...clientOptions(endpoint, database),
    max: 1,
    connect_timeout: ASK_SECONDS_MAX,
    fetch_types: false,
    onnotice: () => {},
  });
  try {
    const rows = await sql<{ version: string }[]>`SELECT current_setting('server_version') AS version`;
    return String(rows[0]?.version);
  } finally {
    await sql.end({ timeout: 0 });
  }
}

export async function createDatabase(endpoint: Endpoint): Promise<void> {
  const sql = postgres({ ...clientOptions(endpoint, 'postgres'), max: 1, fetch_types: false, onnotice: () => {} });
  try {
    await sql`CREATE DATABASE ${sql(DATABASE)}`;
  } catch (error) {
    // Another server of ours made it at this moment: told by name, or by the unique index when it was very close.
    if (!['42P04', '23505'].includes(errorCode(error) ?? '')) throw error;
  } finally {
    await sql.end({ timeout: 0 });
  }
}
