import { toBinary } from '@bufbuild/protobuf';
import { status } from '@grpc/grpc-js';
import { describe, expect, it } from 'vitest';
import {
  type Explanation,
  ExplanationSchema,
  RunState,
  StepState,
  Sticky,
  Verdict,
  type WorkerReport,
} from '../../gen/yardmaster/v1/run_pb.ts';
import { DeviceKind } from '../../gen/yardmaster/v1/worker_pb.ts';
import { nameIn, present, type RunRest, runOf, type StepInit, unique, until, useYard } from '../support/conformance.ts';
import { failureOf } from '../support/conformance_calls.ts';
import { desired, optional } from '../support/conformance_labels.ts';
import { at, chain, connectIn, ended, failNext, ms, newNamespace, runFlow } from '../support/conformance_runs.ts';

// A returner gets the step again after a pause; here that pause outlasts every test, so that time decides nothing.
const yard = useYard({ times: { reofferPauseMs: 600_000, reofferPauseMsMax: 600_000 } });

const RECORDED_BYTES_MAX = 8 * 1024;
const RECORDED_MISSES_MAX = 10;
const RUNNERS_UP_MAX = 3;

type Metadata = Record<string, string>;

async function explain(runId: string, stepName = '', metadata: Metadata = {}): Promise<Explanation> {
  const { steps } = await yard.admin.explainRun({ runId, stepName }, metadata);
  return present(present(steps[0]).explanation);
}

async function verdictOf(runId: string, stepName = ''): Promise<string> {
  const { verdict, summary } = await explain(runId, stepName);
  expect(summary).not.toBe('');
  return nameIn(Verdict, verdict);
}

async function submitIn(metadata: Metadata, step: StepInit, rest: RunRest = {}): Promise<string> {
  return present((await yard.admin.scheduleRun(runOf(step, rest), metadata)).run).runId;
}

/** `CLAUSE` or `CLAUSE key`, in the order of the alphabet. */
function clausesOf({ failed }: WorkerReport): string[] {
  return failed.map(({ clause, key }) => (clause === 'LABEL' ? `LABEL ${key}` : clause)).sort();
}

function clauseOf(report: WorkerReport, clause: string, key?: string) {
  return present(report.failed.find((found) => found.clause === clause && (key === undefined || found.key === key)));
}

describe('why', () => {
  it('Y1 every verdict: what has a worker, and what has ended', async () => {
    const action = unique('y1');
    const worker = await yard.connect({ actions: [action], slots: 2 });
    const runId = await yard.submit({ action });
    const offer = await worker.next('runStep');
    expect(await verdictOf(runId)).toBe('ASSIGNED');
    await worker.settled(worker.accept(offer));
    expect(await verdictOf(runId)).toBe('ASSIGNED');
    await worker.settled(worker.succeed(offer));
    expect(await verdictOf(runId, action)).toBe('ENDED');
    expect((await explain(runId, action)).summary).toContain('SUCCEEDED');
  });

  it('Y1 every verdict: what is not ready', async () => {
    const [action, key] = [unique('y1'), unique('dataset')];
    const worker = await yard.connect({ actions: [action], slots: 10 });
    const flow = await runFlow(yard, chain(['one', 'two'], { action }));
    const one = await worker.take();
    expect(await verdictOf(flow, 'two')).toBe('BLOCKED_BY');
    expect((await explain(flow, 'two')).summary).toContain('one');
    const both = (await yard.admin.explainRun({ runId: flow })).steps;
    expect(both.map(({ stepName, state }) => [stepName, nameIn(StepState, state)])).toEqual([
      ['one', 'RUNNING'],
      ['two', 'BLOCKED'],
    ]);
    const dependent = await yard.submit({ action }, { dependsOnRunIds: [flow] });
    expect(await verdictOf(dependent)).toBe('BLOCKED_BY');
    expect((await explain(dependent)).summary).toContain(flow);

    await yard.submit({ action }, { concurrency: { key } });
    const keyed = await worker.take();
    const held = await yard.submit({ action }, { concurrency: { key } });
    expect(await verdictOf(held)).toBe('HELD');
    expect((await explain(held)).summary).toContain(key);

    const backing = await yard.submit({ action, retry: { maxAttempts: 2, initialBackoff: ms(60_000) } });
    await failNext(worker);
    expect(await verdictOf(backing)).toBe('BACKING_OFF');
    worker.succeed(keyed);
    await worker.settled(worker.succeed(one));
    // Without a name: every step that has not ended.
    expect((await yard.admin.explainRun({ runId: flow })).steps.map(({ stepName }) => stepName)).toEqual(['two']);
    expect(await verdictOf(flow, 'one')).toBe('ENDED');
  });

  it('Y1 every verdict: what waits for a worker', async () => {
    const [action, busy] = [unique('y1'), unique('y1-busy')];
    const none = await yard.submit({ action });
    expect(await verdictOf(none)).toBe('NO_SUCH_ACTION');

    const labels = { memory: 128 };
    const worker = await yard.connect({ tags: ['cpu'], actions: [action, busy], slots: 1, labels });
    expect((await worker.take()).runId).toBe(none);
    const tags = await yard.submit({ action }, { runsOn: ['gpu'] });
    expect(await verdictOf(tags)).toBe('UNSATISFIABLE_NOW');
    const memory = await yard.submit({ action, desiredLabels: [desired('memory', 'GREATER_THAN', 256)] });
    expect(await verdictOf(memory)).toBe('UNSATISFIABLE_NOW');
    const full = await yard.submit({ action });
    expect(await verdictOf(full)).toBe('BUSY');
    const pinnedHere = await yard.submit({ action }, { pinToWorkerId: worker.workerId, sticky: Sticky.HARD });
    expect(await verdictOf(pinnedHere)).toBe('BUSY');

    await yard.admin.drainWorker({ workerId: worker.workerId });
    expect(await verdictOf(full)).toBe('DRAINING');
    await yard.admin.resumeWorker({ workerId: worker.workerId });
    expect(await verdictOf(full)).toBe('BUSY');

    await worker.leave();
    expect(await verdictOf(full)).toBe('NOT_READY');
    // Somebody else could take it; the run wants nobody but the one that is away.
    const other = await yard.connect({ actions: [action], slots: 1, labels });
    await other.take();
    expect(await verdictOf(pinnedHere)).toBe('STICKY_WORKER_AWAY');
    const { name } = await yard.worker(worker.workerId);
    expect((await explain(pinnedHere)).summary).toContain(name);
  });

  it('Y2 every failing clause of every worker, with both values, nearest miss first', async () => {
    const { metadata } = await newNamespace(yard);
    const [action, filler] = [unique('train'), unique('filler')];
    const fits = { tags: ['gpu', 'ssd'], actions: [action], labels: { memory: 512, zone: 'b' } };
    const connect = (hello: object) => connectIn(yard, metadata, { ...fits, ...hello });
    const pinned = await connect({ actions: [action, filler], slots: 1 });
    const step = {
      action,
      runsOn: ['ssd'],
      desiredLabels: [desired('memory', 'GREATER_THAN', 256), desired('zone', 'IN', ['a', 'b'])],
    };
    const runId = await submitIn(metadata, step, {
      runsOn: ['gpu'],
      sticky: Sticky.HARD,
      pinToWorkerId: pinned.workerId,
    });
    // It gives the step back, and fills up with other work.
    await pinned.settled(pinned.giveBack(await pinned.next('runStep')));
    await submitIn(metadata, { action: filler });
    await pinned.take();

    const right = await connect({});
    const small = await connect({ labels: { memory: 256, zone: 'b' } });
    const text = await connect({ labels: { memory: '512', zone: 'c' } });
    const bare = await connect({ labels: {} });
    const far = await connect({ tags: ['cpu'], actions: [filler], labels: { memory: 128, zone: 'c' }, slots: 1 });
    await submitIn(metadata, { action: filler });
    await far.take();
    const draining = await connect({});
    await yard.admin.drainWorker({ workerId: draining.workerId }, metadata);
    const gone = await connect({});
    await gone.leave();

    const whole = await explain(runId, '', metadata);
    expect(nameIn(Verdict, whole.verdict)).toBe('BUSY');
    expect(whole.workersTotal).toBe(8);
    expect(whole.workers).toHaveLength(8);
    const reportOf = ({ workerId }: { workerId: string }) =>
      present(whole.workers.find((report) => report.workerId === workerId));
    expect({
      pinned: clausesOf(reportOf(pinned)),
      right: clausesOf(reportOf(right)),
      small: clausesOf(reportOf(small)),
      text: clausesOf(reportOf(text)),
      bare: clausesOf(reportOf(bare)),
      far: clausesOf(reportOf(far)),
      draining: clausesOf(reportOf(draining)),
      gone: clausesOf(reportOf(gone)),
    }).toEqual({
      pinned: ['RETURNED_BEFORE', 'SLOT'],
      right: ['STICKY'],
      small: ['LABEL memory', 'STICKY'],
      text: ['LABEL memory', 'LABEL zone', 'STICKY'],
      bare: ['LABEL memory', 'LABEL zone', 'STICKY'],
      far: ['ACTION', 'LABEL memory', 'LABEL zone', 'RUNS_ON', 'SLOT', 'STICKY'],
      draining: ['DRAINING', 'STICKY'],
      gone: ['NOT_READY', 'STICKY'],
    });
    for (const report of whole.workers) expect(report.rank).toBeUndefined();

    // Both values of each.
    expect(clauseOf(reportOf(small), 'LABEL', 'memory')).toMatchObject({ has: '256', needs: '> 256' });
    expect(clauseOf(reportOf(far), 'LABEL', 'memory')).toMatchObject({ has: '128', needs: '> 256' });
    const zone = clauseOf(reportOf(far), 'LABEL', 'zone');
    expect(zone.has).toContain('c');
    expect(zone.needs).toMatch(/in.*a.*b/);
    // A string is told from a number, and an absent label from both.
    const [ofText, ofBare] = [clauseOf(reportOf(text), 'LABEL', 'memory'), clauseOf(reportOf(bare), 'LABEL', 'memory')];
    expect(ofText.has).toContain('512');
    expect(ofText.has).not.toBe('512');
    expect(ofBare.has).not.toMatch(/\d/);
    const action_ = clauseOf(reportOf(far), 'ACTION');
    expect(action_.has).toContain(filler);
    expect(action_.needs).toContain(action);
    const runsOn = clauseOf(reportOf(far), 'RUNS_ON');
    expect(runsOn.has).toContain('cpu');
    expect(runsOn.needs).toContain('gpu');
    expect(runsOn.needs).toContain('ssd');
    expect(clauseOf(reportOf(pinned), 'SLOT').has).toMatch(/1.*1/);
    const pinnedName = (await yard.admin.getWorker({ workerId: pinned.workerId }, metadata)).worker?.name;
    expect(clauseOf(reportOf(right), 'STICKY').needs).toContain(pinnedName);
    for (const { failed } of whole.workers) for (const { needs } of failed) expect(needs).not.toBe('');

    // How many fail each.
    expect(Object.fromEntries(whole.counts.map(({ clause, workersFailing }) => [clause, workersFailing]))).toEqual({
      ACTION: 1,
      RUNS_ON: 1,
      LABEL: 4,
      STICKY: 7,
      SLOT: 2,
      DRAINING: 1,
      NOT_READY: 1,
      RETURNED_BEFORE: 1,
    });

    // Nearest first: who fails a part of what another fails comes before it.
    const order = whole.workers.map(clausesOf);
    order.forEach((nearer, index) => {
      for (const farther of order.slice(0, index)) {
        const isPart = nearer.length < farther.length && nearer.every((clause) => farther.includes(clause));
        expect(isPart, `{${nearer}} comes after {${farther}}`).toBe(false);
      }
    });

    // In pages: the same workers in the same order, and each page says the rest too.
    const paged: WorkerReport[] = [];
    let pageToken = '';
    do {
      const page = await yard.admin.explainRun({ runId, pageSize: 3, pageToken }, metadata);
      const explanation = present(present(page.steps[0]).explanation);
      expect(explanation.workers.length).toBeLessThanOrEqual(3);
      expect(explanation).toMatchObject({ verdict: whole.verdict, workersTotal: 8 });
      paged.push(...explanation.workers);
      pageToken = page.nextPageToken;
    } while (pageToken !== '');
    expect(paged.map(({ workerId }) => workerId)).toEqual(whole.workers.map(({ workerId }) => workerId));
    expect(paged).toEqual(whole.workers);
  });

  it('Y2 the LEGACY rule, a worker that may take it, and the moment', async () => {
    const { metadata } = await newNamespace(yard);
    const action = unique('y2');
    const bare = await connectIn(yard, metadata, { tags: [], actions: [action], labels: { memory: 1 } });
    const step = { action, desiredLabels: [desired('memory', 'GREATER_THAN', 256)] };
    const before = Date.now();
    const runId = await submitIn(metadata, step, { runsOn: ['gpu'] });
    const explanation = await explain(runId, '', metadata);
    // Without tags it may take any runs_on; that never stands in for a label.
    expect(present(explanation.workers[0])).toMatchObject({ workerId: bare.workerId });
    expect(clausesOf(present(explanation.workers[0]))).toEqual(['LABEL memory']);
    expect(at(explanation.asOfTime)).toBeGreaterThanOrEqual(before - 1);
    expect(at(explanation.asOfTime)).toBeLessThanOrEqual(Date.now() + 1);
  });

  it('Y2 the device: none of the kind, or none free', async () => {
    const { metadata } = await newNamespace(yard);
    const action = unique('y2');
    const step = { action, device: DeviceKind.GPU, noDeviceFallback: true };
    const bare = await connectIn(yard, metadata, { actions: [action], slots: 2 });
    const runId = await submitIn(metadata, step);
    const none = await explain(runId, '', metadata);
    expect(nameIn(Verdict, none.verdict)).toBe('UNSATISFIABLE_NOW');
    expect(none.workers.map(clausesOf)).toEqual([['DEVICE']]);
    const gpu = await connectIn(yard, metadata, { actions: [action], slots: 2, devices: { gpuIds: ['0'] } });
    expect((await gpu.take()).runId).toBe(runId);
    const second = await submitIn(metadata, step);
    const taken = await explain(second, '', metadata);
    expect(nameIn(Verdict, taken.verdict)).toBe('BUSY');
    const clauses = Object.fromEntries(taken.workers.map((report) => [report.workerId, clausesOf(report)]));
    expect(clauses).toEqual({ [bare.workerId]: ['DEVICE'], [gpu.workerId]: ['DEVICE'] });
    for (const report of taken.workers) expect(clauseOf(report, 'DEVICE').needs).toMatch(/gpu/i);
  });

  it('Y2 how many go first, and how much time is left', async () => {
    const { metadata } = await newNamespace(yard);
    const [action, other] = [unique('y2'), unique('y2-other')];
    for (let index = 0; index < 3; index++) await submitIn(metadata, { action }, { runsOn: ['gpu'] });
    for (let index = 0; index < 2; index++) await submitIn(metadata, { action: other });
    const runId = await submitIn(metadata, { action, scheduleTimeout: ms(60_000) }, { runsOn: ['gpu'] });
    await submitIn(metadata, { action }, { runsOn: ['gpu'] });
    const explanation = await explain(runId, '', metadata);
    expect(explanation).toMatchObject({ aheadInDemand: 3n, aheadInNamespace: 5n, workersTotal: 0 });
    const { run } = await yard.admin.getRun({ runId }, metadata);
    expect(at(explanation.scheduleDeadline)).toBeCloseTo(at(run?.steps[0]?.readyTime) + 60_000, -1);
    const forEver = await submitIn(metadata, { action, scheduleTimeout: ms(0) });
    expect((await explain(forEver, '', metadata)).scheduleDeadline).toBeUndefined();
  });

  it('Y3 the winner by its rank, and the runners-up', async () => {
    const { metadata } = await newNamespace(yard);
    const action = unique('y3');
    const connect = (hello: object) => connectIn(yard, metadata, { actions: [action], slots: 2, ...hello });
    const light = await connect({ tags: ['gpu'], labels: { light: 1 } });
    const heavy = await connect({ tags: ['gpu'], labels: { heavy: 1 } });
    const both = await connect({ tags: ['gpu'], labels: { heavy: 1, light: 1 } });
    const bare = await connect({ tags: [], labels: { light: 1 } });
    const plain = await connect({ tags: ['gpu'], labels: {} });
    const unfit = await connect({ tags: ['cpu'], labels: { heavy: 1, light: 1 } });
    const desiredLabels = [optional('heavy', 70), optional('light', 30)];
    const runId = await submitIn(metadata, { action, desiredLabels }, { runsOn: ['gpu'] });
    const offer = await both.next('runStep');
    expect(offer.runId).toBe(runId);

    const explanation = await explain(runId, '', metadata);
    expect(nameIn(Verdict, explanation.verdict)).toBe('ASSIGNED');
    const ranked = [both, heavy, light, bare].map(({ workerId }) => workerId);
    expect(explanation.workers.slice(0, 4).map(({ workerId }) => workerId)).toEqual(ranked);
    const [winner, ...runnersUp] = explanation.workers;
    expect(present(winner)).toMatchObject({
      failed: [],
      rank: { highestWeight: 70n, weightSum: 100n, tagsCover: true, sticky: false },
    });
    expect(runnersUp.slice(0, 3).map(({ rank }) => rank)).toMatchObject([
      { highestWeight: 70n, weightSum: 70n, tagsCover: true },
      { highestWeight: 30n, weightSum: 30n, tagsCover: true },
      { highestWeight: 30n, weightSum: 30n, tagsCover: false },
    ]);
    // Whoever could not have taken it is no runner-up.
    for (const report of explanation.workers)
      if (report.workerId === unfit.workerId) expect(report.rank).toBeUndefined();

    // The same is recorded with the assignment, as it was at that moment: nobody held anything then.
    await both.settled(both.accept(offer));
    const { run } = await yard.admin.getRun({ runId }, metadata);
    const why = present(present(run?.steps[0]?.attempts[0]).why);
    expect(nameIn(Verdict, why.verdict)).toBe('ASSIGNED');
    expect(why.workers.map(({ workerId }) => workerId)).toEqual(ranked);
    expect(why.workers).toHaveLength(1 + RUNNERS_UP_MAX);
    expect(why.workers[0]?.rank).toMatchObject({ highestWeight: 70n, weightSum: 100n, slotsShareUsed: 0 });
    expect(why.workers[0]?.rank?.lastAssignTime).toBeUndefined();
    expect(why.workersTotal).toBeGreaterThanOrEqual(5);
    expect(at(why.asOfTime)).toBeLessThanOrEqual(at(run?.steps[0]?.attempts[0]?.acceptTime));
    await both.settled(both.succeed(offer));
    expect((await explain(runId, action, metadata)).workers[0]?.workerId).toBe(both.workerId);
    expect(plain.unread('runStep')).toEqual([]);
  });

  it('Y3 the share of slots, the last assignment and the SOFT pin are in the rank', async () => {
    const { metadata } = await newNamespace(yard);
    const action = unique('y3');
    const first = await connectIn(yard, metadata, { actions: [action], slots: 4 });
    await submitIn(metadata, { action });
    await first.take();
    const second = await connectIn(yard, metadata, { actions: [action], slots: 2 });
    const idler = await submitIn(metadata, { action });
    await second.take();
    const whyOf = async (runId: string) => {
      const { run } = await yard.admin.getRun({ runId }, metadata);
      return present(present(run?.steps[0]?.attempts[0]).why).workers;
    };
    const byShare = await whyOf(idler);
    expect(byShare.map(({ workerId }) => workerId)).toEqual([second.workerId, first.workerId]);
    expect(byShare.map(({ rank }) => rank?.slotsShareUsed)).toEqual([0, 0.25]);
    expect(byShare[0]?.rank?.lastAssignTime).toBeUndefined();
    expect(byShare[1]?.rank?.lastAssignTime).toBeDefined();

    const soft = { sticky: Sticky.SOFT, pinToWorkerId: second.workerId };
    const pinned = await submitIn(metadata, { action }, soft);
    expect((await second.next('runStep')).runId).toBe(pinned);
    const byPin = await whyOf(pinned);
    expect(byPin.map(({ workerId }) => workerId)).toEqual([second.workerId, first.workerId]);
    expect(byPin.map(({ rank }) => [rank?.sticky, rank?.slotsShareUsed])).toEqual([
      [true, 0.5],
      [false, 0.25],
    ]);
  });

  it('what is recorded with a timeout is bounded, however large the fleet', async () => {
    const { metadata } = await newNamespace(yard);
    const action = unique('bounded');
    const workers = 30;
    const tags = Array.from({ length: 64 }, (_, index) => `${'t'.repeat(100)}-${index}`);
    for (let index = 0; index < workers; index++)
      await yard.admin.registerWorker({ name: `${unique('w')}-${'n'.repeat(100)}`, tags }, metadata);
    const near = await connectIn(yard, metadata, { tags: ['gpu'], actions: [action], labels: { memory: 128 } });
    const runsOn = ['gpu', ...Array.from({ length: 31 }, (_, index) => `${'r'.repeat(100)}-${index}`)];
    const nearMiss = await submitIn(
      metadata,
      { action, desiredLabels: [desired('memory', 'GREATER_THAN', 256)], scheduleTimeout: ms(300) },
      { runsOn: ['gpu'] },
    );
    const farMiss = await submitIn(metadata, { action, scheduleTimeout: ms(300) }, { runsOn });
    const explanationOf = async (runId: string) => {
      const read = async () => present((await yard.admin.getRun({ runId }, metadata)).run);
      await until(async () => (await read()).state === RunState.TIMED_OUT, 'it times out');
      return present(present((await read()).steps[0]?.error).explanation);
    };
    for (const runId of [nearMiss, farMiss]) {
      const explanation = await explanationOf(runId);
      expect(nameIn(Verdict, explanation.verdict)).toBe('UNSATISFIABLE_NOW');
      expect(explanation.workersTotal).toBe(workers + 1);
      expect(explanation.workers.length).toBeLessThanOrEqual(RECORDED_MISSES_MAX);
      expect(explanation.workers.length).toBeGreaterThan(0);
      expect(explanation.workers[0]?.workerId).toBe(near.workerId);
      const failing = Object.fromEntries(
        explanation.counts.map(({ clause, workersFailing }) => [clause, workersFailing]),
      );
      expect(failing).toMatchObject({ ACTION: workers, NOT_READY: workers });
      expect(toBinary(ExplanationSchema, explanation).length).toBeLessThanOrEqual(RECORDED_BYTES_MAX);
    }
  });

  it('what is recorded with a timeout are the ten nearest misses', async () => {
    const { metadata } = await newNamespace(yard);
    const action = unique('bounded');
    const tags = ['cpu'];
    for (let index = 0; index < 12; index++)
      await yard.admin.registerWorker({ name: unique('worker'), tags }, metadata);
    const near = await connectIn(yard, metadata, { tags, actions: [action] });
    const runId = await submitIn(metadata, { action, scheduleTimeout: ms(300) }, { runsOn: ['gpu'] });
    const read = async () => present((await yard.admin.getRun({ runId }, metadata)).run);
    await until(async () => (await read()).state === RunState.TIMED_OUT, 'it times out');
    const explanation = present(present((await read()).steps[0]?.error).explanation);
    expect(explanation.workers).toHaveLength(RECORDED_MISSES_MAX);
    expect(explanation.workers[0]?.workerId).toBe(near.workerId);
    expect(explanation.workersTotal).toBe(13);
  });

  it('it changes nothing: what was explained is placed as before', async () => {
    const action = unique('reads');
    const runId = await yard.submit({ action });
    const { revision } = await yard.run(runId);
    for (let index = 0; index < 20; index++) await explain(runId);
    expect((await yard.run(runId)).revision).toBe(revision);
    const worker = await yard.connect({ actions: [action] });
    await worker.work();
    expect((await ended(yard, runId)).state).toBe(RunState.SUCCEEDED);
  });

  it('an unknown run, step or page token is refused', async () => {
    const runId = await yard.submit({ action: unique('refused') });
    const calls = [
      [{ runId: '00000000-0000-4000-8000-000000000000' }, status.NOT_FOUND, 'RUN_NOT_FOUND'],
      [{ runId, stepName: 'nothing' }, status.NOT_FOUND, 'STEP_NOT_FOUND'],
      [{ runId, pageToken: 'nonsense' }, status.INVALID_ARGUMENT, 'INVALID_PAGE_TOKEN'],
    ] as const;
    for (const [request, code, reason] of calls)
      expect(await failureOf(yard.admin.explainRun(request))).toMatchObject({ code, reason, domain: 'yardmaster' });
  });
});
