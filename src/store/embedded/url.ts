/** DATABASE_URL as people write it, for postgres.js. */
import { DatabaseOpenError } from './failure.ts';

export interface ConnectionOptions {
  /** For postgres.js, which understands the rest of it (several hosts, sslmode, …). */
  url: string;
  /** What postgres.js does not take from a URL. */
  options: { host?: string; port?: number; path?: string; user?: string; password?: string; database?: string };
  /** "host:port/name as user", for messages: no password. */
  where: string;
}

// postgres.js takes these whole; the URL class does not.
const SEVERAL_HOSTS = /^(postgres(?:ql)?:\/\/(?:[^@/?]*@)?)([^@/?]*,[^@/?]*)(.*)$/;

/**
 * postgres.js hands every parameter it does not know to the server as a setting, so libpq's way to name a Unix socket,
 * `postgres:///name?host=/folder&user=me` (or the folder percent-encoded as the host), is taken out here.
 */
export function connectionOptions(databaseUrl: string): ConnectionOptions {
  const list = SEVERAL_HOSTS.exec(databaseUrl);
  if (list) {
    const { where } = connectionOptions(`${list[1]}several.invalid${list[3]}`);
    return { url: databaseUrl, options: {}, where: where.replace('several.invalid', String(list[2])) };
  }
  const url = parse(databaseUrl);
  const taken = (name: string) => {
    const value = url.searchParams.get(name) ?? undefined;
    url.searchParams.delete(name);
    return value;
  };
  const host = taken('host') ?? decodeURIComponent(url.hostname);
  const port = taken('port') ?? url.port;
  const user = taken('user') ?? decodeURIComponent(url.username);
  const password = taken('password');
  const database = taken('dbname') ?? decodeURIComponent(url.pathname.slice(1));

  const options: ConnectionOptions['options'] = {};
  if (password !== undefined) options.password = password;
  if (user !== '') options.user = user;
  if (database !== '') options.database = database;
  if (host.startsWith('/')) {
    options.host = 'localhost';
    options.path = `${host}/.s.PGSQL.${port || 5432}`;
    url.host = 'localhost';
  } else if (host !== '' && url.hostname === '') {
    options.host = host;
  }
  if (port !== '') options.port = Number(port);

  const place = `${host === '' ? 'localhost' : host}${port === '' ? '' : `:${port}`}`;
  const where = `${place}${database === '' ? '' : `/${database}`}${user === '' ? '' : ` as ${user}`}`;
  return { url: url.href, options, where };
}

function parse(databaseUrl: string): URL {
  try {
    const url = new URL(databaseUrl);
    decodeURIComponent(url.hostname + url.username + url.password + url.pathname);
    if (url.protocol === 'postgres:' || url.protocol === 'postgresql:') return url;
  } catch {
    // Said below, without the text: it may hold a password.
  }
  throw new DatabaseOpenError(
    'DATABASE_URL is not an address of PostgreSQL. It looks like postgres://user:password@host:5432/name ' +
      'or postgres:///name?host=/folder/of/the/socket&user=name; characters like @ : / # % in a password are written as %40 %3A %2F %23 %25.',
  );
}
