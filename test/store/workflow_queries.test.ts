/** Reads of workflows, and of runs with several steps. */
import { afterAll, beforeAll, describe, expect, it, vi } from 'vitest';
import type { RunView } from '../../src/engine/views.ts';
import { findStoredRun } from '../../src/store/queries/find_stored_run.ts';
import { listRuns, type RunFilter } from '../../src/store/queries/list_runs.ts';
import { listWorkflows } from '../../src/store/queries/list_workflows.ts';
import { readOutputs } from '../../src/store/queries/read_inputs.ts';
import { readRun } from '../../src/store/queries/read_run.ts';
import { readRunStates } from '../../src/store/queries/read_run_states.ts';
import { readWorkflow } from '../../src/store/queries/read_workflow.ts';
import { definitionOf, draftOf, type RunOptions, type WorkflowStep } from '../support/engine.ts';
import { openTestStore, type TestPlane, type TestStore, type TestWorker, WAIT } from '../support/store.ts';

let store: TestStore;
let plane: TestPlane;
let worker: TestWorker;

beforeAll(async () => {
  store = await openTestStore();
  plane = await store.plane();
  worker = await plane.worker('alpha', { slots: 20, actions: ['build', 'pack'] });
  await plane.take({
    kind: 'put_namespace',
    name: 'other',
    matchMode: null,
    retentionMs: null,
    scheduleTimeoutMs: null,
  });
});
afterAll(() => store.close());

async function put(name: string, steps: WorkflowStep[], source = '[]', namespace = 'default'): Promise<void> {
  const definitions = steps.map((step) => definitionOf(step));
  await plane.take({ kind: 'put_workflow', namespace, name, steps: definitions, sticky: 'SOFT', source });
}

async function run(options: RunOptions): Promise<string> {
  const draft = draftOf(plane.ids.orderedId(), options);
  await plane.take({ kind: 'schedule_runs', runs: [draft] });
  return draft.runId;
}

/** What the worker was given last of this step. */
async function held(runId: string, stepName: string) {
  const assignmentId = await vi.waitFor(() => {
    const offer = worker.effects
      .flatMap((effect) => (effect.kind === 'run_step' ? [effect.offer] : []))
      .findLast((each) => each.runId === runId && each.stepName === stepName);
    if (offer === undefined) throw new Error(`step ${stepName} of run ${runId} was not offered`);
    return offer.assignmentId;
  }, WAIT);
  return { connection: worker.connection, assignmentId };
}

async function accept(runId: string, stepName: string) {
  const fact = await held(runId, stepName);
  await plane.fact({ kind: 'accept_step', ...fact });
  return fact;
}

async function succeed(runId: string, stepName: string, outputJson: string): Promise<void> {
  await plane.fact({ kind: 'succeed_step', ...(await accept(runId, stepName)), outputJson });
}

const failure = { reason: 'APPLICATION', type: 'Error', message: 'it broke', stack: 'here', retryable: false } as const;
const chain: WorkflowStep[] = [{ name: 'first' }, { name: 'second', action: 'pack', needs: ['first'] }];

/** A run that is there. */
async function read(key: Parameters<typeof readRun>[2]): Promise<RunView> {
  const view = await readRun(plane.reads, 'default', key);
  if (view === null) throw new Error('the run is not stored');
  return view;
}

describe('one run', () => {
  beforeAll(() => put('chain', chain));

  it('with its steps in the order of definition, and the attempts of each', async () => {
    const runId = await run({ workflow: 'chain' });
    const returned = await accept(runId, 'first');
    await plane.fact({ kind: 'return_step', ...returned, reason: 'NOT_READY', detail: '' });
    await plane.take({ kind: 'upsert_labels', connection: worker.connection, patch: new Map([['site', 'south']]) });
    await vi.waitFor(async () => expect(await held(runId, 'first')).not.toEqual(returned), WAIT);
    await succeed(runId, 'first', '{"first":1}');
    const second = await accept(runId, 'second');
    expect(await read(runId)).toMatchObject({
      runId,
      workflow: 'chain',
      workflowVersion: 1,
      number: 1,
      state: 'RUNNING',
      sticky: 'SOFT',
      pinnedWorkerId: worker.opened.worker.workerId,
      inputJson: `{"for":"${runId}"}`,
      outputJson: '',
      steps: [
        {
          name: 'first',
          action: 'build',
          state: 'SUCCEEDED',
          outputJson: '{"first":1}',
          attempts: [{ outcome: 'NOT_READY' }, { outcome: 'SUCCEEDED' }],
        },
        {
          name: 'second',
          action: 'pack',
          state: 'RUNNING',
          outputJson: '',
          attempts: [{ outcome: '', assignmentId: second.assignmentId }],
        },
      ],
    });
    await plane.fact({ kind: 'succeed_step', ...second, outputJson: '"of the last one"' });
    const ended = await read(runId);
    expect(ended).toMatchObject({ state: 'SUCCEEDED', outputJson: '"of the last one"' });
    expect(new Set(ended.steps.map(({ stepId }) => stepId)).size).toBe(2);
  });

  it('by the number it has in its workflow', async () => {
    await put('counted', [{ name: 'only', action: 'nobody' }]);
    const first = await run({ workflow: 'counted' });
    const second = await run({ workflow: 'counted' });
    expect(await read({ workflow: 'counted', number: 2 })).toMatchObject({ runId: second, number: 2 });
    expect(await read(first)).toMatchObject({ number: 1 });
    expect(await readRun(plane.reads, 'default', { workflow: 'counted', number: 3 })).toBeNull();
    expect(await readRun(plane.reads, 'other', { workflow: 'counted', number: 1 })).toBeNull();
  });

  it('with an object of outputs when it has several last steps, byte for byte, in the order of definition', async () => {
    await put('wide', [{ name: 'root' }, { name: 'z "quoted"', needs: ['root'] }, { name: 'a', needs: ['root'] }]);
    const runId = await run({ workflow: 'wide' });
    await succeed(runId, 'root', 'null');
    await succeed(runId, 'a', '{ "spaced" : 1.50 }');
    expect(await read(runId)).toMatchObject({ state: 'RUNNING', outputJson: '' });
    await succeed(runId, 'z "quoted"', '[]');
    expect((await read(runId)).outputJson).toBe('{"z \\"quoted\\"":[],"a":{ "spaced" : 1.50 }}');
  });

  it('that failed, with why of the step and of the run, and no output', async () => {
    const runId = await run({ workflow: 'chain' });
    await plane.fact({ kind: 'fail_step', ...(await accept(runId, 'first')), failure });
    const view = await read(runId);
    expect(view).toMatchObject({
      state: 'FAILED',
      outputJson: '',
      failure: { message: 'it broke' },
      steps: [
        { state: 'FAILED', failure: { stack: 'here' }, attempts: [{ outcome: 'APPLICATION' }] },
        { state: 'SKIPPED', failure: { reason: 'CAUSED_BY' }, attempts: [] },
      ],
    });
    expect(view.steps[1]?.failure?.causedById).toBe(view.steps[0]?.stepId);
  });

  it('with what it waits for, holds and depends on', async () => {
    const first = await run({ action: 'nobody' });
    const runId = await run({ workflow: 'chain', dependsOn: [first], concurrency: { key: 'k', limit: 2 } });
    expect(await read(runId)).toMatchObject({
      dependsOn: [first],
      concurrency: { key: 'k', limit: 2 },
      steps: [{ blockedReason: 'DEPENDS_ON_RUN' }, { state: 'BLOCKED' }],
    });
  });

  it('with why each worker was chosen, where that was recorded', async () => {
    await plane.worker('beta', { actions: ['choice'] });
    await plane.worker('gamma', { actions: ['choice'] });
    const runId = await run({ action: 'choice' });
    expect((await read(runId)).steps[0]?.attempts[0]?.why?.verdict).toBe('ASSIGNED');
  });
});

describe('a list', () => {
  const filter: RunFilter = {
    namespace: 'default',
    states: [],
    anyState: true,
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
  let several: string;
  let single: string;

  beforeAll(async () => {
    await put('listed', [{ name: 'first' }, { name: 'second', action: 'rare', needs: ['first'] }]);
    await put('listed-one', [{ name: 'only', action: 'rare' }]);
    several = await run({ workflow: 'listed' });
    single = await run({ workflow: 'listed-one' });
    await run({ action: 'common' });
    await succeed(several, 'first', '"output"');
  });

  const listed = async (more: Partial<RunFilter>) =>
    (await listRuns(plane.reads, { ...filter, ...more })).map(({ runId }) => runId);

  it('of a workflow', async () => {
    expect(await listed({ workflow: 'listed' })).toEqual([several]);
    expect(await listed({ workflow: 'list' })).toEqual([]);
  });

  it('of those with a step of an action, wherever it is stored', async () => {
    expect(await listed({ action: 'rare' })).toEqual([several, single]);
    expect(await listed({ action: 'rare', oldestFirst: false, limit: 1 })).toEqual([single]);
    expect(await listed({ action: 'rare', workflow: 'listed-one' })).toEqual([single]);
  });

  it('with steps, without their attempts and outputs', async () => {
    const [view] = await listRuns(plane.reads, { ...filter, workflow: 'listed' });
    expect(view?.steps).toMatchObject([
      { name: 'first', state: 'SUCCEEDED', outputJson: '', attempts: [] },
      { name: 'second', state: 'PENDING', outputJson: '', attempts: [] },
    ]);
    expect(view?.inputJson).toBe('');
  });
});

describe('workflows', () => {
  beforeAll(async () => {
    await put('alpha', [{ name: 'only' }], '["other namespace"]', 'other');
    await put('zulu', [{ name: 'only' }], '["z"]', 'other');
    await put('Bravo', chain, '["b"]', 'other');
    await put('alpha', chain, '["newer"]', 'other');
  });

  it('a version, or the newest', async () => {
    const newest = await readWorkflow(plane.reads, 'other', 'alpha', null);
    expect(newest).toMatchObject({ namespace: 'other', name: 'alpha', version: 2, source: '["newer"]' });
    expect(newest?.create_ms).toBeGreaterThan(0);
    expect(JSON.parse(newest?.definition ?? '')).toMatchObject({
      sticky: 'SOFT',
      steps: [{ name: 'first' }, { name: 'second', needs: ['first'] }],
    });
    expect(await readWorkflow(plane.reads, 'other', 'alpha', 1)).toMatchObject({ source: '["other namespace"]' });
    expect(await readWorkflow(plane.reads, 'other', 'alpha', 3)).toBeNull();
    expect(await readWorkflow(plane.reads, 'default', 'alpha', null)).toBeNull();
  });

  it('by pages in the order of names, the newest version of each', async () => {
    const page = async (after: string | null) =>
      (await listWorkflows(plane.reads, 'other', after, 2)).map(({ name, version }) => [name, version]);
    expect(await page(null)).toEqual([
      ['Bravo', 1],
      ['alpha', 2],
    ]);
    expect(await page('alpha')).toEqual([['zulu', 1]]);
    expect(await page('zulu')).toEqual([]);
    expect(await listWorkflows(plane.reads, 'empty', null, 2)).toEqual([]);
  });
});

describe('what a command asks the store for before it is decided', () => {
  it('outputs of some steps', async () => {
    const runId = await run({ workflow: 'chain' });
    await succeed(runId, 'first', '{"n":1}');
    expect(await readOutputs(plane.reads, runId, ['first', 'second', 'no such step'])).toEqual(
      new Map([['first', '{"n":1}']]),
    );
    expect(await readOutputs(plane.reads, runId, ['second'])).toEqual(new Map());
  });

  it('states of runs, of one namespace', async () => {
    const waiting = await run({ action: 'nobody' });
    const ended = await run({ action: 'build' });
    await succeed(ended, 'step', '1');
    const unknown = plane.ids.orderedId();
    expect(await readRunStates(plane.reads, 'default', [ended, unknown, waiting])).toEqual(
      new Map([
        [waiting, 'PENDING'],
        [ended, 'SUCCEEDED'],
      ]),
    );
    expect(await readRunStates(plane.reads, 'other', [ended])).toEqual(new Map());
    expect(await readRunStates(plane.reads, 'default', [])).toEqual(new Map());
  });

  it('a run that has ended, with its steps and the version it is of', async () => {
    const runId = await run({ workflow: 'chain' });
    await succeed(runId, 'first', '"four"');
    await plane.fact({ kind: 'fail_step', ...(await accept(runId, 'second')), failure });
    await put('chain', chain, '["newer"]');
    const stored = await findStoredRun(plane.reads, 'default', runId);
    expect(stored).toMatchObject({
      run: { run_id: runId, state: 'FAILED', workflow: 'chain', workflow_version: 1, action: null },
      steps: [
        { name: 'first', place: 0, step_state: 'SUCCEEDED', output_bytes: 6 },
        { name: 'second', place: 1, step_state: 'FAILED', output_bytes: 0, started: true },
      ],
      workflow: { version: 1, source: '[]' },
    });
    expect(stored?.run.end_ms).toBeGreaterThan(0);
    expect(await findStoredRun(plane.reads, 'other', runId)).toBeNull();
  });

  it('a run of one step: no rows of steps, no workflow', async () => {
    const runId = await run({ action: 'build' });
    await plane.fact({ kind: 'fail_step', ...(await accept(runId, 'step')), failure });
    expect(await findStoredRun(plane.reads, 'default', runId)).toMatchObject({
      run: { run_id: runId, action: 'build', step_state: 'FAILED', failures: 1 },
      steps: [],
      workflow: null,
    });
  });
});
