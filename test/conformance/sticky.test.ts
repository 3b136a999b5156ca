import { status } from '@grpc/grpc-js';
import { describe, expect, it } from 'vitest';
import { RunState, Sticky, Verdict } from '../../gen/yardmaster/v1/run_pb.ts';
import type { RunStep } from '../../gen/yardmaster/v1/worker_service_pb.ts';
import { present, unique, until, useYard } from '../support/conformance.ts';
import { failureOf } from '../support/conformance_calls.ts';
import { desired, optional } from '../support/conformance_labels.ts';
import {
  becomes,
  chain,
  ended,
  failNext,
  ms,
  type PlainStep,
  putWorkflow,
  runFlow,
  startFlow,
  statesOf,
  stepNamed,
  workOn,
} from '../support/conformance_runs.ts';
import type { WorkerStream } from '../support/conformance_stream.ts';

// A returner gets the step again after a pause; here that pause outlasts every test, so that time decides nothing.
const yard = useYard({ times: { reofferPauseMs: 600_000, reofferPauseMsMax: 600_000 } });
const { SOFT, HARD } = Sticky;

async function pinOf(runId: string): Promise<string> {
  return (await yard.run(runId)).pinnedWorkerId;
}

/**
 * A HARD run of two steps whose first is done on `pinned`, which is full of other work now, so that the second waits
 * for it although `idle` could take it.
 */
async function waitingForFullWorker(stem: string, second: PlainStep = {}) {
  const [action, filler] = [unique(stem), unique('filler')];
  const name = unique('pinned worker');
  const pinned = await yard.connect({ name, actions: [action, filler], slots: 1 });
  const runId = await runFlow(yard, chain(['one', 'two'], { action }, { two: second }), { sticky: HARD });
  const first = await pinned.take();
  const fillerRun = await yard.submit({ action: filler });
  const idle = await yard.connect({ actions: [action], slots: 10 });
  await pinned.settled(pinned.succeed(first));
  const filling = await pinned.take();
  expect(filling.runId).toBe(fillerRun);
  expect((await becomes(yard, runId, 'two', 'PENDING')).attempts).toEqual([]);
  await yard.quiet(pinned, idle);
  expect(idle.unread('runStep')).toEqual([]);
  return { action, name, pinned, idle, runId, filling };
}

describe('sticky', () => {
  it('S1 SOFT prefers the pinned worker and falls back to the next best, where the pin moves', async () => {
    const [action, filler] = [unique('s1'), unique('filler')];
    const first = await yard.connect({ actions: [action, filler], slots: 1, labels: { a: 1 } });
    const other = await yard.connect({ actions: [action], slots: 10, labels: { b: 1 } });
    const runId = await runFlow(
      yard,
      [
        { name: 'one', action, desiredLabels: [optional('a')] },
        { name: 'two', action, needs: ['one'], desiredLabels: [optional('b', 1000)] },
        { name: 'three', action, needs: ['two'], desiredLabels: [optional('a', 1000)] },
        { name: 'four', action, needs: ['three'], desiredLabels: [optional('a', 1000)] },
      ],
      { sticky: SOFT },
    );
    await workOn(first, 'one');
    expect(await pinOf(runId)).toBe(first.workerId);
    // The other one is idler and its labels are liked better; the pin goes before both.
    const two = await first.take();
    expect(two.stepName).toBe('two');
    await yard.submit({ action: filler });
    first.succeed(two);
    // Full now: what waited longer took its slot. The run goes on elsewhere, and stays there.
    const three = await other.take();
    expect(three).toMatchObject({ runId, stepName: 'three' });
    expect(await pinOf(runId)).toBe(other.workerId);
    await first.work();
    other.succeed(three);
    expect(await other.next('runStep')).toMatchObject({ runId, stepName: 'four' });
    expect(await pinOf(runId)).toBe(other.workerId);
  });

  it('S1 SOFT falls back too when the pinned worker does not match, or has gone', async () => {
    const action = unique('s1');
    const first = await yard.connect({ actions: [action], labels: { memory: 512 } });
    const two = { desiredLabels: [desired('memory', 'GREATER_THAN', 512)] };
    const runId = await runFlow(yard, chain(['one', 'two', 'three'], { action }, { two }), { sticky: SOFT });
    const one = await first.take();
    const other = await yard.connect({ actions: [action], labels: { memory: 1024 } });
    first.succeed(one);
    await workOn(other, 'two');
    const three = await other.next('runStep');
    expect(three.stepName).toBe('three');
    await other.leave();
    expect(await first.next('runStep')).toMatchObject({ runId, stepName: 'three' });
    expect(await pinOf(runId)).toBe(first.workerId);
  });

  it('a SOFT pin that moved goes back when the assignment that moved it ends unaccepted', async () => {
    const [action, filler] = [unique('s1'), unique('filler')];
    const first = await yard.connect({ actions: [action, filler], slots: 1 });
    const runId = await runFlow(yard, chain(['one', 'two'], { action }), { sticky: SOFT });
    const one = await first.take();
    await yard.submit({ action: filler });
    const other = await yard.connect({ actions: [action] });
    first.succeed(one);
    const two = await other.next('runStep');
    expect(await pinOf(runId)).toBe(other.workerId);
    await other.settled(other.giveBack(two));
    expect(await pinOf(runId)).toBe(first.workerId);
  });

  it('S2 HARD waits while the worker is full, then goes there', async () => {
    const { pinned, idle, runId, filling } = await waitingForFullWorker('s2');
    pinned.succeed(filling);
    await workOn(pinned, 'two');
    expect(await ended(yard, runId)).toMatchObject({ state: RunState.SUCCEEDED, pinnedWorkerId: pinned.workerId });
    await yard.quiet(idle);
    expect(idle.unread('runStep')).toEqual([]);
  });

  it('S3 HARD resumes when a new process takes the same name', async () => {
    const { action, name, pinned, idle, runId } = await waitingForFullWorker('s3');
    await pinned.leave();
    await yard.quiet(idle);
    expect(idle.unread('runStep')).toEqual([]);
    const again = await yard.connect({ name, actions: [action] });
    expect(again.workerId).toBe(pinned.workerId);
    const two = await again.take();
    expect(two).toMatchObject({ runId, stepName: 'two' });

    // Also when the former process was not asked: what it had accepted is lost, and goes to its successor.
    const successor = await yard.connect({ name, actions: [action] });
    const retaken = await successor.take();
    expect(retaken).toMatchObject({ runId, stepName: 'two' });
    expect(retaken.assignmentId).not.toBe(two.assignmentId);
    await yard.quiet(idle);
    expect(idle.unread('runStep')).toEqual([]);
    successor.succeed(retaken);
    expect((await ended(yard, runId)).state).toBe(RunState.SUCCEEDED);
  });

  it('S4 HARD with the worker gone: TIMED_OUT at the schedule timeout, and reason and explanation name the worker', async () => {
    const { name, pinned, idle, runId } = await waitingForFullWorker('s4', { scheduleTimeout: ms(700) });
    await pinned.leave();
    const run = await ended(yard, runId);
    expect(run.state).toBe(RunState.TIMED_OUT);
    expect(statesOf(run)).toEqual({ one: 'SUCCEEDED', two: 'TIMED_OUT' });
    const error = present(run.steps[1]?.error);
    expect(error.reason).toBe('SCHEDULE_TIMEOUT');
    expect(error.message).toContain(name);
    const explanation = present(error.explanation);
    expect(explanation.verdict).toBe(Verdict.STICKY_WORKER_AWAY);
    expect(explanation.summary).toContain(name);
    const reported = present(explanation.workers.find(({ workerId }) => workerId === pinned.workerId));
    expect(reported.failed.map(({ clause }) => clause)).toContain('NOT_READY');
    const other = present(explanation.workers.find(({ workerId }) => workerId === idle.workerId));
    expect(other.failed.map(({ clause }) => clause)).toEqual(['STICKY']);
    await yard.quiet(idle);
    expect(idle.unread('runStep')).toEqual([]);
  });

  it('S5 HARD with a required label: the first step goes to a matching worker, though others are idler', async () => {
    const action = unique('s5');
    const matching = await yard.connect({ actions: [action], slots: 3, labels: { model: 'llama' } });
    await yard.submit({ action });
    await matching.take();
    const idler = await yard.connect({ actions: [action], slots: 10, labels: { model: 'bert' } });
    const one = { desiredLabels: [desired('model', 'EQUAL', 'llama')] };
    const runId = await runFlow(yard, chain(['one', 'two'], { action }, { one }), { sticky: HARD });
    await workOn(matching, 'one');
    await workOn(matching, 'two');
    expect((await ended(yard, runId)).pinnedWorkerId).toBe(matching.workerId);
    await yard.quiet(idler);
    expect(idler.unread('runStep')).toEqual([]);
  });

  it('S6 HARD with a later step the pinned worker does not match: it waits, and an upsert releases it', async () => {
    const action = unique('s6');
    const pinned = await yard.connect({ actions: [action], labels: { memory: 128 } });
    const two = { desiredLabels: [desired('memory', 'GREATER_THAN', 256)] };
    const runId = await runFlow(yard, chain(['one', 'two'], { action }, { two }), { sticky: HARD });
    const first = await pinned.take();
    const matching = await yard.connect({ actions: [action], labels: { memory: 1024 } });
    await pinned.settled(pinned.succeed(first));
    await pinned.settled(pinned.upsert({ memory: 256 }));
    await yard.quiet(pinned, matching);
    expect([...pinned.unread('runStep'), ...matching.unread('runStep')]).toEqual([]);
    await becomes(yard, runId, 'two', 'PENDING');
    pinned.upsert({ memory: 512 });
    expect(await pinned.next('runStep')).toMatchObject({ runId, stepName: 'two', labelsRevision: 3n });
    expect(matching.unread('runStep')).toEqual([]);
  });

  it('S7 two roots land together', async () => {
    const action = unique('s7');
    const workers = [
      await yard.connect({ actions: [action], slots: 2 }),
      await yard.connect({ actions: [action], slots: 2 }),
      await yard.connect({ actions: [action], slots: 2 }),
    ];
    const roots = [
      { name: 'left', action },
      { name: 'right', action },
    ];
    const { name } = await putWorkflow(yard, roots, { sticky: HARD });
    const runIds = [await startFlow(yard, name), await startFlow(yard, name), await startFlow(yard, name)];
    await yard.quiet(...workers);
    for (const runId of runIds) {
      const pinned = await pinOf(runId);
      const holder = present(workers.find(({ workerId }) => workerId === pinned));
      const held = holder.unread('runStep').filter((offer) => offer.runId === runId);
      expect(held.map(({ stepName }) => stepName).sort()).toEqual(['left', 'right']);
    }
    expect(workers.map((worker) => worker.unread('runStep').length)).toEqual([2, 2, 2]);
  });

  it('S7 the second root waits for the worker of the first, if that has no room for both', async () => {
    const action = unique('s7');
    const workers = [await yard.connect({ actions: [action] }), await yard.connect({ actions: [action] })];
    const roots = [
      { name: 'left', action },
      { name: 'right', action },
    ];
    const runId = await runFlow(yard, roots, { sticky: HARD });
    await yard.quiet(...workers);
    const holder = present(workers.find((worker) => worker.unread('runStep').length > 0));
    const other = present(workers.find((worker) => worker !== holder));
    expect([holder.unread('runStep').length, other.unread('runStep').length]).toEqual([1, 0]);
    await holder.work();
    await holder.work();
    expect((await ended(yard, runId)).state).toBe(RunState.SUCCEEDED);
    expect(other.unread('runStep')).toEqual([]);
  });

  it('S8 an unknown pin is NOT_FOUND', async () => {
    const action = unique('s8');
    for (const pinToWorkerId of ['00000000-0000-4000-8000-000000000000', 'nobody']) {
      const end = await failureOf(yard.submit({ action }, { pinToWorkerId, sticky: HARD }));
      expect(end).toMatchObject({ code: status.NOT_FOUND, reason: 'WORKER_NOT_FOUND', domain: 'yardmaster' });
    }
    expect((await yard.admin.listRuns({ action, anyState: true })).runs).toEqual([]);
  });

  it('a pin given at submission holds from the start, and is never cleared', async () => {
    const action = unique('s8');
    const better = await yard.connect({ actions: [action], slots: 10, labels: { a: 1 } });
    const { worker } = await yard.admin.registerWorker({ name: unique('worker') });
    const { workerId } = present(worker);
    const step = { action, desiredLabels: [optional('a')] };
    const runId = await yard.submit(step, { pinToWorkerId: workerId, sticky: HARD });
    await yard.quiet(better);
    expect(better.unread('runStep')).toEqual([]);
    const pinned = await yard.connect({ workerId, actions: [action] });
    await pinned.settled(pinned.giveBack(await pinned.next('runStep')));
    expect(await pinOf(runId)).toBe(workerId);
    await yard.quiet(better);
    expect(better.unread('runStep')).toEqual([]);
    // SOFT: only preferred.
    const soft = await yard.submit(step, { pinToWorkerId: workerId, sticky: SOFT });
    expect((await pinned.next('runStep')).runId).toBe(soft);
    const overflow = await yard.submit(step, { pinToWorkerId: workerId, sticky: SOFT });
    expect((await better.next('runStep')).runId).toBe(overflow);
  });

  const endings: [how: string, end: (worker: WorkerStream, offer: RunStep, name: string) => Promise<unknown>][] = [
    ['it was returned', async (worker, offer) => worker.giveBack(offer)],
    ['its worker said goodbye', (worker) => worker.leave()],
    ['its worker was cut off and the grace is over', (worker) => worker.cut()],
    ['a new process took its place', (_worker, _offer, name) => yard.connect({ name, actions: [] })],
    [
      'its process resumed without it',
      async (worker, _offer, name) => {
        await worker.cut();
        await yard.connect({ name, actions: [], resume: { sessionId: worker.welcome.sessionId } });
      },
    ],
    ['its worker was deleted', ({ workerId }) => yard.admin.deleteWorker({ workerId, force: true })],
  ];

  it.each(endings)('S9 an unaccepted first assignment unpins: %s', async (_how, end) => {
    const [action, name] = [unique('s9'), unique('worker')];
    const first = await yard.connect({ name, actions: [action] });
    const runId = await yard.submit({ action, reconnectGrace: ms(200) }, { sticky: HARD });
    const offer = await first.next('runStep');
    expect(await pinOf(runId)).toBe(first.workerId);
    await end(first, offer, name);
    await until(async () => (await pinOf(runId)) === '', 'the run is not pinned any more');
    expect(await yard.stepState(runId)).toBe('PENDING');
    const second = await yard.connect({ actions: [action] });
    const moved = await second.take();
    expect(moved).toMatchObject({ runId, attempt: 1 });
    expect(await pinOf(runId)).toBe(second.workerId);
    second.succeed(moved);
    expect(await ended(yard, runId)).toMatchObject({ state: RunState.SUCCEEDED, pinnedWorkerId: second.workerId });
  });

  it('S9 an unaccepted first assignment unpins: its step was cancelled', async () => {
    const action = unique('s9');
    const first = await yard.connect({ actions: [action] });
    const roots = [
      { name: 'left', action },
      { name: 'right', action },
    ];
    const runId = await runFlow(yard, roots, { sticky: HARD });
    const offer = await first.next('runStep');
    const second = await yard.connect({ actions: [action] });
    await yard.quiet(second);
    expect(second.unread('runStep')).toEqual([]);
    await yard.admin.cancelRun({ runId, stepName: offer.stepName });
    // The first one's slot stays reserved until it says that it has stopped: the other root goes on elsewhere.
    expect((await second.next('runStep')).stepName).not.toBe(offer.stepName);
    expect(await pinOf(runId)).toBe(second.workerId);
  });

  it('S9 one accepted assignment keeps the pin, though another one ended unaccepted', async () => {
    const action = unique('s9');
    const pinned = await yard.connect({ actions: [action], slots: 2 });
    const roots = [
      { name: 'left', action },
      { name: 'right', action },
    ];
    const runId = await runFlow(yard, roots, { sticky: HARD });
    const [left, right] = [await pinned.next('runStep'), await pinned.next('runStep')];
    pinned.accept(left);
    await pinned.settled(pinned.giveBack(right));
    expect(await pinOf(runId)).toBe(pinned.workerId);
    const other = await yard.connect({ actions: [action] });
    await yard.quiet(other);
    expect(other.unread('runStep')).toEqual([]);
  });

  it('S9 the last of several unaccepted assignments unpins, not the first', async () => {
    const action = unique('s9');
    const first = await yard.connect({ actions: [action], slots: 2 });
    const roots = [
      { name: 'left', action },
      { name: 'right', action },
    ];
    const runId = await runFlow(yard, roots, { sticky: HARD });
    const [left, right] = [await first.next('runStep'), await first.next('runStep')];
    const other = await yard.connect({ actions: [action] });
    await first.settled(first.giveBack(left));
    await yard.quiet(other);
    expect(await pinOf(runId)).toBe(first.workerId);
    expect(other.unread('runStep')).toEqual([]);
    first.giveBack(right);
    expect((await other.next('runStep')).runId).toBe(runId);
    expect(await pinOf(runId)).toBe(other.workerId);
  });

  it('retries stay pinned', async () => {
    const action = unique('retry');
    const pinned = await yard.connect({ actions: [action] });
    const runId = await yard.submit({ action, retry: { maxAttempts: 2 } }, { sticky: HARD });
    const offer = await pinned.take();
    const idler = await yard.connect({ actions: [action], slots: 10 });
    pinned.fail(offer);
    expect(await pinned.next('runStep')).toMatchObject({ runId, attempt: 2 });
    await yard.quiet(idler);
    expect(idler.unread('runStep')).toEqual([]);
  });

  it('the run says how sticky it is: its own word, else the one of its workflow', async () => {
    const action = unique('mode');
    const { name } = await putWorkflow(yard, [{ name: 'one', action }], { sticky: HARD });
    expect((await yard.run(await startFlow(yard, name))).sticky).toBe(HARD);
    expect((await yard.run(await startFlow(yard, name, { sticky: SOFT }))).sticky).toBe(SOFT);
    expect((await yard.run(await startFlow(yard, name, { sticky: Sticky.NONE }))).sticky).toBe(Sticky.NONE);
    expect((await yard.run(await yard.submit({ action }))).sticky).toBe(Sticky.NONE);
  });

  it('NONE goes to the best worker, step by step', async () => {
    const action = unique('none');
    const first = await yard.connect({ actions: [action], labels: { a: 1 } });
    const other = await yard.connect({ actions: [action], labels: { b: 1 } });
    await runFlow(yard, [
      { name: 'one', action, desiredLabels: [optional('a')] },
      { name: 'two', action, needs: ['one'], desiredLabels: [optional('b')] },
    ]);
    await workOn(first, 'one');
    await workOn(other, 'two');
  });
});

describe('the pinned worker is deleted', () => {
  it('fails the pending steps of its HARD runs at once', async () => {
    const { pinned, idle, runId, filling } = await waitingForFullWorker('deleted');
    const action = unique('offline');
    const { worker } = await yard.admin.registerWorker({ name: unique('worker') });
    const offline = present(worker).workerId;
    const given = await yard.submit({ action }, { pinToWorkerId: offline, sticky: HARD });

    const { reopenedSteps } = await yard.admin.deleteWorker({ workerId: pinned.workerId, force: true });
    expect(reopenedSteps).toBe(1);
    expect((await yard.step(filling.runId)).attempts).toHaveLength(1);
    expect(await yard.stepState(filling.runId)).toBe('PENDING');
    const run = await yard.run(runId);
    expect(run.state).toBe(RunState.FAILED);
    expect(statesOf(run)).toEqual({ one: 'SUCCEEDED', two: 'FAILED' });
    expect(run.steps[1]?.error).toMatchObject({ reason: 'STICKY_WORKER_DELETED' });
    expect(run.error).toMatchObject({ reason: 'STICKY_WORKER_DELETED' });
    await yard.quiet(idle);
    expect(idle.unread('runStep')).toEqual([]);

    expect(await yard.runState(given)).toBe('PENDING');
    await yard.admin.deleteWorker({ workerId: offline });
    expect(await yard.runState(given)).toBe('FAILED');
    expect((await yard.step(given)).error).toMatchObject({ reason: 'STICKY_WORKER_DELETED' });
    const gone = await failureOf(yard.submit({ action }, { pinToWorkerId: offline, sticky: HARD }));
    expect(gone).toMatchObject({ code: status.NOT_FOUND, reason: 'WORKER_NOT_FOUND' });
  });

  it('what follows a failed one is skipped; SOFT runs go elsewhere', async () => {
    const [action, other] = [unique('deleted'), unique('deleted')];
    const pinned = await yard.connect({ actions: [action] });
    const elsewhere = { two: { action: other } };
    const hard = await runFlow(yard, chain(['one', 'two', 'three'], { action }, elsewhere), { sticky: HARD });
    const soft = await runFlow(yard, chain(['one', 'two'], { action }, elsewhere), { sticky: SOFT });
    await workOn(pinned, 'one');
    await workOn(pinned, 'one');
    await becomes(yard, hard, 'two', 'PENDING');
    await yard.admin.deleteWorker({ workerId: pinned.workerId });
    const two = await stepNamed(yard, hard, 'two');
    const run = await yard.run(hard);
    expect(statesOf(run)).toEqual({ one: 'SUCCEEDED', two: 'FAILED', three: 'SKIPPED' });
    expect(run.steps[2]?.error).toMatchObject({ reason: 'CAUSED_BY', causedById: two.stepId });
    const second = await yard.connect({ actions: [other] });
    expect(await second.next('runStep')).toMatchObject({ runId: soft, stepName: 'two' });
  });

  it('fails a HARD step that was running on it, and what is blocked behind it', async () => {
    const action = unique('deleted');
    const pinned = await yard.connect({ actions: [action] });
    const forEver = { action, scheduleTimeout: ms(0) };
    const runId = await runFlow(yard, chain(['one', 'two'], forEver), { sticky: HARD });
    await pinned.take();
    await pinned.settled(pinned.sequence);
    const idle = await yard.connect({ actions: [action] });
    await yard.admin.deleteWorker({ workerId: pinned.workerId, force: true });
    const run = await ended(yard, runId);
    expect(run).toMatchObject({ state: RunState.FAILED, error: { reason: 'STICKY_WORKER_DELETED' } });
    expect(statesOf(run)).toEqual({ one: 'FAILED', two: 'SKIPPED' });
    await yard.quiet(idle);
    expect(idle.unread('runStep')).toEqual([]);
  });

  it('a HARD step that failed on it and waits out its backoff is not left waiting for ever', async () => {
    const action = unique('deleted');
    const pinned = await yard.connect({ actions: [action] });
    const retry = { maxAttempts: 2, initialBackoff: ms(200) };
    const runId = await yard.submit({ action, retry, scheduleTimeout: ms(0) }, { sticky: HARD });
    await failNext(pinned);
    await yard.admin.deleteWorker({ workerId: pinned.workerId });
    const run = await ended(yard, runId);
    expect(run.state).toBe(RunState.FAILED);
    expect(run.error).toMatchObject({ reason: 'STICKY_WORKER_DELETED' });
  });
});

describe('an assignment that is not accepted in time', () => {
  const impatient = useYard({ times: { acceptTimeoutMs: 700 } });

  it('S9 unpins', async () => {
    const action = unique('s9');
    const first = await impatient.connect({ actions: [action] });
    const runId = await impatient.submit({ action }, { sticky: HARD });
    const offer = await first.next('runStep');
    expect(await impatient.run(runId)).toMatchObject({ pinnedWorkerId: first.workerId });
    const second = await impatient.connect({ actions: [action] });
    expect((await first.next('cancelStep')).assignmentId).toBe(offer.assignmentId);
    expect(await second.take()).toMatchObject({ runId, attempt: 1 });
    expect(await impatient.run(runId)).toMatchObject({ pinnedWorkerId: second.workerId });
  });
});
