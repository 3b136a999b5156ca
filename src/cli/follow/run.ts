/** What happens to a run until it ends: its states by WatchRun, its log by TailStepLogs. */
import { create, equals } from '@bufbuild/protobuf';
import { TailStepLogsResponseSchema, WatchRunResponseSchema } from '../../../gen/yardmaster/v1/admin_service_pb.ts';
import { type Run, RunSchema, RunState } from '../../../gen/yardmaster/v1/run_pb.ts';
import { printJsonLine, type Yard } from '../yard.ts';
import { watchAnew } from './again.ts';
import { either } from './either.ts';
import { followLog, type LoggedLines } from './log.ts';

export type RunEvent = { readonly kind: 'changed'; readonly run: Run } | ({ readonly kind: 'logged' } & LoggedLines);

/** First the state, then each change; lines of the log as they are stored; ends after the run's end. */
export async function* followRun(yard: Yard, runId: string): AsyncGenerator<RunEvent, void, undefined> {
  const left = new AbortController();
  const signal = AbortSignal.any([yard.signal, left.signal]);
  const own = { ...yard, signal, call: { ...yard.call, signal } };
  let end: Run | undefined;
  for await (const event of either(states(own, runId), lines(own, runId), () => left.abort())) {
    // Kept until the log is whole: what a run says comes before how it ended.
    if (event.kind === 'changed' && hasEnded(event.run)) end = event.run;
    else yield event;
  }
  if (end !== undefined) yield { kind: 'changed', run: end };
}

async function* states(yard: Yard, runId: string): AsyncGenerator<RunEvent, void> {
  let before: Run | undefined;
  for await (const { event } of watchAnew(yard, () => yard.admin.watchRun({ runId }, yard.call))) {
    // A new watch begins with what the one before it may have told.
    if (event.case !== 'changed' || (before !== undefined && equals(RunSchema, before, event.value))) continue;
    before = event.value;
    yield { kind: 'changed', run: event.value };
  }
}

async function* lines(yard: Yard, runId: string): AsyncGenerator<RunEvent, void> {
  for await (const logged of followLog(yard, runId, '')) yield { kind: 'logged', ...logged };
}

export function hasEnded(run: Run): boolean {
  return run.state !== RunState.PENDING && run.state !== RunState.RUNNING;
}

/** For programs: the messages of the watches. */
export function printEvent(yard: Yard, event: RunEvent): void {
  if (event.kind === 'changed') {
    const changed = create(WatchRunResponseSchema, { event: { case: 'changed', value: event.run } });
    printJsonLine(yard, WatchRunResponseSchema, changed);
  } else printLines(yard, event);
}

export function printLines(yard: Yard, { stepName, lines }: LoggedLines): void {
  printJsonLine(yard, TailStepLogsResponseSchema, create(TailStepLogsResponseSchema, { stepName, lines }));
}
