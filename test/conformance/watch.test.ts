import { create, equals, toJson } from '@bufbuild/protobuf';
import { status } from '@grpc/grpc-js';
import { afterEach, describe, expect, it } from 'vitest';
import {
  AdminService,
  type TailStepLogsResponse,
  type WatchRunResponse,
  type WatchWorkersResponse,
} from '../../gen/yardmaster/v1/admin_service_pb.ts';
import { type Run, RunSchema, RunState, StepState } from '../../gen/yardmaster/v1/run_pb.ts';
import { type Worker, WorkerState } from '../../gen/yardmaster/v1/worker_pb.ts';
import { nameIn, unique, until, useYard } from '../support/conformance.ts';
import { readStream } from '../support/conformance_calls.ts';
import { Watching } from '../support/watching.ts';

const yard = useYard();
const { watchRun, watchWorkers, tailStepLogs } = AdminService.method;
const open: { cancel(): void }[] = [];
afterEach(() => {
  for (const watching of open.splice(0)) watching.cancel();
});

function watchOf(runId: string, metadata: Record<string, string> = {}) {
  const watching = new Watching(yard.client, watchRun, { runId }, metadata);
  open.push(watching);
  return watching;
}

function watchAll() {
  const watching = new Watching(yard.client, watchWorkers, {});
  open.push(watching);
  return watching;
}

function tailOf(runId: string, lastLines: number, stepName = '') {
  const watching = new Watching(yard.client, tailStepLogs, { runId, lastLines, stepName });
  open.push(watching);
  return watching;
}

const runsIn = (messages: readonly WatchRunResponse[]): Run[] =>
  messages.flatMap(({ event }) => (event.case === 'changed' ? [event.value] : []));

/** Each state once, in order. */
const storyOf = (runs: readonly Run[]) =>
  runs
    .map(({ state, steps }) => `${nameIn(RunState, state)} ${nameIn(StepState, steps[0]?.state ?? 0)}`)
    .filter((told, index, all) => told !== all[index - 1]);

const isRunning = ({ event }: WatchRunResponse) => event.case === 'changed' && event.value.state === RunState.RUNNING;

/** What every watch of a run must be: each revision newer than the one before, or the same with other progress. */
function expectInOrder(runs: readonly Run[]): void {
  for (const [index, run] of runs.entries()) {
    const before = runs[index - 1];
    if (before === undefined) continue;
    expect(run.revision).toBeGreaterThanOrEqual(before.revision);
    expect(equals(RunSchema, run, before)).toBe(false);
  }
}

describe('WatchRun', () => {
  it('tells the state, then every change with its attempts, and ends after the end with the output', async () => {
    const action = unique('watched');
    const runId = await yard.submit({ action, retry: { maxAttempts: 2 } }, { inputJson: '{"n":1}' });
    const watching = watchOf(runId);
    await watching.sees('the first state', () => true);
    const worker = await yard.connect({ actions: [action] });
    await worker.settled(worker.fail(await worker.take(), 'not yet'));
    const offer = await worker.take();
    await worker.settled(worker.succeed(offer, { answer: 42 }));
    expect(await watching.ended).toMatchObject({ code: status.OK });

    const runs = runsIn(watching.received);
    expect(runs).toHaveLength(watching.received.length);
    expectInOrder(runs);
    expect(storyOf(runs)).toEqual([
      'PENDING PENDING',
      'PENDING ASSIGNED',
      'RUNNING RUNNING',
      'RUNNING ASSIGNED',
      'RUNNING RUNNING',
      'SUCCEEDED SUCCEEDED',
    ]);
    expect(runs.every(({ inputJson, requestId }) => inputJson === '{"n":1}' && requestId === '')).toBe(true);
    const attempts = runs.map(({ steps }) => steps[0]?.attempts.map(({ number, outcome }) => `${number}${outcome}`));
    expect(attempts.filter((told, index) => String(told) !== String(attempts[index - 1]))).toEqual([
      [],
      ['1'],
      ['1APPLICATION', '2'],
      ['1APPLICATION', '2SUCCEEDED'],
    ]);
    expect(runs.at(-1)).toEqual(await yard.run(runId));
    expect(runs.at(-1)).toMatchObject({ outputJson: '{"answer":42}' });
  });

  it('an ended run is told once', async () => {
    const action = unique('watched');
    const worker = await yard.connect({ actions: [action] });
    const runId = await yard.submit({ action });
    await worker.work('done');
    // The letters of an id may be large.
    for (const asked of [runId, runId.toUpperCase()]) {
      const { messages, status: end } = await readStream(yard.client, watchRun, { runId: asked });
      expect(end).toMatchObject({ code: status.OK });
      expect(runsIn(messages)).toEqual([await yard.run(runId)]);
    }
  });

  it('progress is told, the newest and not every word of it, and a change at once', async () => {
    const action = unique('watched');
    const worker = await yard.connect({ actions: [action] });
    const runId = await yard.submit({ action });
    const offer = await worker.take();
    const { assignmentId } = offer;
    const progress = (text: string) =>
      worker.send({ case: 'stepProgressed', value: { assignmentId, text, phase: '' } });
    progress('before the watch');
    await yard.quiet(worker);
    const watching = watchOf(runId);
    await watching.sees('the first state', () => true);
    expect(runsIn(watching.received)[0]?.steps[0]?.progressText).toBe('before the watch');
    for (let index = 1; index <= 300; index += 1) progress(`word ${index}`);
    const says = (text: string) => (message: WatchRunResponse) => runsIn([message])[0]?.steps[0]?.progressText === text;
    await watching.sees('the last word', says('word 300'));
    const heard = watching.received.length;
    expect(heard).toBeLessThan(30);
    progress('last');
    await worker.settled(worker.succeed(offer));
    await watching.ended;
    const runs = runsIn(watching.received);
    expectInOrder(runs);
    expect(watching.received).toHaveLength(runs.length);
    expect(runs.at(-1)?.state).toBe(RunState.SUCCEEDED);
  });

  it('what ended an attempt of an earlier watch is in the first state of a later one', async () => {
    const action = unique('watched');
    const worker = await yard.connect({ actions: [action] });
    const runId = await yard.submit({ action, retry: { maxAttempts: 3 } });
    await worker.settled(worker.fail(await worker.take(), 'first'));
    const second = await worker.take();
    const watching = watchOf(runId);
    await watching.sees('the first state', () => true);
    await worker.settled(worker.fail(second, 'second'));
    await worker.settled(worker.fail(await worker.take(), 'third'));
    await watching.ended;
    const runs = runsIn(watching.received);
    const counted = runs.map(({ steps }) => steps[0]?.attempts.length);
    expect(counted).toEqual([...counted].sort());
    expect(runs.at(-1)?.steps[0]?.attempts.map(({ error }) => error?.message)).toEqual(['first', 'second', 'third']);
    expect(runs.at(-1)).toEqual(await yard.run(runId));
  });

  it('several watch the same run, each whole', async () => {
    const action = unique('watched');
    const runId = await yard.submit({ action });
    const watches = Array.from({ length: 5 }, () => watchOf(runId));
    await Promise.all(watches.map((watching) => watching.sees('the first state', () => true)));
    watches[0]?.cancel();
    const worker = await yard.connect({ actions: [action] });
    await worker.work('done');
    for (const watching of watches.slice(1)) {
      expect(await watching.ended).toMatchObject({ code: status.OK });
      expect(runsIn(watching.received).at(-1)?.outputJson).toBe('"done"');
    }
  });

  it('a run that is cancelled, or times out, ends its watch', async () => {
    const cancelled = await yard.submit({ action: unique('nobody') });
    const late = await yard.submit({ action: unique('nobody'), scheduleTimeout: { nanos: 50_000_000 } });
    const watches = [watchOf(cancelled), watchOf(late)];
    await watches[0]?.sees('the first state', () => true);
    await yard.admin.cancelRun({ runId: cancelled });
    for (const watching of watches) expect(await watching.ended).toMatchObject({ code: status.OK });
    const last = watches.map(({ received }) => nameIn(RunState, runsIn(received).at(-1)?.state ?? 0));
    expect(last).toEqual(['CANCELLED', 'TIMED_OUT']);
  });

  it('what is not there is NOT_FOUND, and so is what is elsewhere', async () => {
    const nobody = '00000000-0000-4000-8000-000000000000';
    for (const runId of [nobody, 'no id at all']) {
      expect(await watchOf(runId).ended).toMatchObject({ code: status.NOT_FOUND, reason: 'RUN_NOT_FOUND' });
    }
    const runId = await yard.submit({ action: unique('watched') });
    expect(await watchOf(runId, { 'yardmaster-namespace': 'nowhere' }).ended).toMatchObject({ code: status.NOT_FOUND });
    expect(await watchOf('').ended).toMatchObject({ code: status.INVALID_ARGUMENT, fields: [{ field: 'run_id' }] });
  });
});

describe('a client', () => {
  it('that does not read gets `skipped` and the newest state when it does', async () => {
    const action = unique('watched');
    const worker = await yard.connect({ actions: [action] });
    // Large enough for a few events to fill whatever lies between.
    const inputJson = JSON.stringify('x'.repeat(500_000));
    const runId = await yard.submit({ action, retry: { maxAttempts: 100 } }, { inputJson });
    const watching = watchOf(runId);
    await watching.sees('the first state', () => true);
    watching.pause();
    for (let attempt = 1; attempt <= 60; attempt += 1) {
      const offer = await worker.take();
      await worker.settled(worker.fail(offer));
    }
    await worker.settled(worker.succeed(await worker.take(), 'at last'));
    watching.resume();
    expect(await watching.ended).toMatchObject({ code: status.OK });
    const skipped = watching.received.findIndex(({ event }) => event.case === 'skipped');
    expect(skipped).toBeGreaterThan(0);
    expect(watching.received.length).toBeLessThan(100);
    const runs = runsIn(watching.received);
    expectInOrder(runs);
    expect(runs.at(-1)).toEqual(await yard.run(runId));
    expect(runs.at(-1)?.steps[0]?.attempts).toHaveLength(61);
  });

  it('that goes away, however, leaves nothing behind', async () => {
    const { watches } = yard.plane;
    for (const each of open.splice(0)) each.cancel();
    await until(async () => watches.isIdle, 'no watch is left of the tests before');
    const runId = await yard.submit({ action: unique('nobody') });
    const many = Array.from({ length: 20 }, () => [watchOf(runId), watchAll(), tailOf(runId, 10)]).flat();
    await until(async () => watches.count === many.length, 'all watch');
    for (const each of many) each.cancel();
    await until(async () => watches.isIdle, 'no watch is left');
    const impatient = new Watching(yard.client, watchRun, { runId }, {}, 200);
    expect(await impatient.ended).toMatchObject({ code: status.DEADLINE_EXCEEDED });
    expect(impatient.received).toHaveLength(1);
    await until(async () => watches.isIdle, 'no watch is left after its deadline');
  });
});

describe('WatchWorkers', () => {
  const caughtUp = ({ event }: WatchWorkersResponse) => event.case === 'caughtUp';
  const workersIn = (messages: readonly WatchWorkersResponse[], workerId: string): Worker[] =>
    messages.flatMap(({ event }) =>
      event.case === 'changed' && event.value.workerId === workerId ? [event.value] : [],
    );
  const told = ({ state, slotsUsed, slots, labelsRevision, draining, notReadyReason }: Worker) =>
    `${nameIn(WorkerState, state)} ${slotsUsed}/${slots} r${labelsRevision}${draining ? ' draining' : ''} ${notReadyReason}`.trim();

  it('tells every worker, that it has caught up, then each change and deletions', async () => {
    const action = unique('watched');
    const known = await yard.admin.registerWorker({ name: unique('known') });
    const watching = watchAll();
    await watching.sees('that it has caught up', caughtUp);
    expect(workersIn(watching.received, known.worker?.workerId ?? '').map(told)).toEqual([
      'OFFLINE 0/1 r0 DISCONNECTED',
    ]);
    expect(watching.received.findIndex(caughtUp)).toBe(watching.received.length - 1);

    const worker = await yard.connect({ actions: [action], slots: 2 });
    const { workerId } = worker;
    await yard.submit({ action });
    const offer = await worker.take();
    await worker.settled(worker.upsert({ memory: 1 }));
    await worker.settled(worker.send({ case: 'slotsChanged', value: { slots: 3 } }));
    await worker.heartbeat();
    worker.send({ case: 'stepProgressed', value: { assignmentId: offer.assignmentId, text: 'no news', phase: '' } });
    await worker.settled(worker.succeed(offer));
    await yard.admin.drainWorker({ workerId });
    await yard.admin.resumeWorker({ workerId });
    // The same again changes nothing.
    await yard.admin.resumeWorker({ workerId });
    await worker.leave();
    await yard.admin.deleteWorker({ workerId });
    await watching.sees('the deletion', ({ event }) => event.case === 'deletedWorkerId' && event.value === workerId);
    const changes = workersIn(watching.received, workerId);
    expect(changes.map(told)).toEqual([
      'IDLE 0/2 r0',
      'BUSY 1/2 r0',
      'BUSY 1/2 r1',
      'BUSY 1/3 r1',
      'IDLE 0/3 r1',
      'IDLE 0/3 r1 draining',
      'IDLE 0/3 r1',
      'OFFLINE 0/3 r1 DISCONNECTED',
    ]);
    expect(changes[1]?.assignments).toMatchObject([{ assignmentId: offer.assignmentId, runId: offer.runId }]);
    expect(watching.received.at(-1)?.event).toEqual({ case: 'deletedWorkerId', value: workerId });
    expect(watching.received.filter(caughtUp)).toHaveLength(1);
  });

  it('a lost worker is seen to be lost, and what it held to be gone', async () => {
    const action = unique('watched');
    const watching = watchAll();
    await watching.sees('that it has caught up', caughtUp);
    const worker = await yard.connect({ actions: [action] });
    await yard.submit({ action });
    await worker.take();
    await worker.settled(worker.sequence);
    await worker.cut();
    const gone = ({ state }: Worker) => state === WorkerState.DISCONNECTED;
    await watching.sees('that it is gone', (message) => workersIn([message], worker.workerId).some(gone));
    await yard.admin.deleteWorker({ workerId: worker.workerId, force: true });
    await watching.sees('the deletion', ({ event }) => event.value === worker.workerId);
    const last = watching.received.findLastIndex((message) => workersIn([message], worker.workerId).length > 0);
    expect(watching.received.findIndex(({ event }) => event.value === worker.workerId)).toBeGreaterThan(last);
  });

  it('an unknown namespace is NOT_FOUND', async () => {
    const watching = new Watching(yard.client, watchWorkers, {}, { 'yardmaster-namespace': 'nowhere' });
    expect(await watching.ended).toMatchObject({ code: status.NOT_FOUND, reason: 'NAMESPACE_NOT_FOUND' });
    expect(watching.received).toEqual([]);
  });
});

describe('TailStepLogs', () => {
  const textsIn = (messages: readonly TailStepLogsResponse[]) =>
    messages.flatMap(({ lines }) => lines.map(({ line }) => line?.text ?? ''));
  const numbered = (from: number, to: number) =>
    Array.from({ length: to - from + 1 }, (_, index) => ({ text: `line ${from + index}` }));

  async function logging() {
    const action = unique('talker');
    const worker = await yard.connect({ actions: [action] });
    const runId = await yard.submit({ action, name: 'talk' });
    const offer = await worker.take();
    await worker.settled(worker.sequence);
    return { worker, runId, offer };
  }

  it('tells the last lines, then new ones, each once, and ends after the end of the step', async () => {
    const { worker, runId, offer } = await logging();
    await worker.settled(worker.logLines(offer, 1, numbered(1, 50)));
    const [ten, all, none, run] = [tailOf(runId, 10, 'talk'), tailOf(runId, 1_000), tailOf(runId, 0), watchOf(runId)];
    const last = (messages: TailStepLogsResponse) => textsIn([messages]).includes('line 50');
    await Promise.all([ten.sees('line 50', last), all.sees('line 50', last), run.sees('the state', isRunning)]);
    // A tail of new lines alone has nothing to say; that it listens shows by the next line.
    for (let line = 51; ; line += 1) {
      await worker.settled(worker.logLines(offer, line, numbered(line, line)));
      if (none.received.length > 0) break;
    }
    const from = textsIn(none.received)[0];
    worker.logLines(offer, 500, numbered(500, 900));
    await worker.settled(worker.succeed(offer));
    for (const tail of [ten, all, none]) expect(await tail.ended).toMatchObject({ code: status.OK });
    const { lines } = await yard.admin.getStepLogs({ runId, pageSize: 1_000 });
    const stored = lines.map(({ line }) => line?.text ?? '');
    expect(textsIn(all.received)).toEqual(stored);
    expect(textsIn(ten.received)).toEqual(stored.slice(40));
    expect(textsIn(none.received)).toEqual(stored.slice(stored.indexOf(from ?? '')));
    expect(stored.at(-1)).toBe('line 900');
    expect(all.received.every(({ stepName }) => stepName === 'talk')).toBe(true);
    expect(all.received[0]?.lines[0]).toMatchObject({ number: 1n, attempt: 1 });
  });

  it('goes on over attempts, and knows when all is over already', async () => {
    const action = unique('talker');
    const worker = await yard.connect({ actions: [action] });
    const runId = await yard.submit({ action, retry: { maxAttempts: 2 } });
    const tail = tailOf(runId, 1_000);
    for (const text of ['first', 'second']) {
      const offer = await worker.take();
      worker.logLines(offer, 1, [{ text }]);
      await worker.settled(worker.fail(offer));
    }
    expect(await tail.ended).toMatchObject({ code: status.OK });
    const told = tail.received.flatMap(({ lines }) => lines.map(({ attempt, line }) => `${attempt} ${line?.text}`));
    expect(told).toEqual(['1 first', '2 second']);
    const late = [tailOf(runId, 1), tailOf(runId, 0), tailOf(runId, 4_000_000_000)];
    for (const each of late) expect(await each.ended).toMatchObject({ code: status.OK });
    expect(late.map(({ received }) => textsIn(received))).toEqual([['second'], [], ['first', 'second']]);
  });

  it('long lines come in messages that every client takes', async () => {
    const { worker, runId, offer } = await logging();
    const text = 'x'.repeat(8_000);
    for (let from = 1; from <= 901; from += 100) {
      await worker.settled(
        worker.logLines(
          offer,
          from,
          Array.from({ length: 100 }, () => ({ text })),
        ),
      );
    }
    const tail = tailOf(runId, 1_000);
    await worker.settled(worker.succeed(offer));
    expect(await tail.ended).toMatchObject({ code: status.OK });
    expect(textsIn(tail.received)).toHaveLength(1_000);
    expect(tail.received.length).toBeGreaterThan(8);
  });

  it('what is not there is NOT_FOUND', async () => {
    const runId = await yard.submit({ action: unique('talker'), name: 'talk' });
    expect(await tailOf(runId, 1, 'sing').ended).toMatchObject({ code: status.NOT_FOUND, reason: 'STEP_NOT_FOUND' });
    expect(await tailOf('nothing', 1).ended).toMatchObject({ code: status.NOT_FOUND, reason: 'RUN_NOT_FOUND' });
  });
});

/** Memory counts time finer than the store, so an instant may differ by a millisecond. */
function timeless(run: Run | undefined): unknown {
  const text = JSON.stringify(toJson(RunSchema, run ?? create(RunSchema)));
  return JSON.parse(text.replace(/T[\d:.]+Z/g, ''));
}

it('a run is complete in every event: no field that GetRun shows is missing', async () => {
  const action = unique('watched');
  const worker = await yard.connect({ actions: [action] });
  const wish = { key: 'memory', value: { kind: { case: 'numberValue' as const, value: 1 } }, required: false };
  const rest = { metadata: { team: 'red' }, requestId: unique('id'), inputJson: '[1]', desiredLabels: [wish] };
  const runId = await yard.submit({ action }, rest);
  const offer = await worker.take();
  await worker.settled(worker.sequence);
  const watching = watchOf(runId);
  await watching.sees('that it runs', isRunning);
  expect(runsIn(watching.received)).toEqual([await yard.run(runId)]);
  await worker.settled(worker.giveBack(offer));
  await yard.quiet(worker);
  const now = await yard.run(runId);
  await watching.sees('the newest', (message) => runsIn([message])[0]?.revision === now.revision);
  expect(timeless(runsIn(watching.received).at(-1))).toEqual(timeless(now));
  await yard.admin.cancelRun({ runId });
});
