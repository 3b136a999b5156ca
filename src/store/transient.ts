/** Errors of the store: which may pass, so that the same statement is worth sending again, and what may be said of them. */

// Connection, rolled back by concurrency, out of resources, shutting down or starting up.
const SQLSTATE_CLASSES = ['08', '40', '53', '57P'];

const CONNECTION_CODES = new Set([
  'CONNECTION_CLOSED',
  'CONNECTION_ENDED',
  'CONNECTION_DESTROYED',
  'CONNECT_TIMEOUT',
  'ECONNABORTED',
  'ECONNREFUSED',
  'ECONNRESET',
  'EPIPE',
  'ETIMEDOUT',
  'EHOSTDOWN',
  'EHOSTUNREACH',
  'ENETDOWN',
  'ENETUNREACH',
  'ENOTFOUND',
  'EAI_AGAIN',
  // The socket's file is gone while the server restarts.
  'ENOENT',
  // Its queue of connections is full.
  'EAGAIN',
]);

export function isTransient(error: unknown): boolean {
  const code = (error as { code?: unknown } | null)?.code;
  if (typeof code !== 'string') return false;
  return CONNECTION_CODES.has(code) || SQLSTATE_CLASSES.some((prefix) => code.length === 5 && code.startsWith(prefix));
}

/** For the log. PostgreSQL quotes the row in `detail` and `where`: payloads, which have no place there. */
export function errorFacts(error: unknown): {
  readonly error: string;
  readonly code?: string;
  readonly stack?: string;
} {
  if (!(error instanceof Error)) return { error: String(error) };
  const { code } = error as { code?: unknown };
  return {
    error: `${error.name}: ${error.message}`,
    ...(typeof code === 'string' ? { code } : {}),
    ...(error.stack === undefined ? {} : { stack: error.stack }),
  };
}
