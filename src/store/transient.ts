/** Which errors of the store may pass: the same statement is worth sending again. */

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
