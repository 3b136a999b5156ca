/**
 * The end of a log, followed. The store is what holds the lines back for a slow reader: a message of the writer only
 * says that there is something to read, so nothing is skipped and nothing piles up.
 */
import { runEnded } from '../../domain/run.ts';
import { stepEnded } from '../../domain/step.ts';
import type { RunView } from '../../engine/views.ts';
import { readLastLines, readLastLogId, readLinesAfter, type TailedLine } from '../../store/queries/tail_logs.ts';
import { accepted } from '../errors.ts';
import type { Plane } from '../plane.ts';
import { createInbox } from './inbox.ts';

export interface TailedSteps {
  readonly plane: Plane;
  readonly runId: string;
  /** Empty: every step. */
  readonly stepName: string;
  /** Of the lines there are, so many are read first. */
  readonly lastLines: number;
  /** The run as it is stored; rejects when there is none, or no such step. */
  readonly read: () => Promise<RunView>;
  readonly signal: AbortSignal;
}

/** Read together; with the longest lines this is 4 MiB. */
const LINES_PER_READ_MAX = 500;

/** Pages of lines, none empty, in the order they were stored. Ends after the end of what is tailed, or by `signal`. */
export async function* tailLogs(options: TailedSteps): AsyncGenerator<readonly TailedLine[], void, undefined> {
  const { plane, runId, stepName, lastLines, read, signal } = options;
  const { reads } = plane;
  // One message is as good as many: all say that there is something to read.
  const inbox = createInbox<'NEWS'>(1);
  const watch = plane.watches.open(signal, inbox.end);
  let isOver = false;
  const look = (run: RunView) => {
    isOver ||= hasEnded(run, stepName);
  };
  watch.lines(runId, (name) => {
    if (stepName === '' || name === stepName) inbox.put('NEWS');
  });
  watch.run(runId, (picture) => {
    if (picture.kind !== 'changed') return;
    look(picture.view);
    if (isOver) inbox.put('NEWS');
  });
  try {
    // What was decided before the watch was open is stored by then.
    accepted(await plane.submit({ kind: 'read_progress', runId }));
    look(await read());
    let last = lastLines === 0 ? await readLastLogId(reads, runId) : 0;
    let page = lastLines === 0 ? [] : await readLastLines(reads, { runId, stepName }, lastLines);
    for (;;) {
      const wasOver = isOver;
      // Lines go their own way to the store: those that came before the end may get there after it.
      if (wasOver) await plane.logs()?.stored();
      inbox.clear();
      do {
        if (page.length > 0) yield page;
        last = page.at(-1)?.logId ?? last;
        page = await readLinesAfter(reads, { runId, stepName }, last, LINES_PER_READ_MAX);
      } while (page.length > 0);
      // Also when it was over: it throws if the plane stood down, which then has not stored everything.
      const taken = inbox.poll();
      if (taken === 'OVER' || wasOver) return;
      if (taken === null && !isOver && (await inbox.next()) === 'OVER') return;
    }
  } finally {
    watch.close();
  }
}

function hasEnded(run: RunView, stepName: string): boolean {
  if (stepName === '') return runEnded(run.state);
  return run.steps.some((step) => step.name === stepName && stepEnded(step.state));
}
