import { status } from '@grpc/grpc-js';
import { describe, expect, it } from 'vitest';
import { CancelMode } from '../../gen/yardmaster/v1/admin_service_pb.ts';
import { Priority, RunState, Sticky } from '../../gen/yardmaster/v1/run_pb.ts';
import { present, type RunInit, runOf, unique, useYard } from '../support/conformance.ts';
import { failureOf } from '../support/conformance_calls.ts';
import { desired } from '../support/conformance_labels.ts';
import {
  becomes,
  chain,
  ended,
  failNext,
  flowRun,
  ms,
  putWorkflow,
  runFlow,
  states,
  statesOf,
  stepNamed,
  stopped,
  workOn,
} from '../support/conformance_runs.ts';

// A returner gets the step again after a pause; here that pause outlasts every test, so that time decides nothing.
const yard = useYard({ times: { reofferPauseMs: 600_000, reofferPauseMsMax: 600_000 } });
/** Forgets what ended at once, so that it is found in the store only. */
const forgetful = useYard({ times: { endedInMemoryMs: 0 } });

const UNKNOWN_ID = '00000000-0000-4000-8000-000000000000';
const RUN_NOT_FOUND = { code: status.NOT_FOUND, reason: 'RUN_NOT_FOUND', domain: 'yardmaster' };
const REFUSED = { code: status.FAILED_PRECONDITION, domain: 'yardmaster' };
const { IF_PENDING } = CancelMode;

describe('dependencies between runs', () => {
  it('an unknown one is NOT_FOUND', async () => {
    const action = unique('depends');
    const known = await yard.submit({ action });
    const end = await failureOf(yard.submit({ action }, { dependsOnRunIds: [known, UNKNOWN_ID] }));
    expect(end).toMatchObject(RUN_NOT_FOUND);
    expect(end.message).toContain(UNKNOWN_ID);
    expect((await yard.admin.listRuns({ action, anyState: true })).runs).toHaveLength(1);
  });

  it('a run waits for all it depends on, and starts with their success', async () => {
    const [action, other] = [unique('depends'), unique('depends')];
    const worker = await yard.connect({ actions: [action] });
    const flow = await runFlow(yard, chain(['one', 'two'], { action: other }));
    const single = await yard.submit({ action: other });
    const runId = await yard.submit({ action }, { dependsOnRunIds: [flow, single] });
    const others = await yard.connect({ actions: [other], slots: 1 });
    expect((await yard.run(runId)).dependsOnRunIds).toEqual([flow, single]);
    await workOn(others, 'one');
    await others.work();
    await yard.quiet(worker);
    expect(worker.unread('runStep')).toEqual([]);
    const step = await yard.step(runId);
    expect(await yard.stepState(runId)).toBe('BLOCKED');
    expect(step.blockedReason).toMatch(/^DEPENDS_ON_RUN/);
    expect(step.blockedReason).toContain(flow);
    await others.work();
    // Its input is its own.
    expect(await worker.next('runStep')).toMatchObject({ runId, inputJson: 'null' });
    // What has succeeded already holds up nothing.
    await yard.quiet(worker);
    const late = await yard.submit({ action }, { dependsOnRunIds: [flow] });
    expect(await yard.stepState(late)).toBe('PENDING');
  });

  it('any other end fails it: CAUSED_BY that id, and its steps are SKIPPED', async () => {
    const [action, never] = [unique('depends'), unique('depends')];
    const worker = await yard.connect({ actions: [action] });
    const ends: [make: () => Promise<string>, end: (runId: string) => Promise<unknown>][] = [
      [() => yard.submit({ action }), () => failNext(worker)],
      [() => yard.submit({ action: never }), (runId) => yard.admin.cancelRun({ runId })],
      [() => yard.submit({ action: never, scheduleTimeout: ms(300) }), (runId) => ended(yard, runId)],
    ];
    for (const [make, end] of ends) {
      const cause = await make();
      const flow = await runFlow(yard, chain(['one', 'two'], { action: never }), {}, { dependsOnRunIds: [cause] });
      const dependent = await yard.submit({ action: never }, { dependsOnRunIds: [flow] });
      await end(cause);
      const run = await ended(yard, flow);
      const caused = { reason: 'CAUSED_BY', causedById: cause };
      expect(run).toMatchObject({ state: RunState.FAILED, error: caused });
      expect(run.error?.message).toContain(cause);
      expect(statesOf(run)).toEqual({ one: 'SKIPPED', two: 'SKIPPED' });
      expect(run.steps[0]?.error).toMatchObject({ reason: 'CAUSED_BY' });
      // And so on behind it.
      const behind = await ended(yard, dependent);
      expect(behind).toMatchObject({ state: RunState.FAILED, error: { reason: 'CAUSED_BY', causedById: flow } });
      // The same for a run that comes when it is over.
      const late = await yard.submit({ action: never }, { dependsOnRunIds: [cause] });
      expect(await yard.run(late)).toMatchObject({ state: RunState.FAILED, error: caused });
    }
  });

  it('on a run that has left memory', async () => {
    const action = unique('depends');
    const worker = await forgetful.connect({ actions: [action], slots: 4 });
    const good = await forgetful.submit({ action });
    await worker.work();
    const bad = await forgetful.submit({ action });
    await failNext(worker);
    // Another turn, so that both are forgotten.
    await forgetful.quiet(worker);
    const starts = await forgetful.submit({ action }, { dependsOnRunIds: [good] });
    expect((await worker.take()).runId).toBe(starts);
    const fails = await forgetful.submit({ action }, { dependsOnRunIds: [good, bad] });
    expect(await forgetful.run(fails)).toMatchObject({
      state: RunState.FAILED,
      error: { reason: 'CAUSED_BY', causedById: bad },
    });
    expect(await failureOf(forgetful.submit({ action }, { dependsOnRunIds: [UNKNOWN_ID] }))).toMatchObject(
      RUN_NOT_FOUND,
    );
  });

  it('a waiting dependent can be cancelled, and what it waited for goes on', async () => {
    const action = unique('depends');
    const worker = await yard.connect({ actions: [action] });
    const first = await yard.submit({ action });
    const offer = await worker.take();
    const dependent = await yard.submit({ action }, { dependsOnRunIds: [first] });
    await yard.admin.cancelRun({ runId: dependent, mode: IF_PENDING });
    expect(await yard.runState(dependent)).toBe('CANCELLED');
    await worker.settled(worker.succeed(offer));
    await yard.quiet(worker);
    expect(worker.unread('runStep')).toEqual([]);
    expect(await yard.runState(first)).toBe('SUCCEEDED');
  });
});

describe('a batch of runs', () => {
  it('is refused as a whole, naming the index of the run', async () => {
    const action = unique('batch');
    const { name } = await putWorkflow(yard, [{ name: 'one', action }]);
    const fine = runOf({ action });
    const refused: [run: RunInit, reason: string][] = [
      [flowRun(unique('unknown')), 'WORKFLOW_NOT_FOUND'],
      [flowRun(name, { workflowVersion: 2 }), 'WORKFLOW_NOT_FOUND'],
      [runOf({ action }, { dependsOnRunIds: [UNKNOWN_ID] }), 'RUN_NOT_FOUND'],
      [runOf({ action }, { pinToWorkerId: UNKNOWN_ID, sticky: Sticky.HARD }), 'WORKER_NOT_FOUND'],
      [runOf({ action, desiredLabels: [desired('memory', 'LESS_THAN', 'x')] }), 'INVALID_LABEL'],
    ];
    for (const [run, reason] of refused) {
      const end = await failureOf(yard.admin.scheduleRuns({ runs: [fine, flowRun(name), run] }));
      expect(end).toMatchObject({ reason, domain: 'yardmaster' });
      expect.soft(end.message, reason).toContain('runs[2]');
    }
    expect((await yard.admin.listRuns({ action, anyState: true })).runs).toEqual([]);
    // Nor was a number taken.
    await yard.admin.scheduleRuns({ runs: [fine, flowRun(name)] });
    expect((await yard.admin.getRun({ workflow: name, number: 1n })).run).toMatchObject({ number: 1n });
  });
});

describe('cancel', () => {
  it('a run: what waits ends at once, what runs is asked to stop', async () => {
    const action = unique('cancel');
    const worker = await yard.connect({ actions: [action], slots: 1 });
    const runId = await runFlow(yard, [
      { name: 'running', action },
      { name: 'waiting', action },
      { name: 'blocked', action, needs: ['running'] },
    ]);
    const offer = await worker.take();
    await worker.settled(worker.sequence);
    await yard.admin.cancelRun({ runId, reason: 'not needed any more' });
    const order = await worker.next('cancelStep');
    expect(order).toMatchObject({ assignmentId: offer.assignmentId, reason: 'not needed any more' });
    const now = await states(yard, runId);
    expect(now).toMatchObject({ waiting: 'CANCELLED' });
    await worker.settled(stopped(worker, offer));
    const run = await ended(yard, runId);
    expect(run).toMatchObject({ state: RunState.CANCELLED, error: { reason: 'CANCELLED' } });
    expect(run.error?.message).toContain('not needed any more');
    expect(statesOf(run)).toMatchObject({ running: 'CANCELLED', waiting: 'CANCELLED' });
    expect(['CANCELLED', 'SKIPPED']).toContain(statesOf(run).blocked);
    await yard.quiet(worker);
    expect(worker.unread('runStep')).toEqual([]);
    // Asked for twice it is done once.
    expect((await yard.admin.cancelRun({ runId, reason: 'again' })).run).toEqual(run);
  });

  it('a cancelled run is CANCELLED, though a step had failed before', async () => {
    const action = unique('cancel');
    const worker = await yard.connect({ actions: [action], slots: 2 });
    const runId = await runFlow(yard, [
      { name: 'first', action },
      { name: 'second', action },
    ]);
    await failNext(worker);
    const offer = await worker.take();
    await yard.admin.cancelRun({ runId });
    await worker.next('cancelStep');
    await worker.settled(stopped(worker, offer));
    const run = await ended(yard, runId);
    expect(run.state).toBe(RunState.CANCELLED);
    expect(Object.values(statesOf(run)).sort()).toEqual(['CANCELLED', 'FAILED']);
  });

  it('one step: its branch is SKIPPED, the others go on', async () => {
    const action = unique('cancel');
    const runId = await runFlow(yard, [
      { name: 'left', action },
      { name: 'under-left', action, needs: ['left'] },
      { name: 'right', action },
    ]);
    const { run } = await yard.admin.cancelRun({ runId, stepName: 'left' });
    expect(statesOf(present(run))).toEqual({ left: 'CANCELLED', 'under-left': 'SKIPPED', right: 'PENDING' });
    const left = await stepNamed(yard, runId, 'left');
    expect((await stepNamed(yard, runId, 'under-left')).error).toMatchObject({
      reason: 'CAUSED_BY',
      causedById: left.stepId,
    });
    const worker = await yard.connect({ actions: [action] });
    await workOn(worker, 'right');
    // The first that ended without success decides.
    expect((await ended(yard, runId)).state).toBe(RunState.CANCELLED);
    const unknown = await failureOf(yard.admin.cancelRun({ runId, stepName: 'nothing' }));
    expect([status.NOT_FOUND, status.FAILED_PRECONDITION]).toContain(unknown.code);
  });

  it('a run of a thousand steps, all at once', async () => {
    const action = unique('cancel');
    const names = Array.from({ length: 999 }, (_, index) => `step-${index}`);
    const steps = [...names.map((name) => ({ name, action })), { name: 'join', action, needs: names }];
    const runId = await runFlow(yard, steps);
    expect(await yard.pending(action)).toBe(999);
    await yard.admin.cancelRun({ runId, mode: IF_PENDING });
    const run = await yard.run(runId);
    expect(run.state).toBe(RunState.CANCELLED);
    expect(run.steps.every(({ endTime }) => endTime !== undefined)).toBe(true);
    expect(await yard.pending(action)).toBe(0);
  });

  it('a run that has ended otherwise is refused', async () => {
    const action = unique('cancel');
    const worker = await yard.connect({ actions: [action] });
    const succeeded = await yard.submit({ action });
    await worker.work('done');
    const failed = await yard.submit({ action });
    await failNext(worker);
    for (const runId of [succeeded, failed]) {
      const before = await yard.run(runId);
      expect(await failureOf(yard.admin.cancelRun({ runId }))).toMatchObject(REFUSED);
      expect(await failureOf(yard.admin.cancelRun({ runId, mode: IF_PENDING }))).toMatchObject(REFUSED);
      expect(await yard.run(runId)).toEqual(before);
    }
  });

  it('one step that has ended is refused, and an unknown one is NOT_FOUND', async () => {
    const action = unique('cancel');
    const worker = await yard.connect({ actions: [action] });
    const runId = await runFlow(yard, chain(['one', 'two'], { action }));
    const one = await worker.take();
    await worker.settled(worker.succeed(one));
    expect(await failureOf(yard.admin.cancelRun({ runId, stepName: 'one' }))).toMatchObject(REFUSED);
    const unknown = await failureOf(yard.admin.cancelRun({ runId, stepName: 'nothing' }));
    expect(unknown).toMatchObject({ code: status.NOT_FOUND, reason: 'STEP_NOT_FOUND' });
    expect(await states(yard, runId)).toEqual({ one: 'SUCCEEDED', two: 'ASSIGNED' });
    expect(await failureOf(yard.admin.cancelRun({ runId: UNKNOWN_ID }))).toMatchObject(RUN_NOT_FOUND);
  });

  it('IF_PENDING is refused for a step that was assigned and returned', async () => {
    const action = unique('cancel');
    const runId = await yard.submit({ action });
    const worker = await yard.connect({ actions: [action] });
    const offer = await worker.next('runStep');
    const cancel = () => failureOf(yard.admin.cancelRun({ runId, mode: IF_PENDING }));
    expect(await cancel()).toMatchObject({ ...REFUSED, reason: 'NOT_PENDING' });
    await worker.settled(worker.giveBack(offer));
    expect(await yard.stepState(runId)).toBe('PENDING');
    expect(await cancel()).toMatchObject({ ...REFUSED, reason: 'NOT_PENDING' });
    expect(await yard.stepState(runId)).toBe('PENDING');
    await yard.admin.cancelRun({ runId });
    expect(await yard.runState(runId)).toBe('CANCELLED');
  });

  it('IF_PENDING is refused as soon as any step is or was assigned, and else cancels', async () => {
    const action = unique('cancel');
    const later = unique('cancel');
    const flow = () => runFlow(yard, chain(['one', 'two'], { action }, { two: { action: later } }));
    const untouched = await flow();
    await yard.admin.cancelRun({ runId: untouched, mode: IF_PENDING });
    const run = await ended(yard, untouched);
    expect(run.state).toBe(RunState.CANCELLED);
    const begun = await flow();
    const worker = await yard.connect({ actions: [action] });
    await workOn(worker, 'one');
    await becomes(yard, begun, 'two', 'PENDING');
    const end = await failureOf(yard.admin.cancelRun({ runId: begun, mode: IF_PENDING }));
    expect(end).toMatchObject({ ...REFUSED, reason: 'NOT_PENDING' });
    // Of one step as well: the run has begun.
    const ofStep = await failureOf(yard.admin.cancelRun({ runId: begun, stepName: 'two', mode: IF_PENDING }));
    expect(ofStep).toMatchObject({ ...REFUSED, reason: 'NOT_PENDING' });
    expect(await states(yard, begun)).toEqual({ one: 'SUCCEEDED', two: 'PENDING' });
  });

  it('races with the assignment: exactly one wins', { timeout: 30_000 }, async () => {
    const action = unique('race');
    const worker = await yard.connect({ actions: [action], slots: 1_000 });
    for (let round = 0; round < 40; round++) {
      const runId = await yard.submit({ action: round % 2 === 0 ? action : unique('nobody') });
      const cancelled = await yard.admin.cancelRun({ runId, mode: IF_PENDING }).then(
        () => true,
        () => false,
      );
      await yard.quiet(worker);
      const given = worker.unread('runStep').some((offer) => offer.runId === runId);
      expect(given).toBe(!cancelled);
      expect(await yard.runState(runId)).toBe(cancelled ? 'CANCELLED' : 'PENDING');
    }
    // Submitted, cancelled and taken at once, by one call after the other on the way.
    const held = unique('race');
    const runIds = await yard.submitMany(40, { action: held });
    const connecting = yard.connect({ actions: [held], slots: 40 });
    const outcomes = await Promise.all(
      runIds.map((runId) =>
        yard.admin.cancelRun({ runId, mode: IF_PENDING }).then(
          () => 'cancelled',
          () => 'given',
        ),
      ),
    );
    const taker = await connecting;
    await yard.quiet(taker);
    const given = new Set(taker.unread('runStep').map(({ runId }) => runId));
    expect(runIds.map((runId) => (given.has(runId) ? 'given' : 'cancelled'))).toEqual(outcomes);
  });
});

describe('RetryRun', () => {
  it('runs again what did not succeed, and only that', async () => {
    const action = unique('retry');
    const worker = await yard.connect({ actions: [action], slots: 1 });
    const runId = await runFlow(
      yard,
      [
        { name: 'good', action },
        { name: 'bad', action, needs: ['good'] },
        { name: 'behind', action, needs: ['bad'] },
      ],
      {},
      { inputJson: '"in"' },
    );
    await workOn(worker, 'good', 'output of good');
    await failNext(worker);
    const failed = await ended(yard, runId);
    expect(statesOf(failed)).toEqual({ good: 'SUCCEEDED', bad: 'FAILED', behind: 'SKIPPED' });
    const { run } = await yard.admin.retryRun({ runId });
    expect([RunState.PENDING, RunState.RUNNING]).toContain(present(run).state);
    expect(present(run).error).toBeUndefined();
    expect(present(run).endTime).toBeUndefined();
    expect(statesOf(present(run))).toMatchObject({ good: 'SUCCEEDED', behind: 'BLOCKED' });
    const bad = await worker.take();
    expect(bad).toMatchObject({ runId, stepName: 'bad', inputJson: '"output of good"', runInputJson: '"in"' });
    await worker.settled(worker.succeed(bad, 'at last'));
    expect(await workOn(worker, 'behind', 'done')).toMatchObject({ inputJson: '"at last"' });
    const done = await ended(yard, runId);
    expect(done).toMatchObject({ state: RunState.SUCCEEDED, outputJson: '"done"' });
    expect(done.steps.map(({ error }) => error)).toEqual([undefined, undefined, undefined]);
    // What went wrong stays to be seen.
    expect(done.steps[1]?.attempts.map(({ error }) => error?.reason)).toContain('APPLICATION');
  });

  it('with fresh budgets', async () => {
    const [action, name] = [unique('retry'), unique('worker')];
    let worker = await yard.connect({ name, actions: [action] });
    const runId = await yard.submit({ action, retry: { maxAttempts: 2, maxWorkerLosses: 0 } });
    const assignments = new Set<string>();
    for (let round = 0; round < 3; round++) {
      for (let attempt = 0; attempt < 2; attempt++) assignments.add((await failNext(worker)).assignmentId);
      expect(await yard.runState(runId)).toBe('FAILED');
      await yard.admin.retryRun({ runId });
    }
    expect(assignments.size).toBe(6);
    const offer = await worker.next('runStep');
    await worker.settled(worker.accept(offer));
    worker = await yard.connect({ name, actions: [action] });
    expect((await ended(yard, runId)).state).toBe(RunState.CRASHED);
    await yard.admin.retryRun({ runId });
    await worker.work('after all');
    expect(await yard.run(runId)).toMatchObject({ state: RunState.SUCCEEDED, outputJson: '"after all"' });
  });

  it('a run that timed out or was cancelled too, its clock anew', async () => {
    const action = unique('retry');
    const runId = await yard.submit({ action, scheduleTimeout: ms(300) });
    const first = present((await ended(yard, runId)).steps[0]);
    await yard.admin.retryRun({ runId });
    expect(await yard.stepState(runId)).toBe('PENDING');
    const second = present((await ended(yard, runId)).steps[0]);
    expect(present(second.readyTime).seconds).toBeGreaterThanOrEqual(present(first.endTime).seconds);
    await yard.admin.retryRun({ runId });
    await yard.admin.cancelRun({ runId });
    expect(await yard.runState(runId)).toBe('CANCELLED');
    await yard.admin.retryRun({ runId });
    const worker = await yard.connect({ actions: [action] });
    await worker.work();
    expect(await yard.runState(runId)).toBe('SUCCEEDED');
  });

  it('one that has not ended, has succeeded, or does not exist is refused', async () => {
    const action = unique('retry');
    const worker = await yard.connect({ actions: [action] });
    const runId = await yard.submit({ action });
    const retry = () => failureOf(yard.admin.retryRun({ runId }));
    expect(await retry()).toMatchObject(REFUSED);
    const offer = await worker.take();
    expect(await retry()).toMatchObject(REFUSED);
    await worker.settled(worker.succeed(offer, 'done'));
    expect(await retry()).toMatchObject(REFUSED);
    expect(await yard.run(runId)).toMatchObject({ state: RunState.SUCCEEDED, outputJson: '"done"' });
    expect(await failureOf(yard.admin.retryRun({ runId: UNKNOWN_ID }))).toMatchObject(RUN_NOT_FOUND);
  });

  it('a run that has left memory', async () => {
    const action = unique('retry');
    const worker = await forgetful.connect({ actions: [action] });
    const runId = await runFlow(forgetful, chain(['one', 'two'], { action }), {}, { inputJson: '"in"' });
    await workOn(worker, 'one', 'out of one');
    await failNext(worker);
    await forgetful.quiet(worker);
    await forgetful.admin.retryRun({ runId });
    expect(await workOn(worker, 'two', 'done')).toMatchObject({ inputJson: '"out of one"', runInputJson: '"in"' });
    expect(await forgetful.run(runId)).toMatchObject({ state: RunState.SUCCEEDED, outputJson: '"done"' });
    expect(await failureOf(forgetful.admin.retryRun({ runId }))).toMatchObject(REFUSED);
  });

  it('clears the pin, unless it shall be kept', async () => {
    const action = unique('retry');
    const pinned = await yard.connect({ actions: [action], slots: 1 });
    const runIds: string[] = [];
    for (let index = 0; index < 2; index++) {
      runIds.push(await yard.submit({ action }, { sticky: Sticky.HARD }));
      await failNext(pinned);
    }
    const [cleared, kept] = runIds as [string, string];
    const other = await yard.connect({ actions: [action], slots: 1 });
    await pinned.settled(pinned.send({ case: 'slotsChanged', value: { slots: 0 } }));
    await yard.admin.retryRun({ runId: cleared });
    expect((await other.take()).runId).toBe(cleared);
    expect((await yard.run(cleared)).pinnedWorkerId).toBe(other.workerId);
    const { run } = await yard.admin.retryRun({ runId: kept, keepPin: true });
    expect(present(run).pinnedWorkerId).toBe(pinned.workerId);
    const spare = await yard.connect({ actions: [action], slots: 1 });
    await yard.quiet(spare);
    expect(spare.unread('runStep')).toEqual([]);
    pinned.send({ case: 'slotsChanged', value: { slots: 1 } });
    const offer = await pinned.next('runStep');
    expect(offer.runId).toBe(kept);
    // A kept pin is never cleared by an assignment that ends unaccepted.
    await pinned.settled(pinned.giveBack(offer));
    expect((await yard.run(kept)).pinnedWorkerId).toBe(pinned.workerId);
    await yard.quiet(spare);
    expect(spare.unread('runStep')).toEqual([]);
  });

  it('a pin that is kept to a worker that is gone for good does not wait for it', async () => {
    const action = unique('retry');
    const pinned = await yard.connect({ actions: [action] });
    const runId = await yard.submit({ action, scheduleTimeout: ms(0) }, { sticky: Sticky.HARD });
    await failNext(pinned);
    await yard.admin.deleteWorker({ workerId: pinned.workerId });
    const retried = await yard.admin.retryRun({ runId, keepPin: true }).then(
      () => true,
      () => false,
    );
    // Refused, or failed at once for that reason.
    const run = await ended(yard, runId);
    expect(run.state).toBe(RunState.FAILED);
    expect(run.error?.reason).toBe(retried ? 'STICKY_WORKER_DELETED' : 'APPLICATION');
    await yard.admin.retryRun({ runId });
    const other = await yard.connect({ actions: [action] });
    await other.work();
    expect((await yard.run(runId)).state).toBe(RunState.SUCCEEDED);
  });

  it('takes its place in the queue of its concurrency key again', async () => {
    const [action, key] = [unique('retry'), unique('dataset')];
    const worker = await yard.connect({ actions: [action], slots: 4 });
    const first = await yard.submit({ action }, { concurrency: { key } });
    const second = await yard.submit({ action }, { concurrency: { key } });
    await failNext(worker);
    const offer = await worker.take();
    expect(offer.runId).toBe(second);
    await yard.admin.retryRun({ runId: first });
    await yard.quiet(worker);
    expect(worker.unread('runStep')).toEqual([]);
    expect(await yard.stepState(first)).toBe('BLOCKED');
    worker.succeed(offer);
    expect((await worker.next('runStep')).runId).toBe(first);
  });

  it('what failed because of another run is judged anew', async () => {
    const action = unique('retry');
    const worker = await yard.connect({ actions: [action] });
    const cause = await yard.submit({ action });
    const runId = await runFlow(yard, chain(['one', 'two'], { action }), {}, { dependsOnRunIds: [cause] });
    await failNext(worker);
    const caused = { state: RunState.FAILED, error: { reason: 'CAUSED_BY', causedById: cause } };
    expect(await yard.run(runId)).toMatchObject(caused);
    await yard.admin.retryRun({ runId });
    expect(await ended(yard, runId)).toMatchObject(caused);
    await yard.admin.retryRun({ runId: cause });
    await worker.work();
    await yard.admin.retryRun({ runId });
    await workOn(worker, 'one');
    await workOn(worker, 'two');
    expect(await yard.run(runId)).toMatchObject({ state: RunState.SUCCEEDED });
  });

  it('what depended on it stays failed, and what comes after depends on the new try', async () => {
    const action = unique('retry');
    const worker = await yard.connect({ actions: [action] });
    const runId = await yard.submit({ action });
    await failNext(worker);
    await yard.admin.retryRun({ runId });
    const dependent = await yard.submit({ action }, { dependsOnRunIds: [runId] });
    expect(await yard.stepState(dependent)).toBe('BLOCKED');
    expect((await worker.work()).runId).toBe(runId);
    expect((await worker.work()).runId).toBe(dependent);
  });
});

describe('ListEligibleRuns', () => {
  it('lists what a worker may take, in the order it would be given it, free or not', async () => {
    const [action, served, unserved] = [unique('eligible'), unique('eligible'), unique('eligible')];
    const hello = { tags: ['cpu'], actions: [action, served], slots: 1, labels: { memory: 512 } };
    const worker = await yard.connect(hello);
    const running = await yard.submit({ action });
    await worker.take();
    const other = await yard.connect({ tags: ['cpu'], actions: [unique('eligible')] });
    const first = await yard.submit({ action });
    const low = await yard.submit({ action: served }, { priority: Priority.LOW });
    const matching = { action, desiredLabels: [desired('memory', 'GREATER_THAN', 256)] };
    const second = await yard.submit(matching, { runsOn: ['cpu'] });
    const urgent = await yard.submit({ action: served }, { priority: Priority.CRITICAL });
    await yard.submit({ action: unserved });
    await yard.submit({ action }, { runsOn: ['gpu'] });
    await yard.submit({ action, desiredLabels: [desired('memory', 'GREATER_THAN', 512)] });
    await yard.submit({ action }, { sticky: Sticky.HARD, pinToWorkerId: other.workerId });
    await yard.submit({ action }, { dependsOnRunIds: [running] });
    const expected = [urgent, first, second, low];
    const list = async (request: object = {}) => yard.admin.listEligibleRuns({ workerId: worker.workerId, ...request });
    const { runs, nextPageToken } = await list();
    expect(runs.map(({ runId }) => runId)).toEqual(expected);
    expect(nextPageToken).toBe('');
    expect(runs[0]).toMatchObject({ inputJson: '', priority: Priority.CRITICAL });

    const paged: string[] = [];
    let pageToken = '';
    do {
      const page = await list({ pageSize: 3, pageToken });
      paged.push(...page.runs.map(({ runId }) => runId));
      pageToken = page.nextPageToken;
    } while (pageToken !== '');
    expect(paged).toEqual(expected);

    // Away, and still the same; then back, and given them in just that order.
    await worker.leave();
    const away = await list();
    expect(away.runs.map(({ runId }) => runId).sort()).toEqual([...expected, running].sort());
    await yard.admin.cancelRun({ runId: running });
    expect((await list()).runs.map(({ runId }) => runId)).toEqual(expected);
    const back = await yard.connect({ workerId: worker.workerId, ...hello });
    for (const runId of expected) expect((await back.work()).runId).toBe(runId);
    expect((await list()).runs).toEqual([]);
  });

  it('a run is listed once, however many of its steps wait', async () => {
    const action = unique('eligible');
    const worker = await yard.connect({ actions: [action], slots: 2 });
    await yard.admin.drainWorker({ workerId: worker.workerId });
    const runId = await runFlow(yard, [
      { name: 'left', action },
      { name: 'right', action },
      { name: 'join', action, needs: ['left', 'right'] },
    ]);
    const { runs } = await yard.admin.listEligibleRuns({ workerId: worker.workerId });
    expect(runs.map((run) => run.runId)).toEqual([runId]);
    expect(statesOf(present(runs[0]))).toEqual({ left: 'PENDING', right: 'PENDING', join: 'BLOCKED' });
  });

  it('an unknown worker and a page token of nobody are refused', async () => {
    const unknown = await failureOf(yard.admin.listEligibleRuns({ workerId: UNKNOWN_ID }));
    expect(unknown).toMatchObject({ code: status.NOT_FOUND, reason: 'WORKER_NOT_FOUND' });
    const worker = await yard.connect({ actions: [unique('eligible')] });
    const end = await failureOf(yard.admin.listEligibleRuns({ workerId: worker.workerId, pageToken: 'nonsense' }));
    expect(end).toMatchObject({ code: status.INVALID_ARGUMENT, reason: 'INVALID_PAGE_TOKEN' });
  });
});
