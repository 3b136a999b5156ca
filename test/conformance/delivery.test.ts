/** D: what is delivered is done once, whatever happens to the stream between. */
import { create } from '@bufbuild/protobuf';
import { status } from '@grpc/grpc-js';
import { afterEach, describe, expect, it } from 'vitest';
import { CancelMode } from '../../gen/yardmaster/v1/admin_service_pb.ts';
import { RunState } from '../../gen/yardmaster/v1/run_pb.ts';
import { WorkerState } from '../../gen/yardmaster/v1/worker_pb.ts';
import { EvictionReason, GoodbyeSchema, ResumeSchema } from '../../gen/yardmaster/v1/worker_service_pb.ts';
import { createWorker, type Worker, type WorkerEvent, type WorkerOptions } from '../../src/worker/index.ts';
import { type StepInit, unique, until, useYard } from '../support/conformance.ts';
import { failureOf } from '../support/conformance_calls.ts';
import type { HelloInit, WorkerStream } from '../support/conformance_stream.ts';

const yard = useYard();
// For what has to be over before anything happens.
const hasty = useYard({ times: { reconnectGraceMs: 200, missedAcceptPauseMsMax: 100 } });
// Forgets what ended at once, so that a late fact finds its answer in the store only.
const forgetful = useYard({ times: { endedInMemoryMs: 0 } });

const terse = useYard({ limits: { logLinesPerSecondMax: 2 } });

const sdkWorkers: Worker[] = [];
afterEach(async () => {
  await Promise.all(sdkWorkers.splice(0).map((worker) => worker.stop({ graceMs: 0 })));
});

function sdk(options: WorkerOptions): { worker: Worker; events: WorkerEvent[] } {
  const events: WorkerEvent[] = [];
  const worker = createWorker({ onEvent: (event) => events.push(event), ...options });
  sdkWorkers.push(worker);
  return { worker, events };
}

type Yard = typeof yard;

async function holding(on: Yard = yard, step: Omit<StepInit, 'action' | '$typeName'> = {}) {
  const action = unique('delivery');
  const worker = await on.connect({ actions: [action] });
  const runId = await on.submit({ action, ...step });
  const offer = await worker.take();
  await worker.settled(worker.sequence);
  return { action, worker, runId, offer, assignmentId: offer.assignmentId };
}

/** The same process on a new stream, naming what it holds. */
async function resume(on: Yard, worker: WorkerStream, heldAssignmentIds: string[], hello: HelloInit = {}) {
  const { workerId, sessionId } = worker.welcome;
  return on.connect({ ...hello, workerId, resume: create(ResumeSchema, { sessionId, heldAssignmentIds }) });
}

async function attempts(on: Yard, runId: string) {
  return (await on.step(runId)).attempts.map(({ number, outcome }) => `${number} ${outcome}`);
}

const STALE = { code: status.FAILED_PRECONDITION, reason: 'STALE_ASSIGNMENT' };

describe('D1 the same completion twice', () => {
  it('is acknowledged, and changes nothing; another one is refused', async () => {
    const { worker, runId, offer, assignmentId } = await holding();
    await worker.settled(worker.succeed(offer, 'first'));
    const { revision, outputJson } = await yard.run(runId);
    await worker.settled(worker.succeed(offer, 'second'));
    expect(worker.unread('refused')).toEqual([]);
    const failed = worker.fail(offer);
    expect(await worker.next('refused')).toMatchObject({ sequence: BigInt(failed), ...STALE });
    expect(await yard.run(runId)).toMatchObject({ revision, outputJson, state: RunState.SUCCEEDED });
    expect(outputJson).toBe('"first"');
    expect((await yard.worker(worker.workerId)).completedCount).toBe(1n);
    expect(await attempts(yard, runId)).toEqual(['1 SUCCEEDED']);
    expect(assignmentId).not.toBe('');
  });

  it('also on the next stream, when its acknowledgement was lost', async () => {
    const { action, worker, runId, offer, assignmentId } = await holding();
    await worker.settled(worker.succeed(offer, 'kept'));
    await worker.cut();
    const again = await resume(yard, worker, [assignmentId], { actions: [action] });
    // It has ended: there is nothing to go on with.
    expect(again.welcome).toMatchObject({ keptAssignmentIds: [], droppedAssignmentIds: [assignmentId] });
    await again.settled(again.succeed(offer, 'kept'));
    expect(again.unread('refused')).toEqual([]);
    expect(await attempts(yard, runId)).toEqual(['1 SUCCEEDED']);
  });

  it.each(['succeed', 'fail', 'giveBack'] as const)('%s: also when it has left memory', async (kind) => {
    const { worker, runId, offer } = await holding(forgetful, { retry: { maxAttempts: 1 } });
    await worker.settled(worker[kind](offer));
    const before = await forgetful.run(runId);
    for (let times = 0; times < 3; times++) {
      await worker.settled(worker[kind](offer));
      expect(worker.unread('refused')).toEqual([]);
    }
    const other = kind === 'succeed' ? worker.fail(offer) : worker.succeed(offer);
    expect(await worker.next('refused')).toMatchObject({ sequence: BigInt(other), ...STALE });
    if (kind !== 'giveBack') expect(await forgetful.run(runId)).toEqual(before);
  });

  it('also after a restart of the server', async () => {
    const { action, worker, runId, offer, assignmentId } = await holding(forgetful);
    await worker.settled(worker.succeed(offer, 'kept'));
    const before = await forgetful.run(runId);
    await forgetful.restart();
    const again = await resume(forgetful, worker, [assignmentId], { actions: [action] });
    await again.settled(again.succeed(offer, 'kept'));
    expect(again.unread('refused')).toEqual([]);
    const failed = again.fail(offer);
    expect(await again.next('refused')).toMatchObject({ sequence: BigInt(failed), ...STALE });
    expect(await forgetful.run(runId)).toEqual(before);
    // Somebody else's word about it counts for nothing.
    const stranger = await forgetful.connect({ actions: [action] });
    const claimed = stranger.succeed(offer, 'mine');
    expect(await stranger.next('refused')).toMatchObject({ sequence: BigInt(claimed), ...STALE });
  });
});

describe('D2 a completion after the loss', () => {
  it('is refused STALE_ASSIGNMENT, logs included, and the new holder is unharmed', async () => {
    const { action, worker, runId, offer } = await holding(hasty);
    await worker.cut();
    const next = await hasty.connect({ actions: [action] });
    const second = await next.take();
    await next.settled(next.logLines(second, 1, [{ text: 'of the new holder' }]));

    const late = await resume(hasty, worker, [offer.assignmentId], { actions: [action] });
    expect(late.welcome.droppedAssignmentIds).toEqual([offer.assignmentId]);
    // In whatever order they were looked up.
    for (const sequence of [late.logLines(offer, 1, [{ text: 'late' }]), late.succeed(offer, 'late'), late.fail(offer)])
      expect(await late.next('refused', (refused) => refused.sequence === BigInt(sequence))).toMatchObject(STALE);
    expect(await hasty.runState(runId)).toBe('RUNNING');
    expect((await hasty.worker(next.workerId)).assignments).toMatchObject([{ assignmentId: second.assignmentId }]);
    await next.settled(next.succeed(second, 'good'));
    expect(await hasty.run(runId)).toMatchObject({ outputJson: '"good"' });
    expect(await attempts(hasty, runId)).toEqual(['1 WORKER_LOST', '2 SUCCEEDED']);
    const { lines } = await hasty.admin.getStepLogs({ runId });
    expect(lines.map(({ line }) => line?.text)).toEqual(['of the new holder']);
  });
});

describe('D3 the stream is cut, and back within the grace', () => {
  it('the work goes on, its logs are contiguous, and nobody executes it a second time', async () => {
    const { action, worker, runId, offer, assignmentId } = await holding();
    const idle = await yard.connect({ actions: [action] });
    const lines = (from: number, to: number) =>
      Array.from({ length: to - from + 1 }, (_, index) => ({ text: `line ${from + index}` }));
    await worker.settled(worker.logLines(offer, 1, lines(1, 3)));
    // Sent, and nobody knows whether they arrived.
    worker.logLines(offer, 4, lines(4, 6));
    await worker.cut();
    const again = await resume(yard, worker, [assignmentId], { actions: [action] });
    expect(again.welcome).toMatchObject({
      sessionId: worker.welcome.sessionId,
      keptAssignmentIds: [assignmentId],
      droppedAssignmentIds: [],
    });
    again.logLines(offer, 4, lines(4, 6));
    again.logLines(offer, 7, lines(7, 9));
    await again.settled(again.succeed(offer, 'once'));
    expect(again.unread('refused')).toEqual([]);
    await yard.quiet(again, idle);
    expect([...again.unread('runStep'), ...idle.unread('runStep')]).toEqual([]);
    expect(await attempts(yard, runId)).toEqual(['1 SUCCEEDED']);
    const logs = await yard.admin.getStepLogs({ runId });
    expect(logs.lines.map(({ number, line }) => [number, line?.text])).toEqual(
      lines(1, 9).map(({ text }, index) => [BigInt(index + 1), text]),
    );
  });

  it('no end is taken before the lines that came before it: they could not come again', async () => {
    const { worker, runId, offer } = await holding();
    const sql = yard.database.connect({ max: 1 });
    let success = 0;
    await sql.begin(async (held) => {
      // Lines cannot be written now; everything else can.
      await held`LOCK TABLE step_logs IN SHARE MODE`;
      worker.logLines(offer, 1, [{ text: 'a line' }]);
      success = worker.succeed(offer, 'with its line');
      // Once it has come, and once it would be committed.
      await worker.heartbeat();
      await yard.quiet(worker);
      expect(await yard.stepState(runId)).toBe('RUNNING');
      expect(worker.acknowledged).toBeLessThan(success);
    });
    await sql.end();
    await worker.settled(success);
    expect(worker.unread('refused')).toEqual([]);
    expect(await yard.stepState(runId)).toBe('SUCCEEDED');
    expect((await yard.admin.getStepLogs({ runId })).lines.map(({ line }) => line?.text)).toEqual(['a line']);
  });

  it('a result behind lines that have to come again comes again after them', async () => {
    const { worker, runId, offer } = await holding(terse);
    const lines = [{ text: 'one' }, { text: 'two' }];
    await worker.settled(worker.logLines(offer, 1, lines));
    worker.logLines(offer, 3, lines);
    worker.succeed(offer, 'too early');
    const refused = [await worker.next('refused'), await worker.next('refused')];
    expect(refused.map(({ reason, retryAfter }) => [reason, retryAfter !== undefined])).toEqual([
      ['RATE_LIMITED', true],
      ['RATE_LIMITED', true],
    ]);
    expect(await terse.stepState(runId)).toBe('RUNNING');
    await until(async () => {
      const sequence = worker.logLines(offer, 3, lines);
      await worker.settled(sequence);
      return !worker.unread('refused').some((refusal) => refusal.sequence === BigInt(sequence));
    }, 'its lines are taken');
    await worker.settled(worker.succeed(offer, 'in time'));
    expect(await terse.run(runId)).toMatchObject({ outputJson: '"in time"' });
    expect((await terse.admin.getStepLogs({ runId })).lines).toHaveLength(4);
  });

  it('a goodbye waits for the result that waits for its lines', async () => {
    const { worker, runId, offer } = await holding();
    const sql = yard.database.connect({ max: 1 });
    await sql.begin(async (held) => {
      await held`LOCK TABLE step_logs IN SHARE MODE`;
      worker.logLines(offer, 1, [{ text: 'a line' }]);
      worker.succeed(offer, 'the last');
      await worker.heartbeat();
      worker.send({ case: 'goodbye', value: create(GoodbyeSchema, {}) });
      await yard.workers.getQueueDepth({ actions: [] });
    });
    await sql.end();
    await worker.ended;
    expect(await attempts(yard, runId)).toEqual(['1 SUCCEEDED']);
  });

  it('what was offered and never accepted, and is not named, goes back free of charge', async () => {
    const action = unique('unaccepted');
    const worker = await yard.connect({ actions: [action] });
    const runId = await yard.submit({ action, retry: { maxWorkerLosses: 0 } });
    await worker.next('runStep');
    await worker.cut();
    const again = await resume(yard, worker, [], { actions: [action] });
    await again.work('done');
    expect(await yard.run(runId)).toMatchObject({ outputJson: '"done"' });
    expect(await attempts(yard, runId)).toEqual(['1 SESSION_DROPPED', '1 SUCCEEDED']);
  });

  it('what was accepted and is not named is lost at once', async () => {
    const { action, worker, runId } = await holding();
    await worker.cut();
    const again = await resume(yard, worker, [], { actions: [action] });
    await again.work('second');
    expect(await attempts(yard, runId)).toEqual(['1 SESSION_DROPPED', '2 SUCCEEDED']);
  });
});

describe('D4 after the grace', () => {
  it('the step is reassigned, and the loss is counted apart from its attempts', async () => {
    const { action, worker, runId } = await holding(hasty, { retry: { maxAttempts: 1 } });
    const next = await hasty.connect({ actions: [action] });
    await worker.cut();
    await next.work('second');
    expect(await attempts(hasty, runId)).toEqual(['1 WORKER_LOST', '2 SUCCEEDED']);
    expect(await hasty.worker(worker.workerId)).toMatchObject({ state: WorkerState.CRASHED, slotsUsed: 0 });
  });

  it('a step says itself how long it waits', async () => {
    const { action, worker, runId } = await holding(yard, { reconnectGrace: { nanos: 1_000_000 } });
    const next = await yard.connect({ actions: [action] });
    await worker.cut();
    await next.work();
    expect(await attempts(yard, runId)).toEqual(['1 WORKER_LOST', '2 SUCCEEDED']);
  });
});

describe('D5 goodbye', () => {
  it('re-opens what the worker holds at once, free of charge', async () => {
    const { action, worker, runId } = await holding(yard, { retry: { maxWorkerLosses: 0 } });
    const next = await yard.connect({ actions: [action] });
    worker.send({ case: 'goodbye', value: {} });
    await next.work();
    expect(await attempts(yard, runId)).toEqual(['1 WORKER_GOODBYE', '1 SUCCEEDED']);
  });
});

describe('D6 a new process under the same name', () => {
  it('evicts the first, whose accepted work is lost at once', async () => {
    const { action, worker, runId, offer } = await holding();
    const { name } = worker.welcome;
    const next = await yard.connect({ name, actions: [action] });
    expect(next.workerId).toBe(worker.workerId);
    expect(next.welcome.sessionId).not.toBe(worker.welcome.sessionId);
    expect(await worker.next('evicted')).toMatchObject({ reason: EvictionReason.SUPERSEDED });
    expect(await worker.ended).toMatchObject({ code: status.OK });
    const second = await next.take();
    const stale = next.succeed(offer);
    expect(await next.next('refused')).toMatchObject({ sequence: BigInt(stale), ...STALE });
    await next.settled(next.succeed(second, 'new'));
    expect(await attempts(yard, runId)).toEqual(['1 SUPERSEDED', '2 SUCCEEDED']);
  });

  it('the evicted SDK says so and does not come back', async () => {
    const name = unique('twice');
    const { worker, events } = sdk({ address: yard.address, name, actions: {} });
    await worker.start();
    const next = await yard.connect({ name });
    expect(await worker.closed).toMatchObject({ kind: 'evicted', reason: 'SUPERSEDED' });
    expect(events.at(-1)).toMatchObject({ type: 'evicted', reason: 'SUPERSEDED' });
    await expect(worker.start()).resolves.toBeUndefined();
    await yard.quiet(next);
    expect(next.unread('evicted')).toEqual([]);
    expect(next.isEnded).toBe(false);
  });

  it('the same process on a newer stream is no other process: the SDK goes on', async () => {
    const name = unique('again');
    const { worker, events } = sdk({ address: yard.address, name, actions: {} });
    await worker.start();
    // The server asks for a new stream, and both are open for a while.
    await yard.restart();
    await until(async () => events.filter(({ type }) => type === 'connected').length === 2, 'it came back');
    expect(events.filter(({ type }) => type === 'evicted')).toEqual([]);
  });
});

describe('D10 max_worker_losses', () => {
  it('one more than allowed: CRASHED', async () => {
    const action = unique('losses');
    const runId = await hasty.submit({ action, retry: { maxWorkerLosses: 1 } });
    for (const outcome of ['first', 'second']) {
      const worker = await hasty.connect({ name: unique(outcome), actions: [action] });
      await worker.take();
      await worker.settled(worker.sequence);
      await worker.cut();
    }
    await until(async () => (await hasty.runState(runId)) === 'CRASHED', 'the run crashed');
    expect(await attempts(hasty, runId)).toEqual(['1 WORKER_LOST', '2 WORKER_LOST']);
    expect(await hasty.stepState(runId)).toBe('CRASHED');
  });

  it('a forced delete is no loss of the step', async () => {
    const { action, worker, runId } = await holding(yard, { retry: { maxWorkerLosses: 0 } });
    await yard.admin.deleteWorker({ workerId: worker.workerId, force: true });
    expect(await worker.next('evicted')).toMatchObject({ reason: EvictionReason.DELETED });
    const next = await yard.connect({ actions: [action] });
    await next.work();
    expect(await attempts(yard, runId)).toEqual(['1 WORKER_DELETED', '1 SUCCEEDED']);
  });
});

describe('D11 a cancel that races with the assignment', () => {
  it('exactly one of them wins, every time', async () => {
    const action = unique('race');
    const runIds = await yard.submitMany(60, { action });
    const cancels = runIds.map(async (runId, index) => {
      // Spread over the time in which the worker arrives.
      for (let turns = 0; turns < index; turns++) await new Promise<void>((resolve) => setImmediate(resolve));
      const cancel = yard.admin.cancelRun({ runId, mode: CancelMode.IF_PENDING });
      return cancel.then(
        () => ({ runId, cancelled: true, end: undefined }),
        async (error) => ({ runId, cancelled: false, end: await failureOf(Promise.reject(error)) }),
      );
    });
    const worker = await yard.connect({ actions: [action], slots: runIds.length });
    const outcomes = await Promise.all(cancels);
    await yard.quiet(worker);
    const offered = new Set(worker.unread('runStep').map(({ runId }) => runId));
    for (const { runId, cancelled, end } of outcomes) {
      expect(offered.has(runId)).toBe(!cancelled);
      if (!cancelled) expect(end).toMatchObject({ code: status.FAILED_PRECONDITION, reason: 'NOT_PENDING' });
      expect(await yard.stepState(runId)).toBe(cancelled ? 'CANCELLED' : 'ASSIGNED');
    }
  });
});

describe('D12 a result that waited through the cut', () => {
  it('is taken, and the step is not executed again', async () => {
    const { action, worker, runId, offer, assignmentId } = await holding();
    const idle = await yard.connect({ actions: [action] });
    await worker.cut();
    const again = await resume(yard, worker, [assignmentId], { actions: [action] });
    await again.settled(again.succeed(offer, 'waited'));
    await yard.quiet(idle, again);
    expect(idle.unread('runStep')).toEqual([]);
    expect(await yard.run(runId)).toMatchObject({ outputJson: '"waited"' });
    expect(await attempts(yard, runId)).toEqual(['1 SUCCEEDED']);
  });

  it('the SDK: a handler that ends while the server is down', async () => {
    const action = unique('outbox');
    let finish: (value: string) => void = () => {};
    let runs = 0;
    const { worker, events } = sdk({
      address: yard.address,
      name: unique('outbox'),
      actions: {
        [action]: () => {
          runs += 1;
          return new Promise<string>((resolve) => {
            finish = resolve;
          });
        },
      },
    });
    await worker.start();
    const runId = await yard.submit({ action });
    await until(async () => (await yard.stepState(runId)) === 'RUNNING', 'it runs');
    const restarted = yard.restart();
    await until(async () => events.some(({ type }) => type === 'disconnected'), 'the stream is gone');
    finish('while it was down');
    await restarted;
    await until(async () => (await yard.runState(runId)) === 'SUCCEEDED', 'the result arrived');
    expect(await yard.run(runId)).toMatchObject({ outputJson: '"while it was down"' });
    expect(runs).toBe(1);
  });
});

describe('D13 a refused result', () => {
  const oversize = 'x'.repeat(1024 * 1024);

  it('leaves the step running; the step_failed that follows ends it as RESULT_REFUSED', async () => {
    const { worker, runId, offer, assignmentId } = await holding();
    const sequence = worker.succeed(offer, oversize);
    expect(await worker.next('refused')).toMatchObject({
      sequence: BigInt(sequence),
      code: status.RESOURCE_EXHAUSTED,
      reason: 'PAYLOAD_TOO_LARGE',
    });
    await worker.settled(sequence);
    expect(await yard.stepState(runId)).toBe('RUNNING');
    const error = { reason: 'RESULT_REFUSED', message: 'too large' };
    await worker.settled(worker.send({ case: 'stepFailed', value: { assignmentId, error } }));
    expect(await yard.run(runId)).toMatchObject({ state: RunState.FAILED, error: { reason: 'RESULT_REFUSED' } });
  });

  it('the SDK does so by itself', async () => {
    const action = unique('oversize');
    await sdk({ address: yard.address, name: unique('large'), actions: { [action]: () => oversize } }).worker.start();
    const runId = await yard.submit({ action });
    await until(async () => (await yard.runState(runId)) === 'FAILED', 'the run failed');
    expect((await yard.run(runId)).error).toMatchObject({ reason: 'RESULT_REFUSED' });
  });
});

describe('D14 a handler that ignores its cancel', () => {
  async function ignoring(on: Yard) {
    const held = await holding(on, { executionTimeout: { nanos: 1_000_000 } });
    expect(await held.worker.next('cancelStep')).toMatchObject({ assignmentId: held.assignmentId });
    expect(await on.runState(held.runId)).toBe('TIMED_OUT');
    return { ...held, nextRunId: await on.submit({ action: held.action }) };
  }

  async function expectReserved(on: Yard, worker: WorkerStream): Promise<void> {
    await on.quiet(worker);
    expect(worker.unread('runStep')).toEqual([]);
    expect(await on.worker(worker.workerId)).toMatchObject({ slots: 1, slotsUsed: 1 });
  }

  it('keeps its slot until it ends', async () => {
    const { worker, offer, nextRunId } = await ignoring(yard);
    await expectReserved(yard, worker);
    // Its result comes too late, and yet says that the handler has ended.
    const sequence = worker.succeed(offer);
    expect(await worker.next('refused')).toMatchObject({ sequence: BigInt(sequence), ...STALE });
    expect(await worker.work()).toMatchObject({ runId: nextRunId });
  });

  it('also over a new stream, and over a restart of the server', async () => {
    const { action, worker, assignmentId, nextRunId } = await ignoring(yard);
    await worker.cut();
    const second = await resume(yard, worker, [assignmentId], { actions: [action] });
    await expectReserved(yard, second);
    await yard.restart();
    const third = await resume(yard, second, [assignmentId], { actions: [action] });
    await expectReserved(yard, third);
    third.send({ case: 'stepCancelled', value: { assignmentId } });
    expect(await third.work()).toMatchObject({ runId: nextRunId });
  });

  it('a new process has none of it', async () => {
    const { action, worker, nextRunId } = await ignoring(yard);
    await yard.restart();
    const next = await yard.connect({ name: worker.welcome.name, actions: [action] });
    expect(await next.work()).toMatchObject({ runId: nextRunId });
  });
});
