/** Settings of the server: what the environment says, over the defaults. The only file that reads the environment. */
import { DEFAULT_LIMITS, DEFAULT_TIMES, type Limits, type Times } from '../domain/limits.ts';
import type { LogLevel } from '../lib/log.ts';

export interface ServerConfig {
  /** Where the listeners bind. */
  readonly host: string;
  /** 0 takes any free one. */
  readonly grpcPort: number;
  /** Unset: the embedded PostgreSQL in `dataDirectory`. */
  readonly databaseUrl: string | undefined;
  readonly dataDirectory: string;
  readonly logLevel: LogLevel;
  readonly limits: Limits;
  readonly times: Times;
}

export const GRPC_PORT_DEFAULT = 7070;

export const DEFAULT_CONFIG: ServerConfig = {
  host: '127.0.0.1',
  grpcPort: GRPC_PORT_DEFAULT,
  databaseUrl: undefined,
  dataDirectory: '.yardmaster/data',
  logLevel: 'info',
  limits: DEFAULT_LIMITS,
  times: DEFAULT_TIMES,
};

const LOG_LEVELS: readonly LogLevel[] = ['debug', 'info', 'warn', 'error', 'silent'];

/** Throws an Error that names the variable, its value and what it may be. */
export function configFromEnvironment(environment: NodeJS.ProcessEnv = process.env): ServerConfig {
  const logLevel = (environment.YARDMASTER_LOG_LEVEL ?? DEFAULT_CONFIG.logLevel) as LogLevel;
  if (!LOG_LEVELS.includes(logLevel)) throw new Error(`YARDMASTER_LOG_LEVEL: "${logLevel}" must be one of ${LOG_LEVELS.join(', ')}`);
  return {
    ...DEFAULT_CONFIG,
    host: environment.YARDMASTER_HOST ?? DEFAULT_CONFIG.host,
    grpcPort: portOf('YARDMASTER_GRPC_PORT', environment.YARDMASTER_GRPC_PORT, DEFAULT_CONFIG.grpcPort),
    databaseUrl: environment.DATABASE_URL === '' ? undefined : environment.DATABASE_URL,
    dataDirectory: environment.YARDMASTER_DATA_DIR ?? DEFAULT_CONFIG.dataDirectory,
    logLevel,
  };
}

const PORT_MAX = 65_535;

function portOf(name: string, text: string | undefined, fallback: number): number {
  if (text === undefined || text === '') return fallback;
  const port = Number(text);
  if (Number.isInteger(port) && port >= 0 && port <= PORT_MAX) return port;
  throw new Error(`${name}: "${text}" must be a port, 0 to ${PORT_MAX}`);
}
