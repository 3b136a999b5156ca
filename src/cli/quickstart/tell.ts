/** Tells a chapter: submits its run, watches what becomes of it, and says whether that is what should. */
import { RunState, type Step, StepState } from '../../../gen/yardmaster/v1/run_pb.ts';
import type { AdminClient } from '../../client/index.ts';
import { sleep, systemClock } from '../../lib/clock.ts';
import type { Entry, Fleet } from './fleet.ts';
import type { Chapter, PlacedChapter, StickyChapter, TimedOutChapter } from './story.ts';

const NS_PER_MS = 1e6;
/** A chapter that takes longer than this has gone wrong. */
const CHAPTER_MS_MAX = 10_000;

/** False when it went otherwise than told. */
export async function tell(number: number, chapter: Chapter, admin: AdminClient, fleet: Fleet): Promise<boolean> {
  console.log(`${number}. ${chapter.title}`);
  switch (chapter.kind) {
    case 'placed':
      return tellPlaced(chapter, admin, fleet);
    case 'sticky':
      return tellSticky(chapter, admin, fleet);
    case 'timed out':
      return tellTimedOut(chapter, admin);
  }
}

async function submit(admin: AdminClient, { request, title }: Chapter): Promise<string> {
  const { run } = await admin.scheduleRun({ ...request, inputJson: JSON.stringify({ chapter: title }) });
  return run?.runId ?? '';
}

async function tellPlaced(chapter: PlacedChapter, admin: AdminClient, fleet: Fleet): Promise<boolean> {
  let fromNs = process.hrtime.bigint();
  let since = 'submission';
  const runId = await submit(admin, chapter);
  if (chapter.waitsFor) {
    const waiting = (await admin.getRun({ runId })).run?.steps[0]?.state === StepState.PENDING;
    console.log(waiting ? '   nobody has it: the run waits' : '   it should have waited, and did not');
    if (!waiting) return false;
    const { worker, labels } = chapter.waitsFor;
    console.log(`   ${worker} upserts ${JSON.stringify(labels)}`);
    fromNs = process.hrtime.bigint();
    since = 'the upsert';
    fleet.upsertLabels(worker, labels);
  }
  const entry = await inTime(fleet.entered(runId, 'train'));
  return say(chapter, entry, fromNs, `from ${since} to handler`);
}

async function tellSticky(chapter: StickyChapter, admin: AdminClient, fleet: Fleet): Promise<boolean> {
  const { warnings } = await admin.putWorkflow(chapter.workflow);
  // Its second step needs nothing that the first does not, so there is nothing to warn of.
  for (const { message } of warnings) console.log(`   warning: ${message}`);
  let fromNs = process.hrtime.bigint();
  let since = 'submission';
  const runId = await submit(admin, chapter);
  let asTold = warnings.length === 0;
  for (const stepName of chapter.stepNames) {
    const entry = await inTime(fleet.entered(runId, stepName));
    asTold = say(chapter, entry, fromNs, `from ${since} to the handler of ${stepName}`) && asTold;
    if (entry === null) return false;
    fromNs = entry.atNs;
    since = `the handler of ${stepName}`;
  }
  return asTold;
}

async function tellTimedOut(chapter: TimedOutChapter, admin: AdminClient): Promise<boolean> {
  const runId = await submit(admin, chapter);
  const ended = await inTime(endOf(admin, runId));
  const said = ended?.error?.explanation?.summary ?? '';
  const asTold = ended?.state === StepState.TIMED_OUT && chapter.expectedSummary.test(said);
  console.log(`   → ${asTold ? 'TIMED_OUT' : 'it did not time out as it should'}: ${said}`);
  console.log(`     ${asTold ? `because ${chapter.why}` : 'it should have timed out and said why'}\n`);
  return asTold;
}

/** The run's step, once the run has ended. */
async function endOf(admin: AdminClient, runId: string): Promise<Step | null> {
  for await (const { event } of admin.watchRun({ runId })) {
    if (event.case !== 'changed') continue;
    const { state, steps } = event.value;
    if (state !== RunState.PENDING && state !== RunState.RUNNING) return steps[0] ?? null;
  }
  return null;
}

async function inTime<T>(awaited: Promise<T>): Promise<T | null> {
  const late = new AbortController();
  const limit = sleep(systemClock(), CHAPTER_MS_MAX, late.signal).then(
    () => null,
    () => null,
  );
  const first = await Promise.race([awaited, limit]);
  late.abort();
  return first;
}

function say(chapter: PlacedChapter | StickyChapter, entry: Entry | null, fromNs: bigint, what: string): boolean {
  if (entry === null) {
    console.log(`   → nobody took it within ${CHAPTER_MS_MAX} ms\n`);
    return false;
  }
  const asTold = entry.worker === chapter.expectedWorker;
  console.log(`   → ${entry.worker}, ${(Number(entry.atNs - fromNs) / NS_PER_MS).toFixed(1)} ms ${what}`);
  console.log(
    asTold ? `     because ${chapter.why}\n` : `     it should have been ${chapter.expectedWorker}: ${chapter.why}\n`,
  );
  return asTold;
}
