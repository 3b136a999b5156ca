/**
 * What happens to a run until it ends. Found by asking, until the server implements WatchRun and TailStepLogs: whoever
 * reads these events will not see the difference, but for the interval.
 */
import { create, equals } from '@bufbuild/protobuf';
import {
  type NumberedLogLine,
  TailStepLogsResponseSchema,
  WatchRunResponseSchema,
} from '../../../gen/yardmaster/v1/admin_service_pb.ts';
import { type Run, RunSchema, RunState } from '../../../gen/yardmaster/v1/run_pb.ts';
import { sleep } from '../../lib/clock.ts';
import { printJsonLine, type Yard } from '../yard.ts';

const ASK_INTERVAL_MS = 250;

export type RunEvent =
  | { readonly kind: 'changed'; readonly run: Run }
  | { readonly kind: 'logged'; readonly stepName: string; readonly lines: NumberedLogLine[] };

/** First the state, then each change; lines of the log as they are stored; ends after the run's end. */
export async function* followRun(yard: Yard, runId: string): AsyncGenerator<RunEvent, void, undefined> {
  const { admin, call, io, signal } = yard;
  const readers = new Map<string, LogReader>();
  let before: Run | undefined;
  for (;;) {
    const { run } = await admin.getRun({ runId }, call);
    if (run === undefined) return;
    const changed = before === undefined || !equals(RunSchema, before, run);
    const ended = hasEnded(run);
    // The log is asked for after the state, so at the end it is whole: what a run says comes before how it ended.
    if (changed && !ended) yield { kind: 'changed', run };
    for (const { name: stepName } of run.steps) {
      const reader = readers.get(stepName) ?? new LogReader(yard, runId, stepName);
      readers.set(stepName, reader);
      for await (const lines of reader.news()) yield { kind: 'logged', stepName, lines };
    }
    if (ended) {
      yield { kind: 'changed', run };
      return;
    }
    before = run;
    await sleep(io.clock, ASK_INTERVAL_MS, signal);
  }
}

export function hasEnded(run: Run): boolean {
  return run.state !== RunState.PENDING && run.state !== RunState.RUNNING;
}

/** For programs: the messages that the watches will have. */
export function printEvent(yard: Yard, event: RunEvent): void {
  if (event.kind === 'changed') {
    const changed = create(WatchRunResponseSchema, { event: { case: 'changed', value: event.run } });
    printJsonLine(yard, WatchRunResponseSchema, changed);
  } else {
    const { stepName, lines } = event;
    printJsonLine(yard, TailStepLogsResponseSchema, create(TailStepLogsResponseSchema, { stepName, lines }));
  }
}

/** Reads on in a list that grows at its end: the last page is asked for again, without what was seen of it. */
export class LogReader {
  readonly #yard: Yard;
  readonly #runId: string;
  readonly #stepName: string;
  #pageToken = '';
  #seenOfPage = 0;
  /** Bytes that the server did not keep, as of the last page. */
  cutBytes = 0n;

  constructor(yard: Yard, runId: string, stepName: string) {
    this.#yard = yard;
    this.#runId = runId;
    this.#stepName = stepName;
  }

  async *news(): AsyncGenerator<NumberedLogLine[], void, undefined> {
    const { admin, call } = this.#yard;
    for (;;) {
      const request = { runId: this.#runId, stepName: this.#stepName, pageToken: this.#pageToken };
      const { lines, nextPageToken, cutBytes } = await admin.getStepLogs(request, call);
      const unseen = lines.slice(this.#seenOfPage);
      this.#seenOfPage = lines.length;
      this.cutBytes = cutBytes;
      if (unseen.length > 0) yield unseen;
      if (nextPageToken === '') return;
      this.#pageToken = nextPageToken;
      this.#seenOfPage = 0;
    }
  }
}
