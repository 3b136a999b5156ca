/** Settings of the server: what the environment says, over the defaults. The only file that reads the environment. */
import { DEFAULT_LIMITS, DEFAULT_TIMES, type Limits, type Times } from '../domain/limits.ts';
import type { LogLevel } from '../lib/log.ts';
import { LEASE_MS_DEFAULT } from '../store/holder.ts';
import { isLoopback } from './auth.ts';
import { DEFAULT_HTTP_LIMITS, type HttpLimits } from './http/limits.ts';

export interface ServerConfig {
  /** Where the listeners bind. Anywhere but on the loopback address wants a token. */
  readonly host: string;
  /** 0 takes any free one. */
  readonly grpcPort: number;
  /** 0 takes any free one; null: no HTTP listener. */
  readonly httpPort: number | null;
  /** What every caller but a health check has to know; undefined: nothing. */
  readonly token: string | undefined;
  /** Unset: the embedded PostgreSQL in `dataDirectory`. */
  readonly databaseUrl: string | undefined;
  readonly dataDirectory: string;
  readonly logLevel: LogLevel;
  /** How long the process that decides may hang before a standby takes its place. */
  readonly leaseMs: number;
  readonly limits: Limits;
  readonly times: Times;
  readonly httpLimits: HttpLimits;
}

const GRPC_PORT_DEFAULT = 7070;
const HTTP_PORT_DEFAULT = 7071;

const DEFAULT_CONFIG: ServerConfig = {
  host: '127.0.0.1',
  grpcPort: GRPC_PORT_DEFAULT,
  httpPort: HTTP_PORT_DEFAULT,
  token: undefined,
  databaseUrl: undefined,
  dataDirectory: '.yardmaster/data',
  logLevel: 'info',
  leaseMs: LEASE_MS_DEFAULT,
  limits: DEFAULT_LIMITS,
  times: DEFAULT_TIMES,
  httpLimits: DEFAULT_HTTP_LIMITS,
};

/** The settings cannot be served with. Its message is for a person: the setting, its value, and what to do. */
export class ConfigurationError extends Error {
  override readonly name = 'ConfigurationError';
}

/** The defaults under `settings`. Whoever takes any port for gRPC means any port: HTTP follows unless it is given. */
export function completeConfig(settings: Partial<ServerConfig>): ServerConfig {
  const config = { ...DEFAULT_CONFIG, ...settings };
  return settings.httpPort === undefined ? { ...config, httpPort: httpPortBeside(config.grpcPort) } : config;
}

function httpPortBeside(grpcPort: number): number {
  return grpcPort === 0 ? 0 : HTTP_PORT_DEFAULT;
}

const LOG_LEVELS: readonly LogLevel[] = ['debug', 'info', 'warn', 'error', 'silent'];

/** With `overrides` over what it says. Throws a ConfigurationError that names the variable, its value and what it may be. */
export function configFromEnvironment(
  environment: NodeJS.ProcessEnv = process.env,
  overrides: Partial<ServerConfig> = {},
): ServerConfig {
  const logLevel = (environment.YARDMASTER_LOG_LEVEL || DEFAULT_CONFIG.logLevel) as LogLevel;
  if (!LOG_LEVELS.includes(logLevel)) {
    throw new ConfigurationError(`YARDMASTER_LOG_LEVEL: "${logLevel}" must be one of ${LOG_LEVELS.join(', ')}`);
  }
  const grpcPort =
    overrides.grpcPort ?? portOf('YARDMASTER_GRPC_PORT', environment.YARDMASTER_GRPC_PORT, GRPC_PORT_DEFAULT);
  return {
    ...DEFAULT_CONFIG,
    host: environment.YARDMASTER_HOST || DEFAULT_CONFIG.host,
    grpcPort,
    httpPort: portOf('YARDMASTER_HTTP_PORT', environment.YARDMASTER_HTTP_PORT, httpPortBeside(grpcPort)),
    token: environment.YARDMASTER_TOKEN === '' ? undefined : environment.YARDMASTER_TOKEN,
    databaseUrl: environment.DATABASE_URL === '' ? undefined : environment.DATABASE_URL,
    dataDirectory: environment.YARDMASTER_DATA_DIR || DEFAULT_CONFIG.dataDirectory,
    logLevel,
    leaseMs: leaseOf(environment.YARDMASTER_LEASE_MS),
    ...overrides,
  };
}

/** A shorter lease would be lost to every hiccup of a network, a longer one serves nobody. */
const LEASE_MS_MIN = 1_000;
const LEASE_MS_MAX = 600_000;

function leaseOf(text: string | undefined): number {
  if (text === undefined || text === '') return LEASE_MS_DEFAULT;
  const leaseMs = Number(text);
  if (Number.isInteger(leaseMs) && leaseMs >= LEASE_MS_MIN && leaseMs <= LEASE_MS_MAX) return leaseMs;
  throw new ConfigurationError(
    `YARDMASTER_LEASE_MS: "${text}" must be a whole number of milliseconds, ${LEASE_MS_MIN} to ${LEASE_MS_MAX}`,
  );
}

const PORT_MAX = 65_535;

function portOf(name: string, text: string | undefined, fallback: number): number {
  if (text === undefined || text === '') return fallback;
  const port = Number(text);
  if (Number.isInteger(port) && port >= 0 && port <= PORT_MAX) return port;
  throw new ConfigurationError(`${name}: "${text}" must be a port, 0 to ${PORT_MAX}`);
}

/** It travels in a header beside others, and many peers take 8 KiB of those. */
const TOKEN_CHARACTERS_MAX = 1_024;
const TOKEN_PATTERN = /^[\x21-\x7e]+$/;

/** Throws a ConfigurationError when serving with these settings would not be safe, or not work. */
export function checkConfig({ host, token }: ServerConfig): void {
  if (token !== undefined && (token.length > TOKEN_CHARACTERS_MAX || !TOKEN_PATTERN.test(token))) {
    throw new ConfigurationError(
      `YARDMASTER_TOKEN must have 1 to ${TOKEN_CHARACTERS_MAX} characters of visible ASCII, without spaces: it travels in a header. ` +
        'For example: openssl rand -hex 32',
    );
  }
  if (token === undefined && !isLoopback(host)) {
    throw new ConfigurationError(
      `YARDMASTER_HOST: "${host}" can be reached from other machines, and no token is set, so anybody there could submit and take work. ` +
        'Set YARDMASTER_TOKEN to a secret that clients and workers send as "authorization: Bearer <token>", or listen on 127.0.0.1.',
    );
  }
}
