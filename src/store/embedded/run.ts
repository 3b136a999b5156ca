/** Child processes: PostgreSQL's own programs, and a few of the system's. */
import { execFile } from 'node:child_process';

/** Whom a child runs as. */
export interface Account {
  name: string;
  uid: number;
  gid: number;
}

export interface RunOptions {
  /** Undefined: as we are ourselves. */
  account: Account | undefined;
  cwd?: string;
  env?: Record<string, string>;
  timeoutMs?: number;
}

export interface Outcome {
  ok: boolean;
  /** Standard output and standard error, and why the program could not be run if it could not. */
  output: string;
}

const RUN_MS_MAX = 300_000;

// Nothing of our own environment reaches the server: PGDATA, LD_PRELOAD or a locale of the caller would change what it does.
// Messages are in English, because some are read by us.
const CLEAN_ENVIRONMENT = { PATH: '/usr/local/bin:/usr/bin:/bin', LANG: 'C', LC_ALL: 'C', TZ: 'UTC' };

/**
 * Runs a program to its end; never rejects. Node drops all supplementary groups when it is given a uid, so a child of root keeps
 * none of root's.
 */
export function run(command: string, args: string[], options: RunOptions): Promise<Outcome> {
  const { account, cwd = '/', env = {}, timeoutMs = RUN_MS_MAX } = options;
  return new Promise((resolve) => {
    const settings = {
      cwd,
      env: { ...CLEAN_ENVIRONMENT, ...env },
      timeout: timeoutMs,
      ...(account && { uid: account.uid, gid: account.gid }),
    };
    try {
      execFile(command, args, settings, (error, stdout, stderr) => {
        const output = `${stdout}${stderr}`.trim();
        resolve({ ok: error === null, output: output === '' && error !== null ? error.message : output });
      });
    } catch (error) {
      // spawn throws at once for some errors (EACCES, EINVAL of a uid that this container does not map).
      resolve({ ok: false, output: String(error) });
    }
  });
}

/** Whether that account can enter a folder. Asked of the system, not computed: access lists and mounts have their say too. */
export async function canEnter(directory: string, account: Account | undefined): Promise<boolean> {
  const outcome = await run('/bin/sh', ['-c', 'cd -- "$1"', 'sh', directory], { account });
  return outcome.ok;
}
