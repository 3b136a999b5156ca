import { status } from '@grpc/grpc-js';
import { describe, expect, it } from 'vitest';
import { type Run, RunState, StepState } from '../../gen/yardmaster/v1/run_pb.ts';
import type { RunStep } from '../../gen/yardmaster/v1/worker_service_pb.ts';
import { nameIn, present, unique, useYard } from '../support/conformance.ts';
import { failureOf } from '../support/conformance_calls.ts';
import { optional } from '../support/conformance_labels.ts';
import {
  becomes,
  chain,
  ended,
  failNext,
  flowRun,
  ms,
  putWorkflow,
  runFlow,
  startFlow,
  states,
  statesOf,
  stepNamed,
  succeedWith,
  workOn,
} from '../support/conformance_runs.ts';
import type { WorkerStream } from '../support/conformance_stream.ts';

// A returner gets the step again after a pause; here that pause outlasts every test, so that time decides nothing.
const yard = useYard({ times: { reofferPauseMs: 600_000, reofferPauseMsMax: 600_000 } });
const small = useYard({ limits: { payloadBytesMax: 2_048 } });

/** Odd in whatever a JSON library would change: spaces, the order of keys, digits, escapes. */
const ODD_INPUT = '{ "b":1.0,\n "a" : 12345678901234567890, "é":"\\u00e9" }';
const ODD_OUTPUT = '[1e2,  {"z":0.10, "a":null} , "\\u0041\\n"]';

/** Takes an assignment of this step, the others staying unread. */
async function takeStep(worker: WorkerStream, stepName: string): Promise<RunStep> {
  const offer = await worker.next('runStep', (order) => order.stepName === stepName);
  worker.accept(offer);
  return offer;
}

function stepOf(run: Run, name: string) {
  return present(run.steps.find((step) => step.name === name));
}

describe('inputs and outputs of a workflow', () => {
  it('a root gets the input of the run; one need: the output of that step, byte for byte', async () => {
    const action = unique('chain');
    const worker = await yard.connect({ actions: [action] });
    const runId = await runFlow(yard, chain(['one', 'two', 'three'], { action }), {}, { inputJson: ODD_INPUT });
    const one = await worker.take();
    expect(one).toMatchObject({ stepName: 'one', inputJson: ODD_INPUT, runInputJson: '', attempt: 1 });
    succeedWith(worker, one, ODD_OUTPUT);
    const two = await worker.take();
    // The run's input is always there too.
    expect(two).toMatchObject({ stepName: 'two', inputJson: ODD_OUTPUT, runInputJson: ODD_INPUT });
    succeedWith(worker, two, '');
    const three = await worker.take();
    expect(three).toMatchObject({ stepName: 'three', inputJson: 'null', runInputJson: ODD_INPUT });
    succeedWith(worker, three, ODD_OUTPUT);
    const run = await ended(yard, runId);
    expect(run).toMatchObject({ state: RunState.SUCCEEDED, inputJson: ODD_INPUT, outputJson: ODD_OUTPUT });
    expect(run.error).toBeUndefined();
    expect(stepOf(run, 'one').outputJson).toBe(ODD_OUTPUT);
  });

  it('several needs: an object of the outputs by the names of their steps; several sinks likewise', async () => {
    const action = unique('diamond');
    const worker = await yard.connect({ actions: [action], slots: 4 });
    const runId = await runFlow(
      yard,
      [
        { name: 'left', action },
        { name: 'right "hand"', action },
        { name: 'join', action, needs: ['right "hand"', 'left'] },
        { name: 'alone', action },
      ],
      {},
      { inputJson: '"in"' },
    );
    const [left, right] = [await takeStep(worker, 'left'), await takeStep(worker, 'right "hand"')];
    for (const root of [left, right]) expect(root.inputJson).toBe('"in"');
    succeedWith(worker, right, ODD_OUTPUT);
    await worker.settled(succeedWith(worker, await takeStep(worker, 'alone'), '12345678901234567890'));
    expect((await stepNamed(yard, runId, 'join')).blockedReason).toMatch(/^NEEDS/);
    expect((await stepNamed(yard, runId, 'join')).blockedReason).toContain('left');
    succeedWith(worker, left, '{"n": 1.0}');
    const join = await takeStep(worker, 'join');
    expect(JSON.parse(join.inputJson)).toEqual({ left: { n: 1 }, 'right "hand"': JSON.parse(ODD_OUTPUT) });
    // Each output in it as the worker sent it.
    for (const part of ['{"n": 1.0}', ODD_OUTPUT]) expect(join.inputJson).toContain(part);
    expect(join.runInputJson).toBe('"in"');
    succeedWith(worker, join, '"joined"');
    const run = await ended(yard, runId);
    expect(run.outputJson).toContain('12345678901234567890');
    expect(Object.keys(JSON.parse(run.outputJson)).sort()).toEqual(['alone', 'join']);
    expect(JSON.parse(run.outputJson).join).toBe('joined');
  });

  it('whatever its steps are called', async () => {
    const action = unique('names');
    const worker = await yard.connect({ actions: [action], slots: 4 });
    const names = ['__proto__', 'constructor', 'toString', '1'];
    const runId = await runFlow(yard, [
      ...names.map((name) => ({ name, action })),
      { name: 'join', action, needs: names },
    ]);
    for (const name of names) worker.succeed(await takeStep(worker, name), `of ${name}`);
    const join = await takeStep(worker, 'join');
    const entries = Object.entries(JSON.parse(join.inputJson)).sort();
    expect(entries).toEqual(names.map((name) => [name, `of ${name}`]).sort());
    await worker.settled(worker.succeed(join));
    expect((await yard.run(runId)).state).toBe(RunState.SUCCEEDED);
  });

  it('a need named twice is one need', async () => {
    const action = unique('twice');
    const worker = await yard.connect({ actions: [action] });
    await runFlow(yard, [
      { name: 'one', action },
      { name: 'two', action, needs: ['one', 'one'] },
    ]);
    succeedWith(worker, await worker.take(), ODD_OUTPUT);
    expect(await worker.take()).toMatchObject({ stepName: 'two', inputJson: ODD_OUTPUT });
  });

  it('a step that is tried again gets the same input', async () => {
    const action = unique('again');
    const worker = await yard.connect({ actions: [action] });
    const two = { retry: { maxAttempts: 2 } };
    await runFlow(yard, chain(['one', 'two'], { action }, { two }), {}, { inputJson: ODD_INPUT });
    succeedWith(worker, await worker.take(), ODD_OUTPUT);
    const first = await failNext(worker);
    const again = await worker.take();
    expect(again).toMatchObject({ stepName: 'two', attempt: 2, inputJson: ODD_OUTPUT, runInputJson: ODD_INPUT });
    expect(again.stepId).toBe(first.stepId);
  });

  it('a joined input over the limit fails the step: INPUT_TOO_LARGE, with both sizes', async () => {
    const action = unique('large');
    const worker = await small.connect({ actions: [action], slots: 4 });
    const runId = await runFlow(small, [
      { name: 'left', action },
      { name: 'right', action },
      { name: 'join', action, needs: ['left', 'right'], retry: { maxAttempts: 3 } },
      { name: 'after', action, needs: ['join'] },
      { name: 'single', action, needs: ['left'] },
    ]);
    const half = JSON.stringify('x'.repeat(1_100));
    for (const name of ['left', 'right']) succeedWith(worker, await takeStep(worker, name), half);
    // One of them alone is within it.
    const single = await takeStep(worker, 'single');
    expect(single.inputJson).toBe(half);
    worker.succeed(single);
    const run = await ended(small, runId);
    expect(run).toMatchObject({ state: RunState.FAILED, error: { reason: 'INPUT_TOO_LARGE' } });
    expect(statesOf(run)).toMatchObject({ join: 'FAILED', after: 'SKIPPED', single: 'SUCCEEDED' });
    const { error, attempts } = stepOf(run, 'join');
    expect(attempts).toEqual([]);
    expect(error).toMatchObject({ reason: 'INPUT_TOO_LARGE' });
    const numbers = (
      present(error)
        .message.replaceAll(/(?<=\d)[,_](?=\d)/g, '')
        .match(/\d+/g) ?? []
    ).map(Number);
    expect(numbers).toContain(2_048);
    expect(numbers.some((size) => size > 2 * half.length)).toBe(true);
    expect(stepOf(run, 'after').error).toMatchObject({ reason: 'CAUSED_BY', causedById: stepOf(run, 'join').stepId });
  });

  it('a wide and a deep graph run to their end', async () => {
    const action = unique('graph');
    const worker = await yard.connect({ actions: [action], slots: 50 });
    const width = 40;
    const middle = Array.from({ length: width }, (_, index) => `middle-${index}`);
    const runId = await runFlow(yard, [
      { name: 'first', action },
      ...middle.map((name) => ({ name, action, needs: ['first'] })),
      { name: 'last', action, needs: middle },
    ]);
    await workOn(worker, 'first', 'go');
    for (let index = 0; index < width; index++) await worker.work(index);
    const last = await worker.take();
    expect(last.stepName).toBe('last');
    expect(Object.keys(JSON.parse(last.inputJson)).sort()).toEqual([...middle].sort());
    await worker.settled(worker.succeed(last, 'done'));
    expect(await yard.run(runId)).toMatchObject({ state: RunState.SUCCEEDED, outputJson: '"done"' });
  });
});

describe('the course of a workflow', () => {
  it('a failed step skips what needs it, CAUSED_BY, and independent branches go on', async () => {
    const action = unique('branches');
    const worker = await yard.connect({ actions: [action], slots: 4 });
    const runId = await runFlow(yard, [
      { name: 'bad', action },
      { name: 'child', action, needs: ['bad'] },
      { name: 'grandchild', action, needs: ['child'] },
      { name: 'good', action },
      { name: 'heir', action, needs: ['good'] },
      { name: 'both', action, needs: ['heir', 'grandchild'] },
    ]);
    const good = await takeStep(worker, 'good');
    await worker.settled(worker.fail(await takeStep(worker, 'bad'), 'no luck'));
    expect(await states(yard, runId)).toMatchObject({
      bad: 'FAILED',
      child: 'SKIPPED',
      grandchild: 'SKIPPED',
      good: 'RUNNING',
      heir: 'BLOCKED',
    });
    expect(await yard.runState(runId)).toBe('RUNNING');
    worker.succeed(good);
    worker.succeed(await takeStep(worker, 'heir'));
    const run = await ended(yard, runId);
    expect(run).toMatchObject({ state: RunState.FAILED, error: { reason: 'APPLICATION' }, outputJson: '' });
    expect(run.error?.message).toContain('no luck');
    expect(statesOf(run)).toEqual({
      bad: 'FAILED',
      child: 'SKIPPED',
      grandchild: 'SKIPPED',
      good: 'SUCCEEDED',
      heir: 'SUCCEEDED',
      both: 'SKIPPED',
    });
    expect(stepOf(run, 'child').error).toMatchObject({ reason: 'CAUSED_BY', causedById: stepOf(run, 'bad').stepId });
    const causes = ['bad', 'child', 'grandchild'].map((name) => stepOf(run, name).stepId);
    for (const name of ['grandchild', 'both']) {
      expect(stepOf(run, name).error).toMatchObject({ reason: 'CAUSED_BY' });
      expect(causes).toContain(stepOf(run, name).error?.causedById);
      expect(stepOf(run, name).attempts).toEqual([]);
    }
    await yard.quiet(worker);
    expect(worker.unread('runStep')).toEqual([]);
  });

  it('the first step that ends without success decides the state of the run', async () => {
    const action = unique('decides');
    const worker = await yard.connect({ actions: [action], slots: 4 });
    const flow = await putWorkflow(yard, [
      { name: 'fails', action },
      { name: 'stalls', action, executionTimeout: ms(300) },
      { name: 'waits', action: unique('nobody'), needs: ['fails'] },
    ]);
    const failedFirst = await startFlow(yard, flow.name);
    const fails = await takeStep(worker, 'fails');
    await worker.settled(worker.fail(fails));
    await takeStep(worker, 'stalls');
    expect(await ended(yard, failedFirst)).toMatchObject({ state: RunState.FAILED, error: { reason: 'APPLICATION' } });
    expect((await stepNamed(yard, failedFirst, 'stalls')).state).toBe(StepState.TIMED_OUT);

    const stalledFirst = await startFlow(yard, flow.name);
    const later = await takeStep(worker, 'fails');
    await takeStep(worker, 'stalls');
    await becomes(yard, stalledFirst, 'stalls', 'TIMED_OUT');
    expect(await yard.runState(stalledFirst)).toBe('RUNNING');
    worker.fail(later);
    expect(await ended(yard, stalledFirst)).toMatchObject({
      state: RunState.TIMED_OUT,
      error: { reason: 'EXECUTION_TIMEOUT' },
    });
  });

  it('a run is PENDING until a step is accepted, and RUNNING until all have ended', async () => {
    const action = unique('course');
    const worker = await yard.connect({ actions: [action] });
    const runId = await runFlow(yard, chain(['one', 'two'], { action }));
    expect(await yard.runState(runId)).toBe('PENDING');
    expect(await states(yard, runId)).toEqual({ one: 'ASSIGNED', two: 'BLOCKED' });
    const one = await worker.take();
    await worker.settled(worker.succeed(one));
    const between = await yard.run(runId);
    expect(nameIn(RunState, between.state)).toBe('RUNNING');
    expect(between.startTime).toBeDefined();
    expect(between.endTime).toBeUndefined();
    expect(statesOf(between)).toEqual({ one: 'SUCCEEDED', two: 'ASSIGNED' });
    await worker.work();
    const run = await yard.run(runId);
    expect(run.endTime).toEqual(stepOf(run, 'two').endTime);
    expect(run.revision).toBeGreaterThan(between.revision);
    expect(run.steps.map(({ name }) => name)).toEqual(['one', 'two']);
  });

  it('steps are given to workers as their own definition and the run together ask', async () => {
    const action = unique('asks');
    const gpu = await yard.connect({ tags: ['gpu', 'eu'], actions: [action], labels: { a: 1 } });
    const cpu = await yard.connect({ tags: ['cpu', 'eu'], actions: [action], labels: { a: 1 } });
    const steps = chain(['one', 'two'], { action }, { one: { runsOn: ['gpu'] }, two: { runsOn: ['cpu'] } });
    const { name } = await putWorkflow(yard, steps);
    await startFlow(yard, name, { runsOn: ['eu'], desiredLabels: [optional('a')] });
    await workOn(gpu, 'one');
    await workOn(cpu, 'two');
    const elsewhere = await startFlow(yard, name, { runsOn: ['us'] });
    expect(await states(yard, elsewhere)).toEqual({ one: 'PENDING', two: 'BLOCKED' });
  });

  it('a later step keeps the place it got when it became ready', async () => {
    const action = unique('place');
    const worker = await yard.connect({ actions: [action] });
    const flow = await runFlow(yard, chain(['one', 'two'], { action }));
    const one = await worker.take();
    const fresh = await yard.submit({ action });
    worker.succeed(one);
    // The other run was ready before the second step of this one.
    expect((await worker.work()).runId).toBe(fresh);
    expect((await worker.work()).runId).toBe(flow);
  });
});

describe('runs of a workflow', () => {
  it('run the newest version, or the one named; what is unknown is NOT_FOUND', async () => {
    const [name, action] = [unique('flow'), unique('version')];
    await putWorkflow(yard, [{ name: 'old', action }], { name });
    const worker = await yard.connect({ actions: [action], slots: 4 });
    const underWay = await startFlow(yard, name);
    await putWorkflow(yard, [{ name: 'new', action }], { name });
    const newest = await startFlow(yard, name);
    const first = await startFlow(yard, name, { workflowVersion: 1 });
    await yard.quiet(worker);
    expect(worker.unread('runStep').map(({ runId, stepName, workflow }) => [runId, stepName, workflow])).toEqual([
      [underWay, 'old', name],
      [newest, 'new', name],
      [first, 'old', name],
    ]);
    expect(await yard.run(newest)).toMatchObject({ workflow: name, workflowVersion: 2 });
    expect(await yard.run(first)).toMatchObject({ workflow: name, workflowVersion: 1 });
    const notFound = { code: status.NOT_FOUND, reason: 'WORKFLOW_NOT_FOUND', domain: 'yardmaster' };
    expect(await failureOf(startFlow(yard, name, { workflowVersion: 3 }))).toMatchObject(notFound);
    const unknown = unique('unknown');
    const end = await failureOf(startFlow(yard, unknown));
    expect(end).toMatchObject(notFound);
    expect(end.message).toContain(unknown);
    expect((await yard.admin.listRuns({ workflow: name, anyState: true })).runs).toHaveLength(3);
  });

  it('are numbered 1, 2, 3 … within their workflow, whatever its version, and found by number', async () => {
    const [name, other, action] = [unique('flow'), unique('flow'), unique('number')];
    await putWorkflow(yard, [{ name: 'one', action }], { name });
    await putWorkflow(yard, [{ name: 'one', action }], { name: other });
    const single = await startFlow(yard, name);
    const { runIds } = await yard.admin.scheduleRuns({ runs: [flowRun(name), flowRun(other), flowRun(name)] });
    await putWorkflow(yard, [{ name: 'two', action }], { name });
    const last = await startFlow(yard, name);
    const numbered = [single, runIds[0], runIds[2], last];
    for (const [index, runId] of numbered.entries()) {
      const number = BigInt(index + 1);
      expect((await yard.admin.getRun({ workflow: name, number })).run).toMatchObject({ runId, number });
    }
    expect((await yard.admin.getRun({ workflow: other, number: 1n })).run?.runId).toBe(runIds[1]);
    for (const request of [
      { workflow: name, number: 5n },
      { workflow: unique('unknown'), number: 1n },
    ])
      expect(await failureOf(yard.admin.getRun(request))).toMatchObject({ code: status.NOT_FOUND });
    expect(await failureOf(yard.admin.getRun({ workflow: name }))).toMatchObject({ code: status.INVALID_ARGUMENT });
    expect((await yard.run(await yard.submit({ action }))).number).toBe(0n);

    // The worker is told the number; and many at once leave no gap.
    const worker = await yard.connect({ actions: [action] });
    expect(await worker.take()).toMatchObject({ runId: single, runNumber: 1n, workflow: name });
    const many = await Promise.all(Array.from({ length: 20 }, () => startFlow(yard, name)));
    const numbers = await Promise.all(many.map(async (runId) => Number((await yard.run(runId)).number)));
    expect(numbers.sort((a, b) => a - b)).toEqual(Array.from({ length: 20 }, (_, index) => index + 5));
  });

  it('a request that comes twice takes one number', async () => {
    const [name, requestId] = [unique('flow'), unique('request')];
    await putWorkflow(yard, [{ name: 'one', action: 'train' }], { name });
    const first = await startFlow(yard, name, { requestId });
    expect(await startFlow(yard, name, { requestId })).toBe(first);
    const end = await failureOf(startFlow(yard, name, { requestId, workflowVersion: 1, inputJson: '1' }));
    expect(end).toMatchObject({ code: status.ALREADY_EXISTS, reason: 'REQUEST_ID_REUSED' });
    expect((await yard.run(await startFlow(yard, name))).number).toBe(2n);
  });

  it('are listed by workflow, with their steps, in pages', async () => {
    const [name, action] = [unique('flow'), unique('list')];
    const worker = await yard.connect({ actions: [action] });
    await putWorkflow(yard, chain(['one', 'two'], { action }), { name });
    const first = await startFlow(yard, name, { inputJson: '"in"' });
    await worker.work('out');
    await worker.work('out');
    const [second, third] = [await startFlow(yard, name), await startFlow(yard, name)];
    await yard.submit({ action });
    const live = await yard.admin.listRuns({ workflow: name });
    expect(live.runs.map(({ runId }) => runId)).toEqual([third, second]);
    const all = await yard.admin.listRuns({ workflow: name, anyState: true, oldestFirst: true });
    expect(all.runs.map(({ runId, number }) => [runId, number])).toEqual([
      [first, 1n],
      [second, 2n],
      [third, 3n],
    ]);
    expect(all.runs[0]).toMatchObject({ inputJson: '', outputJson: '' });
    expect(all.runs[0]?.steps.map(({ name: stepName, outputJson }) => [stepName, outputJson])).toEqual([
      ['one', ''],
      ['two', ''],
    ]);
    const page = await yard.admin.listRuns({ workflow: name, anyState: true, oldestFirst: true, pageSize: 2 });
    const rest = await yard.admin.listRuns({
      workflow: name,
      anyState: true,
      oldestFirst: true,
      pageSize: 2,
      pageToken: page.nextPageToken,
    });
    expect([...page.runs, ...rest.runs].map(({ runId }) => runId)).toEqual([first, second, third]);
    // By the action of any of its steps.
    const byAction = await yard.admin.listRuns({ workflow: name, action, anyState: true });
    expect(byAction.runs).toHaveLength(3);
  });
});
