import { status } from '@grpc/grpc-js';
import { describe, expect, it } from 'vitest';
import { RunState, StepState, Verdict } from '../../gen/yardmaster/v1/run_pb.ts';
import { WORKERS_PER_SLICE } from '../../src/server/rpc/explain.ts';
import {
  nameIn,
  present,
  type RunRest,
  runOf,
  type StepInit,
  unique,
  until,
  useYard,
  type Yard,
} from '../support/conformance.ts';
import { failureOf } from '../support/conformance_calls.ts';
import { desired } from '../support/conformance_labels.ts';
import type { HelloInit } from '../support/conformance_stream.ts';

const yard = useYard();
// Forgets what ended at once: what is asked about it is then answered from the store.
const forgetful = useYard({ times: { endedInMemoryMs: 0 } });

const NOWHERE_ID = '01900000-0000-7000-8000-000000000000';
const memoryAbove256 = desired('memory', 'GREATER_THAN', 256);

/** A namespace with no workers but the test's own: an explanation looks at all that are registered. */
async function space(there: Yard = yard) {
  const name = unique('space');
  const caller = { 'yardmaster-namespace': name };
  await there.admin.putNamespace({ namespace: { name } });
  return {
    caller,
    async connect(hello: HelloInit) {
      const stream = there.open(caller);
      await stream.hello(hello);
      return stream;
    },
    async submit(step: StepInit, rest: RunRest = {}) {
      const { run } = await there.admin.scheduleRun(runOf(step, rest), caller);
      return present(run).runId;
    },
    async run(runId: string) {
      return present((await there.admin.getRun({ runId }, caller)).run);
    },
    /** The one step that is explained. */
    async explain(runId: string, stepName = '') {
      const { steps, nextPageToken } = await there.admin.explainRun({ runId, stepName }, caller);
      expect([steps.length, nextPageToken]).toEqual([1, '']);
      const { state, explanation } = present(steps[0]);
      const { verdict, ...rest } = present(explanation);
      return { ...rest, verdict: nameIn(Verdict, verdict), state: nameIn(StepState, state) };
    },
  };
}

describe('ExplainRun of a step that waits', () => {
  it('has the verdict, the place in the queue, the time left and every worker with both values', async () => {
    const { connect, submit, explain } = await space();
    await connect({ name: 'far', actions: ['wait'], tags: ['cpu'], labels: { memory: 64 } });
    await connect({ name: 'near', actions: ['wait'], tags: ['gpu'], labels: { memory: 128 } });
    const rest = { runsOn: ['gpu'], desiredLabels: [memoryAbove256] };
    await submit({ action: 'wait' }, rest);
    await submit({ action: 'other' });
    const runId = await submit({ action: 'wait' }, rest);
    const explanation = await explain(runId);
    expect(explanation).toMatchObject({
      state: 'PENDING',
      verdict: 'UNSATISFIABLE_NOW',
      aheadInDemand: 1n,
      aheadInNamespace: 2n,
      counts: [
        { clause: 'LABEL', workersFailing: 2 },
        { clause: 'RUNS_ON', workersFailing: 1 },
      ],
      workersTotal: 2,
      workers: [
        { workerName: 'near', failed: [{ clause: 'LABEL', key: 'memory', has: '128', needs: '> 256' }] },
        {
          workerName: 'far',
          failed: [
            { clause: 'RUNS_ON', has: 'cpu', needs: 'gpu' },
            { clause: 'LABEL', key: 'memory', has: '64', needs: '> 256' },
          ],
        },
      ],
    });
    expect(explanation.summary).toContain('"near", has memory 128 (needs > 256)');
    const leftSeconds = Number(present(explanation.scheduleDeadline).seconds - present(explanation.asOfTime).seconds);
    expect(leftSeconds).toBeGreaterThan(200);
    expect(leftSeconds).toBeLessThanOrEqual(301);
  });

  it('pages through more workers than are looked at in one slice, none missed and none twice', async () => {
    const { caller, submit } = await space();
    const count = WORKERS_PER_SLICE + 44;
    const names = Array.from({ length: count }, (_, index) => `worker-${index}`);
    await Promise.all(names.map((name) => yard.admin.registerWorker({ name }, caller)));
    const runId = await submit({ action: 'never' });
    const seen: string[] = [];
    let pageToken = '';
    do {
      const page = await yard.admin.explainRun({ runId, pageSize: 70, pageToken }, caller);
      const explanation = present(page.steps[0]?.explanation);
      expect(explanation).toMatchObject({ verdict: Verdict.NO_SUCH_ACTION, workersTotal: count });
      seen.push(...explanation.workers.map(({ workerName }) => workerName));
      pageToken = page.nextPageToken;
    } while (pageToken !== '');
    expect(seen).toHaveLength(count);
    expect(new Set(seen)).toEqual(new Set(names));
    const { nextPageToken } = await yard.admin.explainRun({ runId, pageSize: 70 }, caller);
    const other = yard.admin.explainRun({ runId, stepName: 'never', pageToken: nextPageToken }, caller);
    expect(await failureOf(other)).toMatchObject({ reason: 'INVALID_PAGE_TOKEN' });
    // Another namespace's run does not exist.
    expect(await failureOf(yard.admin.explainRun({ runId }))).toMatchObject({ reason: 'RUN_NOT_FOUND' });
  });
});

describe('ExplainRun of a run of several steps', () => {
  it('explains those that have not ended, and any by its name', async () => {
    const { caller, connect, explain } = await space();
    const steps = [
      { name: 'first', action: 'first' },
      { name: 'then', action: 'then', needs: ['first'] },
      { name: 'last', action: 'last', needs: ['then'] },
    ];
    await yard.admin.putWorkflow({ name: 'flow', steps }, caller);
    const { run } = await yard.admin.scheduleRun({ what: { case: 'workflow', value: 'flow' } }, caller);
    const { runId } = present(run);
    const verdicts = async () => {
      const answer = await yard.admin.explainRun({ runId }, caller);
      return answer.steps.map(({ stepName, explanation }) => [stepName, nameIn(Verdict, present(explanation).verdict)]);
    };
    expect(await verdicts()).toEqual([
      ['first', 'NO_SUCH_ACTION'],
      ['then', 'BLOCKED_BY'],
      ['last', 'BLOCKED_BY'],
    ]);
    expect((await explain(runId, 'last')).summary).toBe('waits for step "then" to succeed');
    const worker = await connect({ name: 'only', actions: ['first'] });
    await worker.work();
    expect(await verdicts()).toEqual([
      ['then', 'NO_SUCH_ACTION'],
      ['last', 'BLOCKED_BY'],
    ]);
    expect(await explain(runId, 'first')).toMatchObject({ verdict: 'ENDED', state: 'SUCCEEDED' });
    expect(await failureOf(yard.admin.explainRun({ runId, stepName: 'nameless' }, caller))).toMatchObject({
      code: status.NOT_FOUND,
      reason: 'STEP_NOT_FOUND',
    });
  });
});

describe('ExplainRun of a placed step', () => {
  it('tells why that worker, with the runners-up, also after a restart', async () => {
    const { connect, submit, explain, run } = await space();
    const alpha = await connect({ name: 'alpha', actions: ['place'], labels: { fast: 1 } });
    await connect({ name: 'beta', actions: ['place'] });
    const fast = { ...desired('fast', 'EQUAL', 1), required: false, weight: 70 };
    const runId = await submit({ action: 'place' }, { desiredLabels: [fast] });
    const { assignmentId } = await alpha.take();
    await alpha.settled(alpha.sequence);
    const why = {
      verdict: 'ASSIGNED',
      state: 'RUNNING',
      summary: 'given to "alpha", before "beta" and 1 in all: its highest weight is 70, not 0',
      workers: [
        { workerName: 'alpha', failed: [], rank: { highestWeight: 70n, weightSum: 70n } },
        { workerName: 'beta', failed: [], rank: { highestWeight: 0n } },
      ],
      workersTotal: 2,
    };
    expect(await explain(runId)).toMatchObject(why);
    expect((await explain(runId)).scheduleDeadline).toBeUndefined();
    expect((await run(runId)).steps[0]?.attempts[0]).toMatchObject({ assignmentId, why: { summary: why.summary } });
    await yard.restart();
    expect(await explain(runId)).toMatchObject(why);
  });
});

describe.each([
  ['in memory', yard],
  ['only in the store', forgetful],
])('ExplainRun of a run that has ended and is %s', (_where, there) => {
  it('tells why nobody took it, as recorded with the timeout', async () => {
    const { connect, submit, explain, run } = await space(there);
    await connect({ name: 'alpha', actions: ['wait'], labels: { memory: 128 } });
    const step = { action: 'wait', scheduleTimeout: { seconds: 0n, nanos: 50_000_000 } };
    const runId = await submit(step, { desiredLabels: [memoryAbove256] });
    await until(async () => (await run(runId)).state === RunState.TIMED_OUT, 'the run timed out');
    const explanation = await explain(runId);
    const cause = 'no worker for "wait" has memory > 256: the nearest, "alpha", has 128';
    expect(explanation).toMatchObject({
      verdict: 'ENDED',
      state: 'TIMED_OUT',
      counts: [{ clause: 'LABEL', workersFailing: 1 }],
      workers: [{ workerName: 'alpha', failed: [{ clause: 'LABEL', key: 'memory', has: '128', needs: '> 256' }] }],
      workersTotal: 1,
    });
    expect(explanation.scheduleDeadline).toBeUndefined();
    expect(explanation.summary).toMatch(/^ended TIMED_OUT: no worker took the step within \d+ ms: /);
    expect(explanation.summary.endsWith(cause)).toBe(true);
    const { error } = present((await run(runId)).steps[0]);
    expect(error?.explanation).toMatchObject({ verdict: Verdict.UNSATISFIABLE_NOW, summary: cause });
  });

  it('tells why the last worker got it', async () => {
    const { connect, submit, explain } = await space(there);
    const worker = await connect({ name: 'gamma', actions: ['do'] });
    const runId = await submit({ action: 'do' });
    await worker.work();
    expect(await explain(runId)).toMatchObject({
      verdict: 'ENDED',
      summary: 'ended SUCCEEDED: given to "gamma", the only worker that could take it',
      workers: [{ workerName: 'gamma' }],
    });
  });

  it('says so when it was cancelled before anybody had it', async () => {
    const { caller, submit, explain } = await space(there);
    const runId = await submit({ action: 'do' });
    await there.admin.cancelRun({ runId, reason: 'not needed' }, caller);
    expect(await explain(runId)).toMatchObject({ verdict: 'ENDED', workers: [], workersTotal: 0 });
    expect((await explain(runId)).summary).toMatch(/^ended CANCELLED: not needed/);
  });
});

it('of a run that does not exist is NOT_FOUND', async () => {
  for (const runId of ['r', NOWHERE_ID]) {
    expect(await failureOf(yard.admin.explainRun({ runId }))).toMatchObject({
      code: status.NOT_FOUND,
      reason: 'RUN_NOT_FOUND',
    });
  }
});
