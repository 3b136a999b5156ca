/** What the workers wrote down for themselves, all of it together. */
import { readFile } from 'node:fs/promises';

export interface Entered {
  readonly worker: string;
  readonly runId: string;
  readonly stepName: string;
}

interface Finished {
  readonly worker: string;
  readonly output: string;
  readonly lines: number;
}

export interface Journals {
  /** By assignment id; more than one entry is more than one execution under one fence. */
  readonly entered: ReadonlyMap<string, readonly Entered[]>;
  readonly finished: ReadonlyMap<string, readonly Finished[]>;
  /** Successes that a worker was told are settled. */
  readonly settledSuccesses: ReadonlySet<string>;
  /** Successes that a worker was told are refused. */
  readonly refusedSuccesses: ReadonlySet<string>;
  /** Processes of workers, with those that were killed. */
  readonly processes: number;
}

export interface JournalSource {
  readonly worker: string;
  readonly text: string;
}

export async function readJournals(
  files: readonly { readonly worker: string; readonly path: string }[],
): Promise<Journals> {
  const sources = files.map(async ({ worker, path }) => ({ worker, text: await readFile(path, 'utf8') }));
  return gather(await Promise.all(sources));
}

type Line = Readonly<
  Record<'kind' | 'assignmentId' | 'runId' | 'stepName' | 'output' | 'fact' | 'about' | 'reason', string>
> & {
  readonly lines: number;
};

export function gather(sources: readonly JournalSource[]): Journals {
  const entered = new Map<string, Entered[]>();
  const finished = new Map<string, Finished[]>();
  const settledSuccesses = new Set<string>();
  const refusedSuccesses = new Set<string>();
  let processes = 0;

  function read(worker: string, line: Line): void {
    const { kind, assignmentId, runId, stepName, output, lines } = line;
    if (kind === 'began') processes += 1;
    if (kind === 'entered') push(entered, assignmentId, { worker, runId, stepName });
    if (kind === 'settled' && line.fact === 'stepSucceeded') settledSuccesses.add(assignmentId);
    // RATE_LIMITED is "not yet": the same comes again.
    const isFinal = line.reason !== 'RATE_LIMITED';
    if (kind === 'refused' && line.about === 'stepSucceeded' && isFinal) refusedSuccesses.add(assignmentId);
    if (kind === 'finished') push(finished, assignmentId, { worker, output, lines });
  }

  for (const { worker, text } of sources) {
    for (const line of linesOf(worker, text)) read(worker, line);
  }
  return { entered, finished, settledSuccesses, refusedSuccesses, processes };
}

/** A process that was killed may have left half a line; then the next one begins. */
function linesOf(worker: string, text: string): Line[] {
  const lines = text.split('\n').filter((line) => line !== '');
  return lines.flatMap((line, at) => {
    try {
      return [JSON.parse(line) as Line];
    } catch {
      const next = lines[at + 1];
      if (next === undefined || next.includes('"began"')) return [];
      throw new Error(`the journal of ${worker} is damaged at its line ${at + 1}: ${line}`);
    }
  });
}

function push<T>(map: Map<string, T[]>, key: string, value: T): void {
  const list = map.get(key);
  if (list === undefined) map.set(key, [value]);
  else list.push(value);
}
