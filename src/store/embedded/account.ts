/** Whom PostgreSQL runs as. It refuses to run as root, so that a hole in it is not a hole in the machine. */
import { readFileSync, statSync } from 'node:fs';
import { DatabaseOpenError, USE_ANOTHER } from './failure.ts';
import type { Account } from './run.ts';

/**
 * Undefined when we are not root: then it runs as we do. As root, the owner of a cluster that exists keeps it, so that a user `postgres`
 * that is added to the machine later does not lock us out of what `nobody` made.
 */
export function accountFor(cluster: string): Account | undefined {
  if (process.getuid === undefined) {
    throw new DatabaseOpenError(
      `The embedded PostgreSQL needs Unix sockets and users, which ${process.platform} lacks. ${USE_ANOTHER}`,
    );
  }
  if (process.getuid() !== 0) return undefined;

  const accounts = readAccounts();
  const owner = ownerOf(cluster);
  if (owner?.uid === 0) {
    throw new DatabaseOpenError(
      `The data in ${cluster} belongs to root, and PostgreSQL does not run as root. ` +
        `Give it back to the user it was made by, for example: chown -R postgres ${cluster}`,
    );
  }
  if (owner) return accounts.find(({ uid }) => uid === owner.uid) ?? owner;

  const account = accounts.find(({ name }) => name === 'postgres') ?? accounts.find(({ name }) => name === 'nobody');
  if (account) return account;
  throw new DatabaseOpenError(
    'PostgreSQL does not run as root, and /etc/passwd names neither a user "postgres" nor "nobody" to run it as. ' +
      `Start Yardmaster as another user. ${USE_ANOTHER}`,
  );
}

function ownerOf(cluster: string): Account | undefined {
  const found = statSync(cluster, { throwIfNoEntry: false });
  return found && { name: `uid ${found.uid}`, uid: found.uid, gid: found.gid };
}

// Read from the file, not asked of a directory service: initdb wants an entry, and a fresh machine has these here.
function readAccounts(): Account[] {
  return readFileSync('/etc/passwd', 'utf8')
    .split('\n')
    .map((line) => line.split(':'))
    .filter((fields) => fields.length >= 4)
    .map(([name, , uid, gid]) => ({ name: String(name), uid: Number(uid), gid: Number(gid) }));
}
