import { status } from '@grpc/grpc-js';
import { describe, expect, it } from 'vitest';
import { CancelMode } from '../../gen/yardmaster/v1/admin_service_pb.ts';
import { RunState } from '../../gen/yardmaster/v1/run_pb.ts';
import { WorkerState } from '../../gen/yardmaster/v1/worker_pb.ts';
import { EvictionReason } from '../../gen/yardmaster/v1/worker_service_pb.ts';
import { unique, until, useYard } from '../support/conformance.ts';
import { failureOf } from '../support/conformance_calls.ts';

const yard = useYard({ times: { reofferPauseMs: 100 } });
// Forgets what ended at once: what is asked about it is then answered from the store.
const forgetful = useYard({ times: { endedInMemoryMs: 0 } });

async function holding() {
  const action = unique('work');
  const worker = await yard.connect({ actions: [action] });
  const runId = await yard.submit({ action });
  const offer = await worker.take();
  await worker.settled(worker.sequence);
  return { action, worker, runId, offer };
}

describe('cancelling', () => {
  it('IF_PENDING cancels what nobody has had, and nothing else', async () => {
    const { action, worker, runId, offer } = await holding();
    const waiting = await yard.submit({ action });
    const { run } = await yard.admin.cancelRun({ runId: waiting, mode: CancelMode.IF_PENDING, reason: 'not needed' });
    expect(run?.error).toMatchObject({ reason: 'CANCELLED', message: 'not needed' });
    expect(await yard.runState(waiting)).toBe('CANCELLED');
    expect(await yard.pending(action)).toBe(0);

    const end = await failureOf(yard.admin.cancelRun({ runId, mode: CancelMode.IF_PENDING }));
    expect(end).toMatchObject({
      code: status.FAILED_PRECONDITION,
      reason: 'NOT_PENDING',
      metadata: { state: 'RUNNING' },
    });
    await yard.quiet(worker);
    expect(worker.unread('cancelStep')).toEqual([]);

    // Also what was assigned once, and has gone back.
    await worker.settled(worker.fail(offer));
    expect(await yard.runState(runId)).toBe('FAILED');
  });

  it('IF_PENDING is refused for an assignment that nobody has accepted yet', async () => {
    const action = unique('work');
    const worker = await yard.connect({ actions: [action] });
    const runId = await yard.submit({ action });
    await worker.next('runStep');
    const end = await failureOf(yard.admin.cancelRun({ runId, mode: CancelMode.IF_PENDING }));
    expect(end).toMatchObject({ reason: 'NOT_PENDING', metadata: { state: 'ASSIGNED' } });
  });

  it('ANY tells the running handler, and the run ends when it has stopped', async () => {
    const { action, worker, runId, offer } = await holding();
    await yard.admin.cancelRun({ runId, mode: CancelMode.ANY, reason: 'stop it' });
    expect(await worker.next('cancelStep')).toMatchObject({ assignmentId: offer.assignmentId, reason: 'stop it' });
    expect(await yard.stepState(runId)).toBe('RUNNING');
    // Its place is taken until it says that it has stopped.
    const next = await yard.submit({ action });
    await yard.quiet(worker);
    expect(worker.unread('runStep')).toEqual([]);
    worker.send({ case: 'stepCancelled', value: { assignmentId: offer.assignmentId } });
    expect((await worker.next('runStep')).runId).toBe(next);
    expect(await yard.runState(runId)).toBe('CANCELLED');
    expect((await yard.step(runId)).error).toMatchObject({ reason: 'CANCELLED', message: 'stop it' });
  });

  it('ANY withdraws what was not accepted; the worker that accepts too late is refused', async () => {
    const action = unique('work');
    const worker = await yard.connect({ actions: [action] });
    const runId = await yard.submit({ action });
    const offer = await worker.next('runStep');
    await yard.admin.cancelRun({ runId });
    expect(await yard.runState(runId)).toBe('CANCELLED');
    const sequence = worker.accept(offer);
    expect(await worker.next('refused')).toMatchObject({ sequence: BigInt(sequence), reason: 'STALE_ASSIGNMENT' });
    expect(worker.unread('cancelStep')).toHaveLength(1);
  });

  it('an ended run cannot be cancelled, in memory or out of it; an unknown one is NOT_FOUND', async () => {
    for (const [what, place] of [
      ['in memory', yard],
      ['out of it', forgetful],
    ] as const) {
      const action = unique('work');
      const worker = await place.connect({ actions: [action] });
      const runId = await place.submit({ action });
      await worker.work('done');
      const end = await failureOf(place.admin.cancelRun({ runId }));
      expect(end, what).toMatchObject({
        code: status.FAILED_PRECONDITION,
        reason: 'STEP_STATE',
        metadata: { state: 'SUCCEEDED' },
      });
      expect(await place.run(runId)).toMatchObject({ outputJson: '"done"' });
      // What is cancelled already is as it was asked to be.
      const cancelled = await place.submit({ action: unique('work') });
      await place.admin.cancelRun({ runId: cancelled });
      expect((await place.admin.cancelRun({ runId: cancelled })).run, what).toMatchObject({
        state: RunState.CANCELLED,
      });
    }
    for (const runId of ['nothing', '00000000-0000-4000-8000-000000000000']) {
      expect(await failureOf(yard.admin.cancelRun({ runId }))).toMatchObject({
        code: status.NOT_FOUND,
        reason: 'RUN_NOT_FOUND',
      });
      expect(await failureOf(yard.admin.getRun({ runId }))).toMatchObject({
        code: status.NOT_FOUND,
        reason: 'RUN_NOT_FOUND',
      });
    }
  });
});

describe('leaving', () => {
  it('goodbye gives back at once what the worker holds, without using an attempt, and ends the stream', async () => {
    const { action, worker, runId, offer } = await holding();
    const other = await yard.connect({ actions: [action] });
    const saidAt = performance.now();
    worker.send({ case: 'goodbye', value: { reason: 'done for today' } });
    const moved = await other.take();
    expect(moved).toMatchObject({ runId, attempt: 1 });
    // What follows a goodbye is discarded, and the server ends the stream itself.
    worker.succeed(offer, 'too late');
    const acknowledged = worker.acknowledged;
    expect(await worker.ended).toMatchObject({ code: status.OK });
    expect(performance.now() - saidAt).toBeLessThan(1_000);
    expect([worker.acknowledged, worker.unread('refused')]).toEqual([acknowledged, []]);
    expect((await yard.worker(worker.workerId)).state).toBe(WorkerState.OFFLINE);
    await other.settled(other.succeed(moved, 'mine'));
    expect(await yard.run(runId)).toMatchObject({ outputJson: '"mine"' });
  });

  it.each(['cut', 'halfClose'] as const)(
    'a %s stream is no goodbye: what it held waits for its process',
    async (how) => {
      const { action, worker, runId, offer } = await holding();
      const other = await yard.connect({ actions: [action] });
      await worker[how]();
      const state = async () => (await yard.worker(worker.workerId)).state;
      await until(async () => (await state()) === WorkerState.DISCONNECTED, 'the server sees the end');
      await yard.quiet(other);
      expect(other.unread('runStep')).toEqual([]);
      const resume = { sessionId: worker.welcome.sessionId, heldAssignmentIds: [offer.assignmentId, 'never heard of'] };
      const back = await yard.connect({ workerId: worker.workerId, actions: [action], resume });
      expect(back.welcome).toMatchObject({
        keptAssignmentIds: [offer.assignmentId],
        droppedAssignmentIds: ['never heard of'],
      });
      await back.settled(back.succeed(offer, 'kept'));
      expect(await yard.run(runId)).toMatchObject({ outputJson: '"kept"' });
    },
  );

  it('a draining worker finishes, gets nothing new, and is resumed', async () => {
    const { action, worker, runId, offer } = await holding();
    const { worker: drained } = await yard.admin.drainWorker({ workerId: worker.workerId, reason: 'update' });
    expect(drained).toMatchObject({ draining: true, state: WorkerState.BUSY });
    expect(await worker.next('drain')).toMatchObject({ reason: 'update' });
    const waiting = await yard.submit({ action });
    await worker.settled(worker.succeed(offer));
    await yard.quiet(worker);
    expect(worker.unread('runStep')).toEqual([]);
    expect(await yard.runState(runId)).toBe('SUCCEEDED');

    // It lasts beyond the process.
    const { name } = worker.welcome;
    await worker.leave();
    const again = await yard.connect({ name, actions: [action] });
    await yard.quiet(again);
    expect(again.unread('runStep')).toEqual([]);
    await yard.admin.resumeWorker({ workerId: again.workerId });
    expect((await again.next('runStep')).runId).toBe(waiting);
    const unknown = failureOf(yard.admin.drainWorker({ workerId: 'nobody' }));
    expect(await unknown).toMatchObject({ code: status.NOT_FOUND, reason: 'WORKER_NOT_FOUND' });
  });

  it('a worker that holds work is deleted only by force, which re-opens its steps', async () => {
    const { action, worker, runId } = await holding();
    const { workerId, name } = worker.welcome;
    const end = await failureOf(yard.admin.deleteWorker({ workerId }));
    expect(end).toMatchObject({ code: status.FAILED_PRECONDITION, reason: 'WORKER_BUSY' });
    await worker.heartbeat();

    expect(await yard.admin.deleteWorker({ workerId, force: true })).toMatchObject({ reopenedSteps: 1 });
    expect(await worker.next('evicted')).toMatchObject({ reason: EvictionReason.DELETED });
    await worker.ended;
    expect(await yard.stepState(runId)).toBe('PENDING');
    expect(await failureOf(yard.admin.getWorker({ workerId }))).toMatchObject({ code: status.NOT_FOUND });
    // Its name is free again: another worker, with tags of its own.
    const heir = await yard.connect({ name, tags: ['new'], actions: [action] });
    expect(heir.workerId).not.toBe(workerId);
    expect(await heir.next('runStep')).toMatchObject({ runId });
  });

  it('an idle worker is deleted without force', async () => {
    const worker = await yard.connect();
    expect(await yard.admin.deleteWorker({ workerId: worker.workerId })).toMatchObject({ reopenedSteps: 0 });
    expect(await worker.next('evicted')).toMatchObject({ reason: EvictionReason.DELETED });
  });
});

describe('giving back', () => {
  it('a returned step is offered to its only worker again after a pause', async () => {
    const action = unique('work');
    const worker = await yard.connect({ actions: [action] });
    const runId = await yard.submit({ action });
    worker.giveBack(await worker.next('runStep'));
    const returnedAt = performance.now();
    expect(await worker.next('runStep')).toMatchObject({ runId, attempt: 1 });
    expect(performance.now() - returnedAt).toBeGreaterThan(50);
    await yard.quiet(worker);
    const { attempts } = await yard.step(runId);
    expect(attempts.map(({ outcome }) => outcome)).toEqual(['OTHER', '']);
  });

  it('fewer slots than in use take nothing away, and nothing new comes until enough are free', async () => {
    const action = unique('work');
    const worker = await yard.connect({ actions: [action], slots: 2 });
    await yard.submitMany(3, { action });
    const [first, second] = [await worker.take(), await worker.take()];
    await worker.settled(worker.send({ case: 'slotsChanged', value: { slots: 1 } }));
    await worker.settled(worker.succeed(first));
    await yard.quiet(worker);
    expect([...worker.unread('runStep'), ...worker.unread('cancelStep')]).toEqual([]);
    expect(await yard.worker(worker.workerId)).toMatchObject({ slots: 1, slotsUsed: 1 });
    worker.succeed(second);
    await worker.next('runStep');
  });
});
