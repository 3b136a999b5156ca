/** Equal requests, R1 to R7: what is executed once, and what everybody who asked for it gets. */
import { status } from '@grpc/grpc-js';
import { describe, expect, it } from 'vitest';
import { AdminService } from '../../gen/yardmaster/v1/admin_service_pb.ts';
import { type Run, RunState, StepState } from '../../gen/yardmaster/v1/run_pb.ts';
import { nameIn, present, type RunRest, runOf, unique, until, useYard } from '../support/conformance.ts';
import { failureOf } from '../support/conformance_calls.ts';
import type { WorkerStream } from '../support/conformance_stream.ts';
import { Watching } from '../support/watching.ts';

const yard = useYard();
// Forgets what ended at once, so that equals are found in the store only.
const forgetful = useYard({ times: { endedInMemoryMs: 0 } });

const request = (action: string, inputJson: string, rest: RunRest = {}) =>
  runOf({ action }, { inputJson, dedupe: true, ...rest });

async function submit(action: string, inputJson: string, rest: RunRest = {}, on = yard): Promise<string> {
  return present((await on.admin.scheduleRun(request(action, inputJson, rest))).run).runId;
}

/** Nothing more was offered than what was read. */
async function expectNoOffer(worker: WorkerStream, on = yard): Promise<void> {
  await on.quiet(worker);
  expect(worker.unread('runStep')).toEqual([]);
}

describe('equal requests', () => {
  it('R1 of five runs three are executed, and the equal ones share what came of it', async () => {
    const action = unique('r1');
    const first = await yard.connect({ actions: [action] });
    const earlier = await submit(action, '{"job":5}');
    await first.work('five');
    await first.leave();

    const inputs = ['{"job":1}', '{"job":2}', ' {"job": 1.0}', '{"job":2}', '{"job":5}'];
    // The second fails when it is executed as the run it is; the fourth is executed instead of it and does not.
    const { runIds } = await yard.admin.scheduleRuns({ runs: inputs.map((input) => request(action, input)) });
    const [one, two, three, four, five] = runIds as [string, string, string, string, string];
    expect(await yard.runState(five)).toBe('SUCCEEDED');
    expect((await yard.step(three)).blockedReason).toBe(`HELD equal run ${one}`);
    expect(await yard.stepState(three)).toBe('BLOCKED');

    const worker = await yard.connect({ actions: [action] });
    const executed: string[] = [];
    for (const fails of [false, true, false]) {
      const offer = await worker.take();
      executed.push(offer.runId);
      await worker.settled(fails ? worker.fail(offer) : worker.succeed(offer, { by: offer.runId }));
    }
    await expectNoOffer(worker);
    expect(executed).toEqual([one, two, four]);
    const states = await Promise.all(runIds.map((runId) => yard.runState(runId)));
    expect(states).toEqual(['SUCCEEDED', 'FAILED', 'SUCCEEDED', 'SUCCEEDED', 'SUCCEEDED']);
    const by = (runId: string, executedByRunId: string) => ({ outputJson: `{"by":"${runId}"}`, executedByRunId });
    expect(await yard.run(one)).toMatchObject(by(one, ''));
    expect(await yard.run(three)).toMatchObject({ ...by(one, one), inputJson: ' {"job": 1.0}' });
    expect(await yard.run(four)).toMatchObject(by(four, ''));
    expect(await yard.run(five)).toMatchObject({ outputJson: '"five"', executedByRunId: earlier });
    expect((await yard.run(three)).contentHash).toBe((await yard.run(one)).contentHash);
    expect((await yard.step(three)).outputJson).toBe(`{"by":"${one}"}`);
  });

  it('R2 who adopts a running one shows its progress and shares its failure', async () => {
    const action = unique('r2');
    const worker = await yard.connect({ actions: [action], slots: 5 });
    const leader = await submit(action, '1');
    const offer = await worker.take();
    await worker.heartbeat();
    const adopter = await submit(action, '1');
    worker.send({
      case: 'stepProgressed',
      value: { assignmentId: offer.assignmentId, text: 'half of it', fraction: 0.5 },
    });
    await worker.heartbeat();
    const shown = await yard.run(adopter);
    expect(shown).toMatchObject({ state: RunState.PENDING, executedByRunId: leader });
    expect(shown.steps[0]).toMatchObject({
      state: StepState.BLOCKED,
      progressText: 'half of it',
      progressFraction: 0.5,
    });
    await worker.settled(worker.fail(offer, 'no such file'));
    const [failed, shared] = [await yard.run(leader), await yard.run(adopter)];
    expect(failed).toMatchObject({ state: RunState.FAILED, executedByRunId: '' });
    expect(shared).toMatchObject({ state: RunState.FAILED, executedByRunId: leader });
    expect(shared.error).toEqual(failed.error);
    expect(shared.error?.message).toBe('no such file');
    expect(shared.steps[0]).toMatchObject({ state: StepState.FAILED, attempts: [] });
    await expectNoOffer(worker);
  });

  it('R3 two equal runs that wait are one execution', async () => {
    const action = unique('r3');
    const runIds = [await submit(action, '{"a":1,"b":2}'), await submit(action, '{"b":2,"a":1}')];
    expect(await yard.pending(action)).toBe(1);
    const worker = await yard.connect({ actions: [action], slots: 5 });
    const offer = await worker.work('once');
    await expectNoOffer(worker);
    expect(offer.runId).toBe(runIds[0]);
    for (const runId of runIds) {
      expect(await yard.run(runId)).toMatchObject({ state: RunState.SUCCEEDED, outputJson: '"once"' });
    }
  });

  it('R4 a dependency on the failed run fails, one on the new equal run waits and succeeds', async () => {
    const action = unique('r4');
    const worker = await yard.connect({ actions: [action] });
    const failed = await submit(action, '1');
    await worker.settled(worker.fail(await worker.take()));
    const again = await submit(action, '1');
    const onFailed = await submit(action, '"after"', { dependsOnRunIds: [failed] });
    const onAgain = await submit(action, '"after"', { dependsOnRunIds: [again] });
    expect(await yard.run(onFailed)).toMatchObject({
      state: RunState.FAILED,
      error: { reason: 'CAUSED_BY', causedById: failed },
      executedByRunId: '',
    });
    expect((await yard.step(onAgain)).blockedReason).toContain(again);
    expect((await worker.work()).runId).toBe(again);
    expect((await worker.work('after')).runId).toBe(onAgain);
    expect(await yard.run(onAgain)).toMatchObject({ state: RunState.SUCCEEDED, outputJson: '"after"' });
  });

  it('R5 after a failure, a retry and its success, an equal run is not executed', async () => {
    const action = unique('r5');
    const worker = await forgetful.connect({ actions: [action] });
    const first = await submit(action, '{"n":1}', {}, forgetful);
    await worker.settled(worker.fail(await worker.take()));
    await forgetful.admin.retryRun({ runId: first });
    expect((await worker.work('at last')).runId).toBe(first);
    const { run, alreadyScheduled } = await forgetful.admin.scheduleRun(request(action, '{"n":1}'));
    expect(alreadyScheduled).toBe(false);
    expect(run).toMatchObject({ state: RunState.SUCCEEDED, outputJson: '"at last"', executedByRunId: first });
    await expectNoOffer(worker, forgetful);
  });

  it('R6 an unknown dependency is refused', async () => {
    const dependsOnRunIds = ['00000000-0000-7000-8000-000000000000'];
    const end = await failureOf(yard.admin.scheduleRun(request(unique('r6'), '1', { dependsOnRunIds })));
    expect(end).toMatchObject({ code: status.NOT_FOUND, reason: 'RUN_NOT_FOUND' });
  });

  it('R7 a cancelled adopter changes nothing; a cancelled leader promotes the oldest follower', async () => {
    const action = unique('r7');
    const worker = await yard.connect({ actions: [action], slots: 5 });
    const leader = await submit(action, '1');
    const offer = await worker.take();
    await worker.heartbeat();
    const [first, second, third] = [await submit(action, '1'), await submit(action, '1'), await submit(action, '1')];
    await yard.admin.cancelRun({ runId: first });
    expect(await yard.runState(first)).toBe('CANCELLED');
    expect(await yard.runState(leader)).toBe('RUNNING');
    expect(await yard.run(second)).toMatchObject({ state: RunState.PENDING, executedByRunId: leader });

    await yard.admin.cancelRun({ runId: leader });
    const { assignmentId } = await worker.next('cancelStep');
    expect(assignmentId).toBe(offer.assignmentId);
    worker.send({ case: 'stepCancelled', value: { assignmentId } });
    const promoted = await worker.take();
    expect(promoted.runId).toBe(second);
    expect(await yard.run(third)).toMatchObject({ state: RunState.PENDING, executedByRunId: '' });
    await worker.settled(worker.succeed(promoted, 'done'));
    const states = [leader, first, second, third].map(async (runId) => nameIn(RunState, (await yard.run(runId)).state));
    expect(await Promise.all(states)).toEqual(['CANCELLED', 'CANCELLED', 'SUCCEEDED', 'SUCCEEDED']);
    expect(await yard.run(third)).toMatchObject({ executedByRunId: second, outputJson: '"done"' });
    await expectNoOffer(worker);
  });
});

describe('what is compared', () => {
  it('is a given content_hash in place of the input, and without the keys that do not count', async () => {
    const action = unique('hash');
    const [given, same, other] = [
      await submit(action, '1', { dedupe: false, contentHash: 'mine' }),
      await submit(action, '2', { contentHash: 'mine' }),
      await submit(action, '1'),
    ];
    const excluded = { hashExclude: ['time'] };
    const [early, late] = [
      await submit(action, '{"file":"a","time":1}', excluded),
      await submit(action, '{"time":2,"file":"a"}', excluded),
    ];
    const plain = await yard.submit({ action }, { inputJson: '1' });
    const reasons = await Promise.all([given, same, other, early, late, plain].map((id) => yard.step(id)));
    expect(reasons.map(({ blockedReason }) => blockedReason)).toEqual([
      '',
      `HELD equal run ${given}`,
      '',
      '',
      `HELD equal run ${early}`,
      '',
    ]);
    expect((await yard.run(given)).contentHash).toBe('mine');
    expect((await yard.run(plain)).contentHash).toBe('');
  });

  it('is part of what a request id stands for', async () => {
    const [action, requestId] = [unique('hash'), unique('request')];
    const first = await submit(action, '{"a":1}', { requestId });
    expect(await submit(action, '{"a":1}', { requestId })).toBe(first);
    for (const rest of [{ dedupe: false }, { contentHash: 'x' }, { hashExclude: ['b'] }]) {
      const end = await failureOf(yard.admin.scheduleRun(request(action, '{"a":1}', { requestId, ...rest })));
      expect(end).toMatchObject({ code: status.ALREADY_EXISTS, reason: 'REQUEST_ID_REUSED' });
    }
  });

  it('is refused when it makes no sense', async () => {
    const action = unique('hash');
    const refused = [
      { rest: { dedupe: false, hashExclude: ['a'] }, field: 'hash_exclude' },
      { rest: { contentHash: 'x'.repeat(257) }, field: 'content_hash' },
      { rest: { contentHash: 'a\u0000' }, field: 'content_hash' },
      { rest: { hashExclude: Array.from({ length: 65 }, (_, index) => `${index}`) }, field: 'hash_exclude' },
    ];
    for (const { rest, field } of refused) {
      const end = await failureOf(yard.admin.scheduleRun(request(action, '1', rest)));
      expect(end).toMatchObject({ code: status.INVALID_ARGUMENT, fields: [{ field }] });
    }
  });
});

describe('workflows', () => {
  it('that are equal give their steps and outputs to who follows; another version is not equal', async () => {
    const [action, workflow] = [unique('flow'), unique('flow')];
    const steps = [
      { name: 'one', action },
      { name: 'two', action, needs: ['one'] },
    ];
    await yard.admin.putWorkflow({ name: workflow, steps });
    const schedule = async () => {
      const what = { case: 'workflow' as const, value: workflow };
      return present((await yard.admin.scheduleRun({ what, inputJson: '1', dedupe: true })).run).runId;
    };
    const [first, second] = [await schedule(), await schedule()];
    const worker = await yard.connect({ actions: [action], slots: 5 });
    await worker.work({ n: 1 });
    await worker.work({ n: 2 });
    const late = await schedule();
    for (const runId of [second, late]) {
      const run = await yard.run(runId);
      expect(run).toMatchObject({ state: RunState.SUCCEEDED, outputJson: '{"n":2}', executedByRunId: first });
      expect(run.steps.map(({ state, outputJson }) => [state, outputJson])).toEqual([
        [StepState.SUCCEEDED, '{"n":1}'],
        [StepState.SUCCEEDED, '{"n":2}'],
      ]);
    }
    await yard.admin.putWorkflow({ name: workflow, steps: [{ name: 'one', action }] });
    const newer = await schedule();
    expect((await worker.work()).runId).toBe(newer);
    await expectNoOffer(worker);
  });
});

describe('over a restart', () => {
  const again = useYard();

  it('who follows goes on following, and a success is found in the store', async () => {
    const action = unique('restart');
    const worker = await again.connect({ actions: [action] });
    const done = await submit(action, '"done"', {}, again);
    await worker.work('done');
    const leader = await submit(action, '1', {}, again);
    const held = await submit(action, '1', {}, again);
    const offer = await worker.take();
    await worker.heartbeat();
    const adopter = await submit(action, '1', {}, again);
    const { sessionId } = worker.welcome;
    await again.restart();
    await worker.ended;

    expect((await again.step(held)).blockedReason).toBe(`HELD equal run ${leader}`);
    expect((await again.run(adopter)).executedByRunId).toBe(leader);
    const found = await again.admin.scheduleRun(request(action, '"done"'));
    expect(found.run).toMatchObject({ state: RunState.SUCCEEDED, outputJson: '"done"', executedByRunId: done });
    const back = again.open();
    await back.hello({
      workerId: worker.workerId,
      actions: [action],
      resume: { sessionId, heldAssignmentIds: [offer.assignmentId] },
    });
    await back.settled(back.fail(offer));
    expect(await again.runState(adopter)).toBe('FAILED');
    expect((await back.work('second try')).runId).toBe(held);
    expect(await again.run(held)).toMatchObject({ state: RunState.SUCCEEDED, outputJson: '"second try"' });
  });
});

describe('PurgeResults', () => {
  it('forgets successes by hash, or all of the namespace, and leaves the runs', async () => {
    const action = unique('purge');
    const worker = await forgetful.connect({ actions: [action] });
    await forgetful.admin.purgeResults({});
    for (const contentHash of ['x', 'y', 'z']) {
      await submit(action, '1', { contentHash }, forgetful);
      await worker.work(contentHash);
    }
    expect((await forgetful.admin.purgeResults({ contentHash: 'x' })).forgottenCount).toBe(1n);
    expect((await forgetful.admin.purgeResults({ contentHash: 'x' })).forgottenCount).toBe(0n);
    const x = await submit(action, '1', { contentHash: 'x' }, forgetful);
    expect((await worker.work('x again')).runId).toBe(x);
    const y = await submit(action, '1', { contentHash: 'y' }, forgetful);
    expect(await forgetful.runState(y)).toBe('SUCCEEDED');
    expect((await forgetful.admin.purgeResults({})).forgottenCount).toBe(3n);
    expect((await forgetful.run(y)).outputJson).toBe('"y"');
    const z = await submit(action, '1', { contentHash: 'z' }, forgetful);
    expect((await worker.work('z again')).runId).toBe(z);
    expect(await failureOf(forgetful.admin.purgeResults({}, { 'yardmaster-namespace': 'nowhere' }))).toMatchObject({
      code: status.NOT_FOUND,
      reason: 'NAMESPACE_NOT_FOUND',
    });
  });
});

it('WatchRun of who adopts a running one shows its progress, and ends with its output', async () => {
  const action = unique('watch');
  const worker = await yard.connect({ actions: [action], slots: 5 });
  await submit(action, '1');
  const offer = await worker.take();
  await worker.heartbeat();
  const adopter = await submit(action, '1');
  const watching = new Watching(yard.client, AdminService.method.watchRun, { runId: adopter });
  const seen = (what: string, fits: (run: Run) => boolean) =>
    watching.sees(what, ({ event }) => event.case === 'changed' && fits(event.value));
  await seen('that it follows', (run) => run.executedByRunId === offer.runId);
  worker.send({ case: 'stepProgressed', value: { assignmentId: offer.assignmentId, text: 'half of it' } });
  await seen('the progress', (run) => run.steps[0]?.progressText === 'half of it');
  await worker.settled(worker.succeed(offer, 'done'));
  expect(await watching.ended).toMatchObject({ code: status.OK });
  await seen('the end', (run) => run.state === RunState.SUCCEEDED && run.outputJson === '"done"');
});

it('ExplainRun says of who follows that an equal run holds it', async () => {
  const action = unique('why');
  const leader = await submit(action, '1');
  const held = await submit(action, '1');
  const { steps } = await yard.admin.explainRun({ runId: held });
  expect(steps[0]?.explanation?.summary).toContain(leader);
  await yard.admin.cancelRun({ runId: leader });
  await until(async () => (await yard.step(held)).blockedReason === '', 'the other leads');
});
