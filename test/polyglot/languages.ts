/** The examples in other languages: how each is made ready, by its README word for word, and started. */
import { execFile } from 'node:child_process';
import { resolve } from 'node:path';
import { promisify } from 'node:util';
import { readmeBlock } from '../support/readme.ts';

const run = promisify(execFile);

// Fetching and compiling, on a machine that does other things beside.
export const READY_MS_MAX = 600_000;

interface Command {
  readonly file: string;
  readonly args: readonly string[];
}

export interface Language {
  readonly name: string;
  readonly folder: string;
  /** Fails when the language is not there. */
  readonly probe: Command;
  readonly worker: Command;
  readonly admin: Command;
  /** The name of the error that the handler of `fail` ends with. */
  readonly errorType: string;
}

const PYTHON = resolve('examples/python');
const GO = resolve('examples/go');
const python = (script: string): Command => ({ file: `${PYTHON}/.venv/bin/python`, args: [`${PYTHON}/${script}`] });

export const LANGUAGES: readonly Language[] = [
  {
    name: 'python',
    folder: PYTHON,
    probe: { file: 'python3', args: ['--version'] },
    worker: python('worker.py'),
    admin: python('admin.py'),
    errorType: 'ValueError',
  },
  {
    name: 'go',
    folder: GO,
    probe: { file: 'go', args: ['version'] },
    worker: { file: `${GO}/bin/worker`, args: [] },
    admin: { file: `${GO}/bin/admin`, args: [] },
    errorType: '*errors.errorString',
  },
];

/** Does what the first block of its README says. */
export async function makeReady({ name, folder, probe }: Language): Promise<void> {
  await run(probe.file, probe.args).catch((error: Error) => {
    throw new Error(`this test needs ${name} on the PATH: ${error.message}`);
  });
  const commands = readmeBlock('sh', 0, `${folder}/README.md`);
  await run('bash', ['-euc', commands], { cwd: folder, timeout: READY_MS_MAX, maxBuffer: 16 * 1024 * 1024 });
}
