/** The log of a run as it grows: every line once, whatever happens to the stream it comes by. */
import type { NumberedLogLine } from '../../../gen/yardmaster/v1/admin_service_pb.ts';
import type { Yard } from '../yard.ts';
import { watchAnew } from './again.ts';

export interface LoggedLines {
  readonly stepName: string;
  readonly lines: NumberedLogLine[];
}

/** A new tail begins with so many of the lines there are: more than one, so that it shows that there are any. */
const LAST_LINES = 100;
/** As many as the server sends together at most. */
const PAGE_SIZE = 500;

/** Of one step, or with an empty name of every step. Ends after its end. */
export async function* followLog(yard: Yard, runId: string, stepName: string): AsyncGenerator<LoggedLines, void> {
  const readers = new Map<string, LogReader>();
  const readerOf = (name: string) => {
    const reader = readers.get(name) ?? new LogReader(yard, runId, name);
    readers.set(name, reader);
    return reader;
  };
  yield* watchAnew(yard, () => tail(yard, runId, stepName, readerOf));
}

/** One stream. Where it begins is not known, so what was stored by then is read from where the readers have come to. */
async function* tail(
  yard: Yard,
  runId: string,
  stepName: string,
  readerOf: (stepName: string) => LogReader,
): AsyncGenerator<LoggedLines, void> {
  const { admin, call } = yard;
  let isFirst = true;
  for await (const message of admin.tailStepLogs({ runId, stepName, lastLines: LAST_LINES }, call)) {
    if (isFirst) {
      // All of them: a step may have said what there is of it long before the last lines of the run.
      for (const name of stepName === '' ? await stepNames(yard, runId) : [stepName]) {
        for await (const lines of readerOf(name).news()) yield { stepName: name, lines };
      }
      isFirst = false;
    }
    const lines = readerOf(message.stepName).unread(message.lines);
    if (lines.length > 0) yield { stepName: message.stepName, lines };
  }
}

async function stepNames({ admin, call }: Yard, runId: string): Promise<string[]> {
  const { run } = await admin.getRun({ runId }, call);
  return (run?.steps ?? []).map(({ name }) => name);
}

/** A step's log, read on from where one was: by pages, or line by line from its tail. */
export class LogReader {
  readonly #yard: Yard;
  readonly #runId: string;
  readonly #stepName: string;
  #pageToken = '';
  /** Lines of this page and those behind it that were read already. */
  #readOfPage = 0;
  /** The lines read last; a tail may begin with them. */
  #last = new Set<string>();
  /** Bytes that the server did not keep, as of the last page. */
  cutBytes = 0n;

  constructor(yard: Yard, runId: string, stepName: string) {
    this.#yard = yard;
    this.#runId = runId;
    this.#stepName = stepName;
  }

  /** What is stored and was not read. */
  async *news(): AsyncGenerator<NumberedLogLine[], void, undefined> {
    const { admin, call } = this.#yard;
    for (;;) {
      const page = { runId: this.#runId, stepName: this.#stepName, pageSize: PAGE_SIZE, pageToken: this.#pageToken };
      const { lines, nextPageToken, cutBytes } = await admin.getStepLogs(page, call);
      const unread = lines.slice(this.#readOfPage);
      this.cutBytes = cutBytes;
      this.#remember(unread);
      this.#readOfPage += unread.length;
      if (nextPageToken !== '') {
        this.#pageToken = nextPageToken;
        this.#readOfPage -= lines.length;
      }
      if (unread.length > 0) yield unread;
      if (nextPageToken === '') return;
    }
  }

  /** Those of a tail's lines that were not read; from now on they were. */
  unread(lines: readonly NumberedLogLine[]): NumberedLogLine[] {
    const unread = lines.filter((line) => !this.#last.has(keyOf(line)));
    if (unread.length === 0) return unread;
    // Behind the first new line all are new, so older ones need not be known any more.
    this.#last = new Set([...this.#last].slice(-LAST_LINES));
    this.#remember(unread);
    this.#readOfPage += unread.length;
    return unread;
  }

  #remember(lines: readonly NumberedLogLine[]): void {
    for (const line of lines) this.#last.add(keyOf(line));
  }
}

/** Attempts that were given back share a number, and so may their lines; not the time as well. */
function keyOf({ attempt, number, line }: NumberedLogLine): string {
  return `${attempt} ${number} ${line?.time?.seconds} ${line?.time?.nanos}`;
}
