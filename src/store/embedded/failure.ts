/** The database could not be opened. The message is whole sentences for a person: what failed, where, and what to do. */
export class DatabaseOpenError extends Error {
  override name = 'DatabaseOpenError';
}

/** The way out that every failure of the embedded server has. */
export const USE_ANOTHER = 'Or run PostgreSQL 15 or later yourself and give its address as DATABASE_URL.';

/** The code of a system or SQL error ("ENOENT", "57P03"), or undefined. */
export function errorCode(error: unknown): string | undefined {
  const code = error instanceof Error && 'code' in error ? error.code : undefined;
  return typeof code === 'string' ? code : undefined;
}
