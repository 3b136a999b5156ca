import { status } from '@grpc/grpc-js';
import { describe, expect, it } from 'vitest';
import { Priority, RunState, Sticky } from '../../gen/yardmaster/v1/run_pb.ts';
import { present, runOf, unique, useYard } from '../support/conformance.ts';
import { failureOf } from '../support/conformance_calls.ts';
import type { WorkerStream } from '../support/conformance_stream.ts';

const yard = useYard();
// Forgets what ended at once: what is asked about it is then answered from the store.
const forgetful = useYard({ times: { endedInMemoryMs: 0 }, limits: { logBytesPerAttemptMax: 100 } });

const NOWHERE_ID = '01900000-0000-7000-8000-000000000000';

/** Succeeds with this very text. */
function give(worker: WorkerStream, { assignmentId }: { assignmentId: string }, outputJson: string): Promise<void> {
  return worker.settled(worker.send({ case: 'stepSucceeded', value: { assignmentId, outputJson } }));
}

describe('UpdateRun', () => {
  it('changes priority and tags of what waits, each alone', async () => {
    const action = unique('edit');
    const runId = await yard.submit({ action }, { runsOn: ['gpu'] });
    const first = await yard.admin.updateRun({ runId, priority: Priority.CRITICAL });
    expect(first.run).toMatchObject({ priority: Priority.CRITICAL, runsOn: ['gpu'] });
    const second = await yard.admin.updateRun({ runId, runsOn: { tags: ['b', 'a', 'b'] } });
    expect(second.run).toMatchObject({ priority: Priority.CRITICAL, runsOn: ['a', 'b'] });
    const third = await yard.admin.updateRun({ runId, runsOn: {} });
    expect(third.run?.runsOn).toEqual([]);
    expect(await yard.run(runId)).toMatchObject({ priority: Priority.CRITICAL, runsOn: [] });
  });

  it.each([
    ['in memory', yard],
    ['only in the store', forgetful],
  ])('is refused for a run that has ended and is %s', async (_where, there) => {
    const action = unique('edit');
    const worker = await there.connect({ actions: [action] });
    const runId = await there.submit({ action });
    await worker.work();
    const end = await failureOf(there.admin.updateRun({ runId, priority: Priority.LOW }));
    expect(end).toMatchObject({
      code: status.FAILED_PRECONDITION,
      reason: 'RUN_STATE',
      metadata: { state: 'SUCCEEDED' },
    });
  });

  it('of what does not exist is NOT_FOUND', async () => {
    for (const runId of ['r', NOWHERE_ID]) {
      for (const call of [yard.admin.updateRun({ runId }), yard.admin.retryRun({ runId })])
        expect(await failureOf(call)).toMatchObject({ code: status.NOT_FOUND, reason: 'RUN_NOT_FOUND' });
    }
  });
});

describe('RetryRun', () => {
  it.each([
    ['in memory', yard],
    ['only in the store', forgetful],
  ])('runs a failed run again that is %s, from where it failed', async (_where, there) => {
    const name = unique('flow');
    const [first, then] = [unique('first'), unique('then')];
    const steps = [
      { name: 'first', action: first },
      { name: 'then', action: then, needs: ['first'] },
    ];
    await there.admin.putWorkflow({ name, steps });
    const worker = await there.connect({ actions: [first, then] });
    const what = { case: 'workflow' as const, value: name };
    const { run } = await there.admin.scheduleRun({ what, inputJson: '{"of":"run"}', sticky: Sticky.HARD });
    const { runId } = present(run);
    await give(worker, await worker.take(), '{"of": "first"}');
    const failed = await worker.take();
    expect(failed).toMatchObject({ inputJson: '{"of": "first"}', runInputJson: '{"of":"run"}', workflow: name });
    await worker.settled(worker.fail(failed));
    expect(await there.runState(runId)).toBe('FAILED');
    expect(await failureOf(there.admin.updateRun({ runId }))).toMatchObject({ reason: 'RUN_STATE' });

    await there.admin.retryRun({ runId, keepPin: true });
    const again = await worker.take();
    expect(again).toMatchObject({ stepName: 'then', attempt: 2, inputJson: '{"of": "first"}' });
    await give(worker, again, '"done"');
    expect(await there.run(runId)).toMatchObject({
      state: RunState.SUCCEEDED,
      outputJson: '"done"',
      pinnedWorkerId: worker.workerId,
      steps: [
        { name: 'first', outputJson: '{"of": "first"}' },
        { name: 'then', outputJson: '"done"' },
      ],
    });
    const end = await failureOf(there.admin.retryRun({ runId }));
    expect(end).toMatchObject({ code: status.FAILED_PRECONDITION, reason: 'RUN_STATE' });
  });

  it('of a run that depends on one which has left memory', async () => {
    const action = unique('retry');
    const worker = await forgetful.connect({ actions: [action] });
    const first = await forgetful.submit({ action });
    await worker.work();
    const second = await forgetful.submit({ action }, { dependsOnRunIds: [first.toUpperCase(), first] });
    await worker.settled(worker.fail(await worker.take()));
    expect(await forgetful.run(second)).toMatchObject({ state: RunState.FAILED, dependsOnRunIds: [first] });
    await forgetful.admin.retryRun({ runId: second });
    await worker.work();
    expect(await forgetful.runState(second)).toBe('SUCCEEDED');
  });
});

describe('ScheduleRun', () => {
  it('what it names has to be there', async () => {
    const action = unique('named');
    for (const dependsOnRunIds of [['r'], [NOWHERE_ID]]) {
      const end = await failureOf(yard.admin.scheduleRun(runOf({ action }, { dependsOnRunIds })));
      expect(end).toMatchObject({ code: status.NOT_FOUND, reason: 'RUN_NOT_FOUND' });
    }
    for (const pinToWorkerId of ['w', NOWHERE_ID]) {
      const end = await failureOf(yard.admin.scheduleRun(runOf({ action }, { pinToWorkerId, sticky: Sticky.HARD })));
      expect(end).toMatchObject({ code: status.NOT_FOUND, reason: 'WORKER_NOT_FOUND' });
    }
    expect(await yard.pending(action)).toBe(0);
  });

  it('shows what was asked for', async () => {
    const action = unique('shown');
    const worker = present((await yard.admin.registerWorker({ name: unique('worker') })).worker);
    const { run, warnings } = await yard.admin.scheduleRun(
      runOf({ action }, { concurrency: { key: 'one' }, sticky: Sticky.SOFT, pinToWorkerId: worker.workerId }),
    );
    const shown = {
      sticky: Sticky.SOFT,
      pinnedWorkerId: worker.workerId,
      concurrency: { key: 'one', limit: 1 },
      workflow: '',
      number: 0n,
    };
    expect(run).toMatchObject(shown);
    expect(await yard.run(present(run).runId)).toMatchObject(shown);
    expect(warnings.map(({ reason }) => reason)).toEqual(['NO_WORKER_SERVES_ACTION']);
    const loose = await yard.admin.scheduleRun(runOf({ action }, { pinToWorkerId: worker.workerId }));
    expect(loose.warnings.map(({ reason }) => reason)).toContain('PIN_WITHOUT_STICKY');
  });
});

describe('ListEligibleRuns', () => {
  it('pages what a worker may take, in the order it would get it', async () => {
    const action = unique('eligible');
    const worker = await yard.connect({ actions: [action], tags: ['gpu'], slots: 1 });
    const busy = await yard.submit({ action });
    await worker.take();
    const low = await yard.submit({ action }, { priority: Priority.LOW });
    const [second, third] = await yard.submitMany(2, { action }, { runsOn: ['gpu'] });
    const high = await yard.submit({ action }, { priority: Priority.HIGH });
    await yard.submit({ action }, { runsOn: ['cpu'] });
    const { workerId } = worker;
    const pages: string[][] = [];
    let pageToken = '';
    do {
      const page = await yard.admin.listEligibleRuns({ workerId, pageSize: 2, pageToken });
      pages.push(page.runs.map(({ runId }) => runId));
      for (const run of page.runs) expect(run).toMatchObject({ inputJson: '', steps: [{ attempts: [] }] });
      pageToken = page.nextPageToken;
    } while (pageToken !== '');
    expect(pages).toEqual([
      [high, second],
      [third, low],
    ]);
    expect(pages.flat()).not.toContain(busy);
  });

  it('a page token is of one worker, and an unknown worker is NOT_FOUND', async () => {
    const action = unique('eligible');
    const one = await yard.admin.registerWorker({ name: unique('worker') });
    const other = await yard.admin.registerWorker({ name: unique('worker') });
    await yard.submitMany(2, { action });
    const stream = await yard.connect({ workerId: present(one.worker).workerId, actions: [action] });
    await stream.take();
    await yard.submitMany(2, { action });
    const workerId = present(one.worker).workerId;
    const { nextPageToken } = await yard.admin.listEligibleRuns({ workerId, pageSize: 1 });
    expect(nextPageToken).not.toBe('');
    const foreign = { workerId: present(other.worker).workerId, pageToken: nextPageToken };
    expect(await failureOf(yard.admin.listEligibleRuns(foreign))).toMatchObject({ reason: 'INVALID_PAGE_TOKEN' });
    const end = await failureOf(yard.admin.listEligibleRuns({ workerId: NOWHERE_ID }));
    expect(end).toMatchObject({ code: status.NOT_FOUND, reason: 'WORKER_NOT_FOUND' });
  });
});

describe('logs of a run with several steps', () => {
  it('are those of the step that is named', async () => {
    const name = unique('flow');
    const [first, then] = [unique('first'), unique('then')];
    const steps = [
      { name: 'first', action: first },
      { name: 'then', action: then, needs: ['first'] },
    ];
    await yard.admin.putWorkflow({ name, steps });
    const { run } = await yard.admin.scheduleRun({ what: { case: 'workflow', value: name } });
    const { runId } = present(run);
    expect(await yard.runState(runId)).toBe('PENDING');
    const unnamed = await failureOf(yard.admin.getStepLogs({ runId }));
    expect(unnamed).toMatchObject({ code: status.INVALID_ARGUMENT, fields: [{ field: 'step_name' }] });
    expect((await yard.admin.getStepLogs({ runId, stepName: 'then' })).lines).toEqual([]);
  });

  it('and so is the count of what was cut', async () => {
    const name = unique('flow');
    const [first, then] = [unique('first'), unique('then')];
    const steps = [
      { name: 'first', action: first, retry: { maxAttempts: 2 } },
      { name: 'then', action: then, needs: ['first'] },
    ];
    await forgetful.admin.putWorkflow({ name, steps });
    const worker = await forgetful.connect({ actions: [first, then] });
    const { run } = await forgetful.admin.scheduleRun({ what: { case: 'workflow', value: name } });
    const { runId } = present(run);
    const cutBytes = async (stepName: string) => (await forgetful.admin.getStepLogs({ runId, stepName })).cutBytes;
    for (const text of ['x'.repeat(110), 'y'.repeat(120)]) {
      const offer = await worker.take();
      await worker.settled(worker.logLines(offer, 1, [{ text }]));
      if (offer.attempt === 1) await worker.settled(worker.fail(offer));
      else await worker.settled(worker.succeed(offer));
    }
    const last = await worker.take();
    await worker.settled(worker.logLines(last, 1, [{ text: 'z'.repeat(130) }]));
    expect(await cutBytes('first')).toBe(230n);
    expect(await cutBytes('then')).toBe(130n);
  });
});
