/** Reads: each answers with exactly the rows it was asked for, in the order it promises. */
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { findRequests } from '../../src/store/queries/find_requests.ts';
import { listRuns, type RunFilter } from '../../src/store/queries/list_runs.ts';
import { readInputs } from '../../src/store/queries/read_inputs.ts';
import { readRun } from '../../src/store/queries/read_run.ts';
import { draftOf, type RunOptions } from '../support/engine.ts';
import { openTestStore, type TestPlane, type TestStore, type TestWorker, WAIT } from '../support/store.ts';

let store: TestStore;
let plane: TestPlane;
let worker: TestWorker;

beforeAll(async () => {
  store = await openTestStore();
  plane = await store.plane();
  worker = await plane.worker('alpha', { slots: 10, labels: { site: 'north' } });
});
afterAll(() => store.close());

async function run(options: RunOptions & { metadata?: Record<string, string> } = {}): Promise<string> {
  const { metadata = {}, ...rest } = options;
  const draft = { ...draftOf(plane.ids.orderedId(), { action: 'nobody', ...rest }), metadata };
  await plane.take({ kind: 'schedule_runs', runs: [draft] });
  return draft.runId;
}

const accept = async (runId: string) => {
  const assignmentId = await worker.offered(runId);
  await plane.fact({ kind: 'accept_step', connection: worker.connection, assignmentId });
  return { connection: worker.connection, assignmentId };
};

describe('one run', () => {
  const failure = {
    reason: 'APPLICATION',
    type: 'Error',
    message: 'it broke',
    stack: 'here',
    retryable: null,
  } as const;

  it('with its payloads and its attempts, oldest first, the current one last', async () => {
    const runId = await run({ action: 'build' });
    const first = await accept(runId);
    await plane.fact({ kind: 'return_step', ...first, reason: 'NOT_READY', detail: '' });
    await plane.take({ kind: 'upsert_labels', connection: worker.connection, patch: new Map([['site', 'south']]) });
    await expect.poll(() => worker.offered(runId), WAIT).not.toBe(first.assignmentId);
    const second = await accept(runId);
    const running = await readRun(plane.reads, 'default', runId);
    expect(running?.steps[0]?.attempts).toMatchObject([
      { assignmentId: first.assignmentId, outcome: 'NOT_READY', labelsRevision: 1, number: 1 },
      { assignmentId: second.assignmentId, outcome: '', endMs: null, labelsRevision: 2, workerName: 'alpha' },
    ]);
    await plane.fact({ kind: 'succeed_step', ...second, outputJson: '{"ok":true}' });
    expect(await readRun(plane.reads, 'default', runId)).toMatchObject({
      runId,
      state: 'SUCCEEDED',
      inputJson: `{"for":"${runId}"}`,
      outputJson: '{"ok":true}',
      steps: [{ state: 'SUCCEEDED', attempts: [{ outcome: 'NOT_READY' }, { outcome: 'SUCCEEDED' }] }],
    });
  });

  it('that failed, with why', async () => {
    const runId = await run({ action: 'build' });
    const held = await accept(runId);
    await plane.fact({ kind: 'fail_step', ...held, failure: { ...failure, retryable: false } });
    expect(await readRun(plane.reads, 'default', runId)).toMatchObject({
      state: 'FAILED',
      failure: { message: 'it broke', stack: 'here' },
      steps: [
        { attempts: [{ assignmentId: held.assignmentId, outcome: 'APPLICATION', failure: { message: 'it broke' } }] },
      ],
    });
  });

  it('only of its namespace', async () => {
    const runId = await run();
    expect(await readRun(plane.reads, 'default', runId)).toMatchObject({
      runId,
      steps: [{ attempts: [], state: 'PENDING' }],
    });
    expect(await readRun(plane.reads, 'other', runId)).toBeNull();
    expect(await readRun(plane.reads, 'default', plane.ids.orderedId())).toBeNull();
  });
});

describe('a list', () => {
  const NOTHING_ASKED: RunFilter = {
    namespace: 'listed',
    states: [],
    anyState: false,
    workflow: '',
    action: '',
    runsOn: [],
    metadata: {},
    createMsFrom: null,
    createMsTo: null,
    oldestFirst: true,
    afterRunId: null,
    limit: 100,
  };
  const listed = async (filter: Partial<RunFilter> = {}) =>
    (await listRuns(plane.reads, { ...NOTHING_ASKED, ...filter })).map(({ runId }) => runId);
  let pending: string;
  let tagged: string;
  let described: string;
  let cancelled: string;

  beforeAll(async () => {
    await plane.take({
      kind: 'put_namespace',
      name: 'listed',
      matchMode: null,
      retentionMs: null,
      scheduleTimeoutMs: null,
    });
    const namespace = 'listed';
    pending = await run({ namespace });
    tagged = await run({ namespace, runsOn: ['gpu', 'x86'], action: 'render' });
    described = await run({ namespace, metadata: { team: 'blue', "it's": 'q"uoted' } });
    cancelled = await run({ namespace, metadata: { team: 'blue' } });
    await plane.take({ kind: 'cancel_run', namespace, runId: cancelled, mode: 'ANY', reason: 'no', stepName: '' });
  });

  it('of what has not ended, unless more is asked for', async () => {
    expect(await listed()).toEqual([pending, tagged, described]);
    expect(await listed({ anyState: true })).toEqual([pending, tagged, described, cancelled]);
    expect(await listed({ namespace: 'empty' })).toEqual([]);
  });

  it('of some states', async () => {
    expect(await listed({ states: ['CANCELLED'] })).toEqual([cancelled]);
    expect(await listed({ states: ['CANCELLED', 'PENDING'] })).toHaveLength(4);
    expect(await listed({ states: ['RUNNING'] })).toEqual([]);
  });

  it('of an action', async () => {
    expect(await listed({ action: 'render' })).toEqual([tagged]);
    expect(await listed({ action: 'rend' })).toEqual([]);
  });

  it('of those that ask for all of these tags', async () => {
    expect(await listed({ runsOn: ['gpu'] })).toEqual([tagged]);
    expect(await listed({ runsOn: ['x86', 'gpu'] })).toEqual([tagged]);
    expect(await listed({ runsOn: ['gpu', 'arm'] })).toEqual([]);
  });

  it('of those with all of this metadata', async () => {
    expect(await listed({ metadata: { team: 'blue' }, anyState: true })).toEqual([described, cancelled]);
    expect(await listed({ metadata: { team: 'blue', "it's": 'q"uoted' } })).toEqual([described]);
    expect(await listed({ metadata: { team: 'red' } })).toEqual([]);
  });

  it('of a time, from it on and before its end', async () => {
    const [view] = await listRuns(plane.reads, { ...NOTHING_ASKED, runsOn: ['gpu'] });
    const createMs = view?.createMs ?? 0;
    expect(await listed({ createMsFrom: createMs })).toEqual([tagged, described]);
    expect(await listed({ createMsTo: createMs })).toEqual([pending]);
    expect(await listed({ createMsFrom: createMs, createMsTo: createMs + 0.001, action: 'render' })).toEqual([tagged]);
  });

  it('without payloads', async () => {
    const views = await listRuns(plane.reads, NOTHING_ASKED);
    expect(views.every(({ inputJson, outputJson }) => inputJson === '' && outputJson === '')).toBe(true);
  });

  it.each([true, false])('by pages that new runs do not shift (oldest first: %s)', async (oldestFirst) => {
    const namespace = `paged-${oldestFirst}`;
    await plane.take({
      kind: 'put_namespace',
      name: namespace,
      matchMode: null,
      retentionMs: null,
      scheduleTimeoutMs: null,
    });
    const before: string[] = [];
    for (let index = 0; index < 7; index++) before.push(await run({ namespace }));
    const seen: string[] = [];
    const later: string[] = [];
    for (let afterRunId: string | null = null; ; ) {
      const page = await listed({ namespace, oldestFirst, afterRunId, limit: 3 });
      seen.push(...page);
      if (later.length < 2) later.push(await run({ namespace }));
      afterRunId = page.at(-1) ?? null;
      if (page.length < 3) break;
    }
    expect(seen).toEqual(oldestFirst ? [...before, ...later] : before.toReversed());
  });
});

describe('lookups', () => {
  it('of request ids: those that were used, in their namespace', async () => {
    const runId = await run({ requestId: 'used, "once"', requestDigest: 'digest' });
    expect(await findRequests(plane.reads, 'default', ['used, "once"', 'never'])).toEqual([
      { requestId: 'used, "once"', requestDigest: 'digest', runId },
    ]);
    expect(await findRequests(plane.reads, 'other', ['used, "once"'])).toEqual([]);
    expect(await findRequests(plane.reads, 'default', [])).toEqual([]);
  });

  it('of inputs: of the runs that there are', async () => {
    const [first, second] = [await run(), await run()];
    const inputs = await readInputs(plane.reads, [second, plane.ids.orderedId(), first]);
    expect(inputs).toEqual(
      new Map([
        [first, `{"for":"${first}"}`],
        [second, `{"for":"${second}"}`],
      ]),
    );
    expect(await readInputs(plane.reads, [])).toEqual(new Map());
  });
});
