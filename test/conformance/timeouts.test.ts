import { describe, expect, it } from 'vitest';
import { type Attempt, RunState, type Step } from '../../gen/yardmaster/v1/run_pb.ts';
import { present, runOf, unique, until, useYard } from '../support/conformance.ts';
import { desired } from '../support/conformance_labels.ts';
import {
  at,
  becomes,
  chain,
  changeSlots,
  connectIn,
  ended,
  failNext,
  ms,
  newNamespace,
  runFlow,
  stepNamed,
  stopped,
  timeGoesBy,
} from '../support/conformance_runs.ts';
import type { WorkerStream } from '../support/conformance_stream.ts';

// A returner gets the step again after a pause; here that pause outlasts every test, so that time decides nothing.
const yard = useYard({ times: { reofferPauseMs: 600_000, reofferPauseMsMax: 600_000 } });

/** Every timer fires within so much of its time. */
const LATE_MS_MAX = 250;
/** Where the question is what a timer counts from, a busy machine may take longer. */
const SLACK_MS = 1_000;
const WAITING = 10_000;
const BATCH = 1_000;

function attemptOf(step: Step, number: number): Attempt {
  return present(step.attempts[number - 1]);
}

function expectWithin(actual: number, due: number): void {
  expect(actual).toBeGreaterThanOrEqual(due);
  expect(actual).toBeLessThanOrEqual(due + SLACK_MS);
}

/** How late the schedule timeout of a step that became ready once came, in milliseconds. */
function lateness(step: Step, timeoutMs: number): number {
  return at(step.endTime) - at(step.readyTime) - timeoutMs;
}

/** Until a client sees it too, which needs a commit and a read besides. */
async function timedOut(runId: string): Promise<Step> {
  await until(async () => (await yard.stepState(runId)) === 'TIMED_OUT', 'it times out');
  const step = await yard.step(runId);
  expect(step).toMatchObject({ attempts: [], error: { reason: 'SCHEDULE_TIMEOUT' } });
  return step;
}

/** Of a few that time out one after the other, as a client sees it, and of many at once, as the server says it. */
async function worstLateness(action: string): Promise<number> {
  const late: number[] = [];
  for (const timeoutMs of [300, 350, 400]) {
    const runId = await yard.submit({ action, scheduleTimeout: ms(timeoutMs) }, { runsOn: ['gpu-1'] });
    const step = await timedOut(runId);
    late.push(Date.now() - at(step.readyTime) - timeoutMs, lateness(step, timeoutMs));
  }
  for (const runId of await yard.submitMany(200, { action, scheduleTimeout: ms(500) }, { runsOn: ['gpu-2'] }))
    late.push(lateness(await timedOut(runId), 500));
  expect(Math.min(...late)).toBeGreaterThanOrEqual(0);
  return Math.max(...late);
}

/** Fails with its next assignment and takes no other. */
async function failAndTakeNoMore(worker: WorkerStream): Promise<void> {
  const offer = await worker.take();
  await worker.settled(changeSlots(worker, 0));
  await worker.settled(worker.fail(offer));
}

describe('schedule timeout', () => {
  it('W1 fires within 250 ms with 10 000 others waiting', { timeout: 90_000 }, async () => {
    const action = unique('w1');
    await yard.connect({ tags: ['cpu'], actions: [action], slots: 1 });
    // A hundred demands, each with a timer that runs.
    for (let batch = 0; batch < WAITING / BATCH; batch++) {
      const runs = Array.from({ length: BATCH }, (_, index) => runOf({ action }, { runsOn: [`gpu-${index % 100}`] }));
      await yard.admin.scheduleRuns({ runs });
    }
    expect(await yard.pending(action)).toBe(WAITING);

    // A machine that was busy with something else for a moment is not late as a rule.
    const worst: number[] = [];
    do worst.push(await worstLateness(action));
    while (present(worst.at(-1)) > LATE_MS_MAX && worst.length < 3);
    expect(Math.min(...worst), `worst of each round: ${worst}`).toBeLessThanOrEqual(LATE_MS_MAX);
    expect(await yard.pending(action)).toBe(WAITING);
  });

  it('fires once, and is final: nobody is given the step any more', async () => {
    const action = unique('w1');
    const runId = await yard.submit({ action, scheduleTimeout: ms(300), retry: { maxAttempts: 3 } });
    const run = await ended(yard, runId);
    expect(run).toMatchObject({ state: RunState.TIMED_OUT, error: { reason: 'SCHEDULE_TIMEOUT' } });
    expect(run.startTime).toBeUndefined();
    const worker = await yard.connect({ actions: [action] });
    await yard.quiet(worker);
    expect(worker.unread('runStep')).toEqual([]);
    expect((await yard.run(runId)).revision).toBe(run.revision);
  });

  it('carries the explanation as of that moment', async () => {
    const action = unique('w1');
    const worker = await yard.connect({ actions: [action], labels: { memory: 128 } });
    const desiredLabels = [desired('memory', 'GREATER_THAN', 256)];
    const runId = await yard.submit({ action, desiredLabels, scheduleTimeout: ms(300) });
    const run = await ended(yard, runId);
    const step = present(run.steps[0]);
    // A change after it is not in it.
    worker.upsert({ memory: 512 });
    const explanation = present(present(step.error).explanation);
    expect(at(explanation.asOfTime)).toBeGreaterThanOrEqual(at(step.readyTime) + 300);
    expect(at(explanation.asOfTime)).toBeLessThanOrEqual(at(step.endTime));
    const report = present(explanation.workers.find(({ workerId }) => workerId === worker.workerId));
    expect(report.failed).toMatchObject([{ clause: 'LABEL', key: 'memory', has: '128', needs: '> 256' }]);
  });

  it('W2 the clock starts when the step is ready, not when it was submitted', async () => {
    const [action, later] = [unique('w2'), unique('w2-later')];
    const worker = await yard.connect({ actions: [action] });
    const timeoutMs = 400;
    const second = { two: { action: later, scheduleTimeout: ms(timeoutMs) } };
    const runId = await runFlow(yard, chain(['one', 'two'], { action }, second));
    const dependent = await yard.submit(
      { action: later, scheduleTimeout: ms(timeoutMs) },
      { dependsOnRunIds: [runId] },
    );
    const one = await worker.take();
    await timeGoesBy(yard, timeoutMs + 200);
    expect((await stepNamed(yard, runId, 'two')).readyTime).toBeUndefined();
    expect(await yard.stepState(dependent)).toBe('BLOCKED');
    worker.succeed(one);
    const two = present((await ended(yard, runId)).steps[1]);
    expect(two.error).toMatchObject({ reason: 'SCHEDULE_TIMEOUT' });
    expect(at(two.readyTime)).toBeGreaterThanOrEqual(at((await stepNamed(yard, runId, 'one')).endTime));
    expectWithin(at(two.endTime), at(two.readyTime) + timeoutMs);
    // The run that waited for this one never became ready: it did not run out of its own time.
    expect((await ended(yard, dependent)).state).toBe(RunState.FAILED);
  });

  it('W3 returned assignments do not reset it', async () => {
    const action = unique('w3');
    const worker = await yard.connect({ actions: [action] });
    const timeoutMs = 900;
    const runId = await yard.submit({ action, scheduleTimeout: ms(timeoutMs) });
    const offer = await worker.next('runStep');
    await timeGoesBy(yard, 300);
    await worker.settled(worker.giveBack(offer));
    const step = present((await ended(yard, runId)).steps[0]);
    expect(step.error).toMatchObject({ reason: 'SCHEDULE_TIMEOUT' });
    const readyMs = at((await yard.run(runId)).createTime);
    expect(at(step.readyTime)).toBeLessThan(at(attemptOf(step, 1).assignTime) + 1);
    expect(at(step.endTime)).toBeGreaterThanOrEqual(readyMs + timeoutMs);
    expect(at(step.endTime)).toBeLessThan(at(attemptOf(step, 1).endTime) + timeoutMs);
  });

  it('W3 a retry resets it', async () => {
    const action = unique('w3');
    const worker = await yard.connect({ actions: [action] });
    const timeoutMs = 600;
    const runId = await yard.submit({ action, scheduleTimeout: ms(timeoutMs), retry: { maxAttempts: 2 } });
    const offer = await worker.take();
    // Accepted: the clock of waiting has stopped.
    await timeGoesBy(yard, timeoutMs + 200);
    expect(await yard.stepState(runId)).toBe('RUNNING');
    await worker.settled(changeSlots(worker, 0));
    worker.fail(offer);
    const step = present((await ended(yard, runId)).steps[0]);
    expect(step.error).toMatchObject({ reason: 'SCHEDULE_TIMEOUT' });
    expectWithin(at(step.endTime), at(attemptOf(step, 1).endTime) + timeoutMs);
    expect(step.attempts).toHaveLength(1);
  });

  it('W3 so does a lost worker, and a backoff is not part of the time', async () => {
    const [lost, backing] = [unique('w3'), unique('w3')];
    const name = unique('worker');
    const first = await yard.connect({ name, actions: [lost] });
    const lostRun = await yard.submit({ action: lost, scheduleTimeout: ms(400) });
    await first.settled(first.accept(await first.next('runStep')));
    await timeGoesBy(yard, 500);
    await yard.connect({ name, actions: [] });
    const lostStep = present((await ended(yard, lostRun)).steps[0]);
    expectWithin(at(lostStep.endTime), at(attemptOf(lostStep, 1).endTime) + 400);

    const worker = await yard.connect({ actions: [backing] });
    const retry = { maxAttempts: 2, initialBackoff: ms(500) };
    const backingRun = await yard.submit({ action: backing, scheduleTimeout: ms(300), retry });
    await failAndTakeNoMore(worker);
    const step = present((await ended(yard, backingRun)).steps[0]);
    expect(at(step.readyTime)).toBeGreaterThanOrEqual(at(attemptOf(step, 1).endTime) + 500);
    expectWithin(at(step.endTime), at(step.readyTime) + 300);
  });

  it('W4 0s waits', async () => {
    const action = unique('w4');
    const runId = await yard.submit({ action, scheduleTimeout: ms(0) }, { scheduleTimeout: ms(200) });
    const ofRun = await yard.submit({ action }, { scheduleTimeout: ms(0) });
    await timeGoesBy(yard, 500);
    expect([await yard.stepState(runId), await yard.stepState(ofRun)]).toEqual(['PENDING', 'PENDING']);
    const worker = await yard.connect({ actions: [action] });
    expect((await worker.work()).runId).toBe(runId);
    expect((await worker.work()).runId).toBe(ofRun);
  });

  it('is the one of the step, else of the run, else of the namespace', async () => {
    const action = unique('w4');
    const { metadata } = await newNamespace(yard, { defaultScheduleTimeout: ms(300) });
    const submit = async (step: object, rest: object) =>
      present((await yard.admin.scheduleRun(runOf({ action, ...step }, rest), metadata)).run).runId;
    const ofNamespace = await submit({}, {});
    const waits = await submit({}, { scheduleTimeout: ms(0) });
    const ofRun = await submit({}, { scheduleTimeout: ms(500) });
    const ofStep = await submit({ scheduleTimeout: ms(400) }, { scheduleTimeout: ms(60_000) });
    const stepIn = async (runId: string) => present((await yard.admin.getRun({ runId }, metadata)).run?.steps[0]);
    for (const [runId, timeoutMs] of [
      [ofNamespace, 300],
      [ofStep, 400],
      [ofRun, 500],
    ] as const) {
      await until(async () => (await stepIn(runId)).endTime !== undefined, 'it times out');
      const step = await stepIn(runId);
      expectWithin(at(step.endTime), at(step.readyTime) + timeoutMs);
    }
    expect((await stepIn(waits)).endTime).toBeUndefined();
    // It is taken by a worker of that namespace only.
    const worker = await connectIn(yard, metadata, { actions: [action] });
    expect((await worker.next('runStep')).runId).toBe(waits);
  });
});

describe('long times', () => {
  const DAYS_30 = { seconds: 30n * 24n * 3600n };
  /** The longest that a Duration can say: ten thousand years. */
  const LONGEST = { seconds: 315_576_000_000n };

  it.each([
    ['a month', DAYS_30],
    ['ten thousand years', LONGEST],
  ])('a timeout of %s does not fire at once', async (_name, duration) => {
    const action = unique('long');
    const waiting = await yard.submit({ action: unique('long'), scheduleTimeout: duration });
    const worker = await yard.connect({ actions: [action] });
    const running = await yard.submit({ action, executionTimeout: duration, progressTimeout: duration });
    const offer = await worker.take();
    await timeGoesBy(yard, 300);
    expect(await yard.stepState(waiting)).toBe('PENDING');
    expect(await yard.stepState(running)).toBe('RUNNING');
    await worker.settled(worker.succeed(offer));
    expect(await yard.runState(running)).toBe('SUCCEEDED');
    await yard.admin.cancelRun({ runId: waiting });
  });

  it.each([
    ['a month', DAYS_30],
    ['ten thousand years', LONGEST],
  ])('a backoff of %s is a backoff', async (_name, duration) => {
    const action = unique('long');
    const worker = await yard.connect({ actions: [action] });
    const runId = await yard.submit({ action, retry: { maxAttempts: 3, initialBackoff: duration } });
    await failNext(worker);
    await timeGoesBy(yard, 300);
    expect(await yard.stepState(runId)).toBe('BLOCKED');
    expect(worker.unread('runStep')).toEqual([]);
    await yard.admin.cancelRun({ runId });
  });
});

describe('accept deadline', () => {
  const ACCEPT_MS = 700;
  const impatient = useYard({ times: { acceptTimeoutMs: ACCEPT_MS } });

  it('W5 re-routes without using an attempt', async () => {
    const action = unique('w5');
    const silent = await impatient.connect({ actions: [action], slots: 2 });
    const runId = await impatient.submit({ action, retry: { maxAttempts: 1, maxWorkerLosses: 0 } });
    const offer = await silent.next('runStep');
    const other = await impatient.connect({ actions: [action], slots: 1 });
    expect((await silent.next('cancelStep')).assignmentId).toBe(offer.assignmentId);
    const moved = await other.take();
    expect(moved).toMatchObject({ runId, attempt: 1 });
    expect(moved.assignmentId).not.toBe(offer.assignmentId);
    const [missed] = (await impatient.step(runId)).attempts;
    expect(present(missed)).toMatchObject({ outcome: 'ACCEPT_TIMEOUT', workerId: silent.workerId });
    // Counted from the hand-over to the transport, which comes after the assignment.
    const tookMs = at(missed?.endTime) - at(missed?.assignTime);
    expect(tookMs).toBeGreaterThanOrEqual(ACCEPT_MS);
    expect(tookMs).toBeLessThanOrEqual(ACCEPT_MS + SLACK_MS);

    // It is late now: refused, and the one who works on it is unharmed.
    const late = silent.accept(offer);
    expect(await silent.next('refused')).toMatchObject({ sequence: BigInt(late), reason: 'STALE_ASSIGNMENT' });
    await other.settled(other.succeed(moved, 'done'));
    expect(await impatient.run(runId)).toMatchObject({ state: RunState.SUCCEEDED, outputJson: '"done"' });
  });

  it('W5 who missed it is not ready until it speaks about its work; heartbeats do not count', async () => {
    const action = unique('w5');
    const silent = await impatient.connect({ actions: [action], slots: 2 });
    const first = await impatient.submit({ action });
    const offer = await silent.next('runStep');
    await silent.next('cancelStep');
    const fresh = await impatient.submit({ action });
    await impatient.quiet(silent);
    await silent.heartbeat();
    await impatient.quiet(silent);
    expect(silent.unread('runStep')).toEqual([]);
    const worker = await impatient.worker(silent.workerId);
    expect(worker.notReadyReason).not.toBe('');
    // Withdrawn, and reserved until the worker reports an end of it.
    expect(worker.slotsUsed).toBe(1);
    await silent.settled(stopped(silent, offer));
    expect((await silent.take()).runId).toBe(fresh);
    expect(await impatient.worker(silent.workerId)).toMatchObject({ notReadyReason: '', slotsUsed: 1 });
    // The step it missed is not offered to it again at once.
    expect(await impatient.stepState(first)).toBe('PENDING');
  });

  it('W5 a change of its slots makes it ready too', async () => {
    const action = unique('w5');
    const silent = await impatient.connect({ actions: [action], slots: 1 });
    const runId = await impatient.submit({ action });
    const offer = await silent.next('runStep');
    await silent.next('cancelStep');
    changeSlots(silent, 2);
    const again = await silent.take();
    expect(again).toMatchObject({ runId, attempt: 1 });
    expect(again.assignmentId).not.toBe(offer.assignmentId);
  });
});

describe('execution and progress timeout', () => {
  it('W6 the execution timeout counts from acceptance', async () => {
    const action = unique('w6');
    const worker = await yard.connect({ actions: [action] });
    const timeoutMs = 500;
    const runId = await yard.submit({ action, executionTimeout: ms(timeoutMs) });
    const offer = await worker.next('runStep');
    expect(offer.executionTimeout).toEqual(expect.objectContaining({ seconds: 0n, nanos: 500_000_000 }));
    await timeGoesBy(yard, timeoutMs + 100);
    expect(worker.unread('cancelStep')).toEqual([]);
    worker.accept(offer);
    expect(await worker.next('cancelStep')).toMatchObject({ assignmentId: offer.assignmentId });
    const run = await ended(yard, runId);
    expect(run.state).toBe(RunState.TIMED_OUT);
    const step = present(run.steps[0]);
    expect(step.error).toMatchObject({ reason: 'EXECUTION_TIMEOUT' });
    const attempt = attemptOf(step, 1);
    expect(at(attempt.acceptTime)).toBeGreaterThanOrEqual(at(attempt.assignTime) + timeoutMs);
    expectWithin(at(attempt.endTime), at(attempt.acceptTime) + timeoutMs);
    // Its result is too late, and frees the slot that was kept for it.
    expect(await yard.worker(worker.workerId)).toMatchObject({ slotsUsed: 1 });
    worker.succeed(offer);
    expect(await worker.next('refused')).toMatchObject({ reason: 'STALE_ASSIGNMENT' });
    expect(await yard.worker(worker.workerId)).toMatchObject({ slotsUsed: 0 });
  });

  it('W6 it is a failed attempt: with attempts left the step is tried again', async () => {
    const action = unique('w6');
    const worker = await yard.connect({ actions: [action], slots: 2 });
    const runId = await yard.submit({ action, retry: { maxAttempts: 2 } }, { executionTimeout: ms(300) });
    const first = await worker.take();
    const second = await worker.take();
    expect(second).toMatchObject({ runId, attempt: 2 });
    expect(second.assignmentId).not.toBe(first.assignmentId);
    await worker.settled(worker.succeed(second));
    expect(await yard.runState(runId)).toBe('SUCCEEDED');
    expect(attemptOf(await yard.step(runId), 1).outcome).toBe('EXECUTION_TIMEOUT');
  });

  it('what ended in time is not timed out after', async () => {
    const action = unique('w6');
    const worker = await yard.connect({ actions: [action] });
    const runId = await yard.submit({ action, executionTimeout: ms(600), progressTimeout: ms(600) });
    await worker.work('done');
    const { revision } = await yard.run(runId);
    await timeGoesBy(yard, 700);
    expect(await yard.run(runId)).toMatchObject({ state: RunState.SUCCEEDED, revision });
    expect(worker.unread('cancelStep')).toEqual([]);
  });

  it('the progress timeout is the longest silence; progress and logs end it, heartbeats do not', async () => {
    const action = unique('progress');
    const worker = await yard.connect({ actions: [action] });
    const timeoutMs = 1_200;
    const runId = await yard.submit({ action, progressTimeout: ms(timeoutMs) });
    const offer = await worker.take();
    const { assignmentId } = offer;
    await timeGoesBy(yard, 500);
    worker.send({ case: 'stepProgressed', value: { assignmentId, text: 'half of it', fraction: 0.5 } });
    await timeGoesBy(yard, 500);
    await worker.settled(worker.logLines(offer, 1, [{ text: 'still there' }]));
    await timeGoesBy(yard, 500);
    // Silent for longer than the timeout but for these two.
    const spokenMs = Date.now();
    worker.send({ case: 'stepProgressed', value: { assignmentId, text: 'most of it', fraction: 0.9 } });
    await worker.heartbeat();
    expect(await yard.stepState(runId)).toBe('RUNNING');
    await timeGoesBy(yard, 800);
    const beatMs = Date.now();
    await worker.heartbeat();
    expect(await worker.next('cancelStep')).toMatchObject({ assignmentId });
    const step = present((await ended(yard, runId)).steps[0]);
    expect(step.error?.reason).toMatch(/^(PROGRESS|EXECUTION)_TIMEOUT$/);
    expect(step.error?.message).toMatch(/progress|silen/i);
    expect(await yard.runState(runId)).toBe('TIMED_OUT');
    expect(at(step.endTime)).toBeGreaterThanOrEqual(spokenMs + timeoutMs);
    expect(at(step.endTime)).toBeLessThan(beatMs + timeoutMs);
  });
});

describe('retries', () => {
  it('W7 as often as max_attempts says, with a backoff that grows up to its bound', async () => {
    const action = unique('w7');
    const worker = await yard.connect({ actions: [action] });
    const retry = { maxAttempts: 4, initialBackoff: ms(200), backoffFactor: 10, maxBackoff: ms(300) };
    const runId = await yard.submit({ action, retry });
    for (const attempt of [1, 2, 3, 4]) expect(await failNext(worker, `no ${attempt}`)).toMatchObject({ attempt });
    const run = await ended(yard, runId);
    expect(run).toMatchObject({ state: RunState.FAILED, error: { reason: 'APPLICATION' } });
    const step = present(run.steps[0]);
    expect(step.error).toMatchObject({ reason: 'APPLICATION', message: 'no 4' });
    expect(step.attempts.map(({ number, error }) => [number, error?.message])).toEqual([
      [1, 'no 1'],
      [2, 'no 2'],
      [3, 'no 3'],
      [4, 'no 4'],
    ]);
    [200, 300, 300].forEach((backoffMs, index) => {
      const failedAt = at(attemptOf(step, index + 1).endTime);
      expectWithin(at(attemptOf(step, index + 2).assignTime), failedAt + backoffMs);
    });
    await yard.quiet(worker);
    expect(worker.unread('runStep')).toEqual([]);
  });

  it('W7 while the backoff runs the step is BLOCKED, and says until when', async () => {
    const action = unique('w7');
    const worker = await yard.connect({ actions: [action] });
    const runId = await yard.submit({ action, retry: { maxAttempts: 2, initialBackoff: ms(60_000) } });
    await failNext(worker);
    const step = await yard.step(runId);
    expect(await yard.stepState(runId)).toBe('BLOCKED');
    expect(step.blockedReason).toMatch(/^BACKING_OFF/);
    expect(at(step.readyTime)).toBeCloseTo(at(attemptOf(step, 1).endTime) + 60_000, -1);
    // Its slot is free meanwhile, and it can be cancelled like whatever waits.
    const other = await yard.submit({ action });
    expect((await worker.work()).runId).toBe(other);
    await yard.admin.cancelRun({ runId });
    expect(await yard.stepState(runId)).toBe('CANCELLED');
  });

  it('W7 without a backoff at once; retryable: false never', async () => {
    const action = unique('w7');
    const worker = await yard.connect({ actions: [action] });
    const runId = await yard.submit({ action, retry: { maxAttempts: 3 } });
    await failNext(worker);
    const { assignmentId } = await worker.take();
    const error = { message: 'the input is wrong', type: 'BadInput', stack: 'at line 1', retryable: false };
    await worker.settled(worker.send({ case: 'stepFailed', value: { assignmentId, error } }));
    const run = await yard.run(runId);
    expect(run).toMatchObject({ state: RunState.FAILED, error: { reason: 'APPLICATION' } });
    expect(run.steps[0]?.error).toMatchObject({ ...error, reason: 'APPLICATION' });
    expect(run.steps[0]?.attempts).toHaveLength(2);
    await yard.quiet(worker);
    expect(worker.unread('runStep')).toEqual([]);
  });

  it('lost workers are counted apart from failures', async () => {
    const [action, name] = [unique('lost'), unique('worker')];
    const retry = { maxAttempts: 2, maxWorkerLosses: 1 };
    const runId = await yard.submit({ action, retry });
    const first = await yard.connect({ name, actions: [action] });
    await first.settled(first.accept(await first.next('runStep')));
    const second = await yard.connect({ name, actions: [action] });
    // One loss used none of the two attempts.
    await failNext(second);
    await second.settled(second.accept(await second.next('runStep')));
    expect(await yard.stepState(runId)).toBe('RUNNING');
    await yard.connect({ name, actions: [action] });
    const run = await ended(yard, runId);
    expect(run).toMatchObject({ state: RunState.CRASHED });
    expect(['WORKER_LOST', 'SUPERSEDED']).toContain(run.error?.reason);
    expect((await becomes(yard, runId, action, 'CRASHED')).attempts).toHaveLength(3);
  });
});
