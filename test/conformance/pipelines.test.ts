/** P: pipelines, stage by stage: what passes through them, what goes back, and who is counted. */
import { status } from '@grpc/grpc-js';
import { describe, expect, it } from 'vitest';
import { CancelMode } from '../../gen/yardmaster/v1/admin_service_pb.ts';
import { type Run, RunState, StepState } from '../../gen/yardmaster/v1/run_pb.ts';
import type { RunStep } from '../../gen/yardmaster/v1/worker_service_pb.ts';
import { createWorker, InputInvalidError, type StepContext } from '../../src/worker/index.ts';
import { nameIn, present, unique, until, useYard } from '../support/conformance.ts';
import { failureOf } from '../support/conformance_calls.ts';
import type { WorkerStream } from '../support/conformance_stream.ts';

const yard = useYard({ times: { reconnectGraceMs: 200, invalidInputPauseMs: 20, invalidInputPauseMsMax: 50 } });
const slow = useYard({ times: { reconnectGraceMs: 200, invalidInputPauseMs: 400 } });

type Yard = typeof yard;

const REPORTS = 5;

/** A workflow of so many stages, each of an action of its own. */
async function pipeline(stages: number, on: Yard = yard) {
  const name = unique('pipeline');
  const actions = Array.from({ length: stages }, (_, index) => `${name}.${index + 1}`);
  const steps = actions.map((action, index) => ({
    name: `stage ${index + 1}`,
    action,
    needs: index === 0 ? [] : [`stage ${index}`],
  }));
  await on.admin.putWorkflow({ name, steps });
  const submit = async (inputJson = '"input"') => {
    const { run } = await on.admin.scheduleRun({ what: { case: 'workflow', value: name }, inputJson });
    return present(run).runId;
  };
  return { name, actions, submit };
}

function succeedWith(worker: WorkerStream, { assignmentId }: RunStep, outputJson: string): Promise<void> {
  return worker.settled(worker.send({ case: 'stepSucceeded', value: { assignmentId, outputJson } }));
}

function reportInvalid(worker: WorkerStream, { assignmentId }: RunStep, reason = 'cannot be read'): Promise<void> {
  return worker.settled(worker.send({ case: 'inputInvalid', value: { assignmentId, reason } }));
}

/** Takes the next one and reports its input, so many times. */
async function reportTimes(worker: WorkerStream, times: number): Promise<void> {
  for (let count = 0; count < times; count++) await reportInvalid(worker, await worker.take());
}

const statesOf = (run: Run) => run.steps.map((step) => nameIn(StepState, step.state));

describe('P1 what passes through five stages', () => {
  const PAYLOADS = [
    ['a string', '"text"'],
    ['a list', '[1, 2.50,  "x" , [ ] ]'],
    ['an object', '{"b": 9007199254740993, "a": {"b": null}, "b": 2}'],
    ['a number', '-0.10E+2'],
    ['null', 'null'],
    ['an odd string', '"\\u00e4 ä \\ud83d\\ude82 🚂 \\"\\\\\\/ \u2028 \\t \'; DROP TABLE runs; -- {\\"a\\": 1}"'],
  ] as const;

  it.each(PAYLOADS)('%s comes out as it went in, byte for byte', async (_what, json) => {
    const { actions, submit } = await pipeline(5);
    const workers = await Promise.all(actions.map((action) => yard.connect({ actions: [action] })));
    const runId = await submit(json);
    for (const worker of workers) {
      const offer = await worker.take();
      expect(offer.inputJson).toBe(json);
      await succeedWith(worker, offer, offer.inputJson);
    }
    const run = await yard.run(runId);
    expect(run).toMatchObject({ state: RunState.SUCCEEDED, inputJson: json, outputJson: json });
    expect(run.steps.map((step) => step.outputJson)).toEqual(actions.map(() => json));
  });
});

describe('P2 runs of a workflow', () => {
  it('are numbered 1, 2, 3 … in the order they were submitted, each workflow by itself', async () => {
    const { name, submit } = await pipeline(2);
    const other = await pipeline(2);
    const first = await submit();
    await other.submit();
    const { runIds } = await yard.admin.scheduleRuns({
      runs: Array.from({ length: 20 }, () => ({ what: { case: 'workflow' as const, value: name }, inputJson: '1' })),
    });
    const last = await submit();
    const ids = [first, ...runIds, last];
    for (const [index, runId] of ids.entries()) expect((await yard.run(runId)).number).toBe(BigInt(index + 1));
    const seventh = await yard.admin.getRun({ workflow: name, number: 7n });
    expect(seventh.run?.runId).toBe(ids[6]);
    // Submitted at the same time, each gets one of its own.
    const more = await Promise.all(Array.from({ length: 10 }, () => submit()));
    const numbers = await Promise.all(more.map(async (runId) => Number((await yard.run(runId)).number)));
    expect(numbers.sort((a, b) => a - b)).toEqual(Array.from({ length: 10 }, (_, index) => 23 + index));
  });
});

describe('P3 how much waits at each stage', () => {
  it('is told by the queue depth and by the statistics', async () => {
    const { name, actions, submit } = await pipeline(3);
    const [first, second] = actions as [string, string, string];
    for (let count = 0; count < 5; count++) await submit();
    const worker = await yard.connect({ actions: [first], slots: 3, nickname: unique('stage') });
    await worker.work();
    await worker.work();
    await worker.settled(worker.fail(await worker.take()));
    await worker.take();
    await yard.quiet(worker);
    const depth = await yard.workers.getQueueDepth({ actions });
    expect(depth.pendingByAction).toEqual({ [first]: 0n, [second]: 2n, [actions[2] as string]: 0n });
    const stats = await yard.admin.getStats({ workflow: name });
    expect(stats.actions.map(({ action }) => action)).toEqual(actions);
    expect(stats.actions[0]).toMatchObject({
      blocked: 0n,
      pending: 0n,
      running: 2n,
      succeeded: 2n,
      failed: 1n,
      workersConnected: 1,
      slotsFree: 1,
    });
    expect(stats.actions[0]?.completedPerSecond).toBeGreaterThan(0);
    expect(stats.actions[0]?.oldestPendingAge).toBeUndefined();
    expect(stats.actions[1]).toMatchObject({
      blocked: 2n,
      pending: 2n,
      running: 0n,
      workersConnected: 0,
      slotsFree: 0,
    });
    expect(stats.actions[1]?.oldestPendingAge).toBeDefined();
    // Of the run that failed, what came after its first stage was skipped.
    expect(stats.actions[2]).toMatchObject({ blocked: 4n, failed: 1n });
    expect(stats).toMatchObject({ runsTotal: 5n, runsEnded: 1n });
    expect(Number(stats.estimatedTimeLeft?.seconds)).toBeGreaterThan(0);
    // The namespace has at least that, and what is not there has nothing.
    const all = await yard.admin.getStats({});
    expect(all.actions.find(({ action }) => action === first)).toMatchObject({ succeeded: 2n, failed: 1n });
    expect(all.runsTotal).toBeGreaterThanOrEqual(5n);
    const end = await failureOf(yard.admin.getStats({ workflow: 'nowhere' }));
    expect(end).toMatchObject({ code: status.NOT_FOUND, reason: 'WORKFLOW_NOT_FOUND' });
  });
});

describe('P4 invalid input', () => {
  it('four reports re-open the same stage, the fifth the one before, on its original input', async () => {
    const { actions, submit } = await pipeline(3);
    const [one, two, three] = (await Promise.all(actions.map((action) => yard.connect({ actions: [action] })))) as [
      WorkerStream,
      WorkerStream,
      WorkerStream,
    ];
    const runId = await submit('"raw"');
    await succeedWith(one, await one.take(), '"cut"');
    await succeedWith(two, await two.take(), '"bad"');
    for (let count = 1; count < REPORTS; count++) {
      const offer = await three.take();
      expect(offer.inputJson).toBe('"bad"');
      await reportInvalid(three, offer);
      const { steps } = await yard.run(runId);
      expect(steps.map(({ generation, invalidReports }) => [generation, invalidReports])).toEqual([
        [1, 0],
        [1, 0],
        [1, count],
      ]);
    }
    await reportTimes(three, 1);
    const again = await two.take();
    expect(again.inputJson).toBe('"cut"');
    await two.settled(two.sequence);
    const back = await yard.run(runId);
    expect(back.state).toBe(RunState.RUNNING);
    expect(statesOf(back)).toEqual(['SUCCEEDED', 'RUNNING', 'BLOCKED']);
    expect(back.steps[1]).toMatchObject({ generation: 2, outputJson: '' });
    expect(back.steps[2]).toMatchObject({ invalidReports: 0, blockedReason: 'NEEDS stage 2' });
    await succeedWith(two, again, '"good"');
    const offer = await three.take();
    expect(offer.inputJson).toBe('"good"');
    await succeedWith(three, offer, '"done"');
    const run = await yard.run(runId);
    expect(run).toMatchObject({ state: RunState.SUCCEEDED, outputJson: '"done"' });
    expect(run.steps.map(({ outputJson }) => outputJson)).toEqual(['"cut"', '"good"', '"done"']);
    const outcomes = (index: number) => run.steps[index]?.attempts.map(({ number, outcome }) => `${number} ${outcome}`);
    expect(outcomes(1)).toEqual(['1 SUCCEEDED', '2 SUCCEEDED']);
    expect(outcomes(2)).toEqual([
      ...Array.from({ length: REPORTS }, (_, index) => `${index + 1} INPUT_INVALID`),
      `${REPORTS + 1} SUCCEEDED`,
    ]);
    expect(run.steps[2]?.attempts[0]?.error).toMatchObject({ reason: 'INPUT_INVALID', message: 'cannot be read' });
  });

  it('goes to another worker first, and any reporters count', async () => {
    const { actions, submit } = await pipeline(2);
    const [first, second] = actions as [string, string];
    const maker = await yard.connect({ actions: [first] });
    const [a, b] = [await yard.connect({ actions: [second] }), await yard.connect({ actions: [second] })];
    await submit();
    await maker.work();
    await reportTimes(a, 1);
    await reportTimes(b, 1);
    // Both have reported: whoever is free gets it.
    const offer = await Promise.race([a.take(), b.take()]);
    expect(offer.attempt).toBe(3);
  });

  it('is reported by the SDK when a handler throws InputInvalidError, and naming what is not needed fails the attempt', async () => {
    const { actions, submit } = await pipeline(2);
    const [first, second] = actions as [string, string];
    const maker = await yard.connect({ actions: [first] });
    const seen: unknown[] = [];
    const worker = createWorker({
      address: yard.address,
      name: unique('critic'),
      actions: {
        [second]: (context: StepContext) => {
          seen.push(context.input);
          if (context.input === 'bad') throw new InputInvalidError('it is bad');
          throw new InputInvalidError('it is worse', 'stage 7');
        },
      },
    });
    try {
      await worker.start();
      const runId = await submit();
      await maker.work('bad');
      await maker.work('good');
      await until(async () => (await yard.runState(runId)) === 'FAILED', 'the run has failed');
      expect(seen).toEqual([...Array.from({ length: REPORTS }, () => 'bad'), 'good']);
      const { error } = present((await yard.run(runId)).steps[1]);
      expect(error?.reason).toBe('RESULT_REFUSED');
      expect(error?.message).toContain('input_invalid.step_name: "stage 7"');
    } finally {
      await worker.stop({ graceMs: 0 });
    }
  });

  it('waits a second or so, as configured, and never counts a report twice', async () => {
    const { actions, submit } = await pipeline(1, slow);
    const worker = await slow.connect({ actions });
    const runId = await submit();
    const offer = await worker.take();
    await reportInvalid(worker, offer);
    await reportInvalid(worker, offer);
    expect(worker.unread('refused')).toEqual([]);
    expect(await slow.step(runId)).toMatchObject({
      state: StepState.BLOCKED,
      blockedReason: 'BACKING_OFF',
      invalidReports: 1,
    });
    const late = worker.succeed(offer);
    expect(await worker.next('refused')).toMatchObject({ sequence: BigInt(late), reason: 'STALE_ASSIGNMENT' });
    await worker.work();
    expect(await slow.step(runId)).toMatchObject({ state: StepState.SUCCEEDED, invalidReports: 1 });
  });

  it('what was made again is still there after a restart, and so is the count', async () => {
    const { actions, submit } = await pipeline(2, slow);
    const [first, second] = actions as [string, string];
    await slow.admin.putWorkflow({
      name: first,
      steps: [
        { name: 'a', action: first },
        { name: 'b', action: second, needs: ['a'], maxInvalidReports: 2 },
      ],
    });
    const { run } = await slow.admin.scheduleRun({ what: { case: 'workflow', value: first } });
    const { runId } = present(run);
    const worker = await slow.connect({ actions: [first, second] });
    await succeedWith(worker, await worker.take(), '"bad"');
    await reportTimes(worker, 2);
    await succeedWith(worker, await worker.take(), '"good"');
    await worker.next('runStep');
    await slow.restart();
    expect((await slow.run(runId)).steps[0]).toMatchObject({ generation: 2, outputJson: '"good"' });
    const again = await slow.connect({ actions: [first, second] });
    const offer = await again.take();
    expect(offer).toMatchObject({ stepName: 'b', inputJson: '"good"' });
    await again.settled(again.succeed(offer));
    expect(await slow.runState(runId)).toBe('SUCCEEDED');
    expect(await submit()).not.toBe(runId);
  });

  it('fails the run when ten steps back have not helped', async () => {
    const { actions, submit } = await pipeline(2);
    const [first, second] = actions as [string, string];
    const maker = await yard.connect({ actions: [first] });
    const critic = await yard.connect({ actions: [second] });
    const runId = await submit();
    await maker.work();
    for (let back = 0; back < 10; back++) {
      await reportTimes(critic, REPORTS);
      await maker.work(back);
    }
    await reportTimes(critic, REPORTS);
    const run = await yard.run(runId);
    expect(run).toMatchObject({ state: RunState.FAILED, error: { reason: 'INVALID_DATA' } });
    expect(run.steps[0]).toMatchObject({ generation: 11, state: StepState.SUCCEEDED });
    expect(run.steps[1]).toMatchObject({ state: StepState.FAILED, error: { reason: 'INVALID_DATA' } });
  }, 20_000);
});

describe('P5 the first stage', () => {
  it('is only opened again', async () => {
    const { actions, submit } = await pipeline(2);
    const worker = await yard.connect({ actions: [actions[0] as string] });
    const runId = await submit('"raw"');
    await reportTimes(worker, REPORTS + 2);
    const run = await yard.run(runId);
    expect(run.steps[0]).toMatchObject({ generation: 1, invalidReports: REPORTS + 2 });
    const offer = await worker.take();
    expect(offer.inputJson).toBe('"raw"');
    await worker.settled(worker.succeed(offer));
    expect(statesOf(await yard.run(runId))).toEqual(['SUCCEEDED', 'PENDING']);
    await yard.admin.cancelRun({ runId, mode: CancelMode.ANY });
  });
});

describe('P6 a worker that goes away', () => {
  it.each(['leave', 'cut'] as const)('%s: its stage is open again, and the others keep what they have', async (how) => {
    const { actions, submit } = await pipeline(2);
    const [first, second] = actions as [string, string];
    const maker = await yard.connect({ actions: [first] });
    const runId = await submit();
    await maker.work('made');
    const gone = await yard.connect({ actions: [second] });
    expect((await gone.take()).inputJson).toBe('"made"');
    await gone.settled(gone.sequence);
    await gone[how]();
    const next = await yard.connect({ actions: [second] });
    const offer = await next.take();
    expect(offer.inputJson).toBe('"made"');
    await next.settled(next.succeed(offer));
    const run = await yard.run(runId);
    expect(run.state).toBe(RunState.SUCCEEDED);
    expect(run.steps[0]?.attempts).toHaveLength(1);
    expect(run.steps[1]?.attempts.map(({ outcome }) => outcome)).toEqual([
      how === 'leave' ? 'WORKER_GOODBYE' : 'WORKER_LOST',
      'SUCCEEDED',
    ]);
  });
});

describe('P7 the leaderboard', () => {
  const NAMESPACE = { 'yardmaster-namespace': 'board' };

  it('counts each accepted completion once, by nickname, with 20 workers at once', async () => {
    await yard.admin.putNamespace({ namespace: { name: 'board' } });
    const action = unique('board');
    const nicknames = ['ada', 'bob', 'eve', 'joe'];
    const streams = await Promise.all(
      Array.from({ length: 20 }, async (_, index) => {
        const nickname = nicknames[index % nicknames.length] as string;
        const stream = yard.open(NAMESPACE);
        await stream.hello({ name: unique('board'), actions: [action], slots: 3, nickname });
        return { stream, nickname };
      }),
    );
    const total = 300;
    const expected = new Map<string, number>();
    let done = 0;
    const working = streams.map(async ({ stream, nickname }, index) => {
      while (done < total) {
        const offer = await Promise.race([stream.take(), finished]);
        if (offer === null) return;
        // Some fail first, and some say the same twice: neither counts.
        if (index === 0 && offer.attempt === 1) {
          stream.fail(offer);
          continue;
        }
        const sequence = stream.succeed(offer);
        if (index % 3 === 0) stream.succeed(offer);
        await stream.settled(sequence);
        expected.set(nickname, (expected.get(nickname) ?? 0) + 1);
        done += 1;
        if (done === total) finish(null);
      }
    });
    const run = { what: { case: 'step' as const, value: { action, retry: { maxAttempts: 9 } } } };
    for (let batch = 0; batch < 3; batch++)
      await yard.admin.scheduleRuns({ runs: Array.from({ length: total / 3 }, () => run) }, NAMESPACE);
    await Promise.all(working);
    await yard.quiet();
    const { entries } = await yard.admin.getLeaderboard({}, NAMESPACE);
    const counts = Object.fromEntries(
      entries.map(({ nickname, completedCount }) => [nickname, Number(completedCount)]),
    );
    expect(counts).toEqual(Object.fromEntries(expected));
    const sorted = entries.map(({ completedCount }) => Number(completedCount));
    expect(sorted).toEqual([...sorted].sort((a, b) => b - a));
    expect(sorted.reduce((sum, count) => sum + count, 0)).toBe(total);
    // Page by page it is the same, and another namespace has its own.
    const pages: typeof entries = [];
    for (let pageToken = ''; ; ) {
      const page = await yard.admin.getLeaderboard({ pageSize: 1, pageToken }, NAMESPACE);
      expect(page.entries.length).toBe(1);
      pages.push(...page.entries);
      pageToken = page.nextPageToken;
      if (pageToken === '') break;
    }
    expect(pages).toEqual(entries);
    const { workers } = await yard.admin.listWorkers({}, NAMESPACE);
    expect(workers.reduce((sum, worker) => sum + Number(worker.completedCount), 0)).toBe(total);
  }, 30_000);

  let finish: (nothing: null) => void = () => {};
  const finished = new Promise<null>((resolve) => {
    finish = resolve;
  });

  it('survives a restart, and what deletes a worker takes nothing back', async () => {
    const action = unique('board');
    const nickname = unique('zoe');
    const worker = await slow.connect({ actions: [action], nickname });
    for (let count = 0; count < 3; count++) {
      await slow.submit({ action });
      await worker.work();
    }
    const { workerId } = worker;
    await worker.leave();
    await slow.admin.deleteWorker({ workerId });
    await slow.restart();
    const other = await slow.connect({ actions: [action], nickname });
    await slow.submit({ action });
    await other.work();
    const { entries } = await slow.admin.getLeaderboard({});
    expect(entries.find((entry) => entry.nickname === nickname)?.completedCount).toBe(4n);
    const stats = await slow.admin.getStats({});
    expect(stats.actions.find((one) => one.action === action)).toMatchObject({ succeeded: 4n, failed: 0n });
  });
});

describe('P8 display names', () => {
  it('are given at the registration, unique, and kept', async () => {
    const streams = await Promise.all(Array.from({ length: 30 }, () => yard.connect({ nickname: 'same' })));
    const workers = await Promise.all(streams.map(({ workerId }) => yard.worker(workerId)));
    const names = workers.map(({ displayName }) => displayName);
    expect(new Set(names).size).toBe(30);
    for (const name of names) expect(name).toMatch(/^\S+$/);
    expect(streams.map(({ welcome }) => welcome.displayName)).toEqual(names);
    const [first] = streams;
    await first?.leave();
    const again = await yard.connect({ workerId: present(first).workerId, nickname: 'other' });
    expect(await yard.worker(again.workerId)).toMatchObject({ displayName: names[0], nickname: 'other' });
    await until(async () => (await yard.worker(again.workerId)).nickname === 'other', 'the new nickname is shown');
  });
});
