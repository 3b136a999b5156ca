/** What the engine changed, written by batches and read back: the rows are the images, whatever way they took. */
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { placedExplanation } from '../../src/domain/explain.ts';
import { DEFAULT_LIMITS, DEFAULT_TIMES } from '../../src/domain/limits.ts';
import { placedOf } from '../../src/domain/placed_text.ts';
import { isRefusal } from '../../src/domain/refusal.ts';
import type { CommandKind, CommandOf, ResultOf } from '../../src/engine/commands.ts';
import { createEngine, type Engine } from '../../src/engine/engine.ts';
import type { LiveRows } from '../../src/engine/restore.ts';
import type { AssignmentRecord, RunRecord, StepRecord } from '../../src/engine/state.ts';
import type { Change } from '../../src/engine/turn.ts';
import { SILENT_LOG } from '../../src/lib/log.ts';
import { systemIds } from '../../src/lib/random.ts';
import { createBatch, type OpenBatch } from '../../src/store/batch.ts';
import { becomeHolder, type Holder } from '../../src/store/holder.ts';
import { readLiveRows } from '../../src/store/recovery.ts';
import { definitionOf, draftOf, type RunOptions, type WorkflowStep } from '../support/engine.ts';
import { createFakeStore, type FakeStore } from '../support/engine_store.ts';
import { openTestStore, type TestStore } from '../support/store.ts';

const NOW_MS = 1_700_000_000_000;
const CONNECTION = 1;

/** An engine with two stores: PostgreSQL, written batch by batch, and one that keeps the images in memory. */
interface Rig {
  readonly engine: Engine;
  readonly images: FakeStore;
  /** Decides, and leaves what has changed to the next commit. */
  take<K extends CommandKind>(command: CommandOf<K>): ResultOf<K>;
  write(...changes: Change[]): void;
  /** Parts of the batch that was written. */
  commit(): Promise<readonly string[]>;
  workflow(name: string, steps: WorkflowStep[], source?: string): void;
  run(options: RunOptions): RunRecord;
  step(run: RunRecord, name: string): StepRecord;
  accept(step: StepRecord): void;
  succeed(step: StepRecord, outputJson: string): void;
}

let store: TestStore;
let holder: Holder;
let batchNumber = 0;

beforeAll(async () => {
  store = await openTestStore();
  holder = await becomeHolder(store.database, 'test', SILENT_LOG);
});
afterAll(async () => {
  await holder.release();
  await store.close();
});

/** Begins with empty tables. */
async function openRig(): Promise<Rig> {
  await store.sql`TRUNCATE runs, steps, attempts, step_outputs, step_totals, run_totals, leaderboard`;
  await store.sql`TRUNCATE workers, workflows, workflow_names, namespaces`;
  const engine = createEngine({ limits: DEFAULT_LIMITS, times: DEFAULT_TIMES, nowMs: NOW_MS });
  const images = createFakeStore();
  const ids = systemIds();
  let batch: OpenBatch = createBatch();
  let nowMs = NOW_MS;

  function write(...changes: Change[]): void {
    images.write(changes);
    batch.add(changes, { command: 'test', release() {}, abandon() {} });
  }

  function take<K extends CommandKind>(command: CommandOf<K>): ResultOf<K> {
    nowMs += 10;
    const { result, changes } = engine.apply(command, nowMs, ids);
    if (isRefusal(result)) throw new Error(`${command.kind} was refused: ${result.refused}: ${result.message}`);
    write(...changes);
    return result as ResultOf<K>;
  }

  const fact = (step: StepRecord) => ({
    connection: CONNECTION,
    assignmentId: (step.assignment as AssignmentRecord).assignmentId,
  });
  take({ kind: 'put_namespace', name: 'default', matchMode: null, retentionMs: null, scheduleTimeoutMs: null });
  return {
    engine,
    images,
    take,
    write,
    async commit() {
      const sealed = batch.seal();
      batch = createBatch();
      batchNumber += 1;
      await holder.commit(sealed, batchNumber);
      return sealed.parts;
    },
    workflow: (name, steps, source = '[]') =>
      void take({
        kind: 'put_workflow',
        namespace: 'default',
        name,
        steps: steps.map((step) => definitionOf(step)),
        sticky: 'SOFT',
        source,
      }),
    run(options) {
      const draft = draftOf(ids.orderedId(), options);
      take({ kind: 'schedule_runs', runs: [draft] });
      return engine.state.runs.get(draft.runId) as RunRecord;
    },
    step: (run, name) => run.steps.find((step) => step.definition.name === name) as StepRecord,
    accept: (step) => void take({ kind: 'accept_step', ...fact(step) }),
    succeed: (step, outputJson) => void take({ kind: 'succeed_step', ...fact(step), outputJson }),
  };
}

function hello(rig: Rig, slots: number): void {
  rig.take({
    kind: 'open_session',
    connection: CONNECTION,
    namespace: 'default',
    workerId: '',
    name: 'alpha',
    tags: [],
    labels: null,
    actions: ['build'],
    slots,
    devices: null,
    nickname: '',
    sdk: null,
    resume: null,
    newSessionHash: 'session',
  });
}

/** Both in one order, whatever the store's was. When a worker was last seen is written with whatever else is. */
function comparable(rows: LiveRows): LiveRows {
  const by =
    <T>(key: (row: T) => string) =>
    (a: T, b: T) =>
      key(a) < key(b) ? -1 : 1;
  return {
    ...rows,
    workers: rows.workers.map((worker) => ({ ...worker, last_seen_ms: null })),
    runs: rows.runs.toSorted(by(({ run_id }) => run_id)),
    steps: rows.steps.toSorted(by(({ run_id, place }) => `${run_id} ${place}`)),
    workflows: rows.workflows.toSorted(by(({ name, version }) => `${name} ${version}`)),
    workflowNames: rows.workflowNames.toSorted(by(({ name }) => name)),
  };
}

/** Recovery finds what the images say. */
async function expectRows(rig: Rig): Promise<LiveRows> {
  const read = await readLiveRows(holder.sql);
  expect(comparable(read)).toEqual(comparable(rig.images.liveRows()));
  return read;
}

const diamond: WorkflowStep[] = [
  { name: 'zero' },
  { name: 'left', needs: ['zero'] },
  { name: 'right', needs: ['zero'], action: 'nobody' },
  { name: 'end', needs: ['left', 'right'] },
];

const outputs = () => store.sql`SELECT name, output FROM steps WHERE output IS NOT NULL ORDER BY place`;

describe('runs of one step', () => {
  // One row travels as its values, a few element by element, many as tables of arrays.
  it.each([1, 2, 128, 129, 300])('are the same in the store, %i at a time', async (count) => {
    const rig = await openRig();
    hello(rig, count);
    await rig.commit();
    const runs = Array.from({ length: count }, (_, index) =>
      rig.run(index % 2 === 0 ? { concurrency: { key: `"${index}" \\ {1,2}, NULL`, limit: 1 } } : {}),
    );
    expect(await rig.commit()).toEqual(['runs_insert']);
    await expectRows(rig);
    for (const run of runs) rig.accept(run.steps[0] as StepRecord);
    expect(await rig.commit()).toEqual(['runs_execute']);
    await expectRows(rig);
    const next = Array.from({ length: count }, () => rig.run({}));
    await rig.commit();
    for (const run of runs) rig.succeed(run.steps[0] as StepRecord, '{"a":["\\\\"]}');
    expect(await rig.commit()).toEqual(expect.arrayContaining(['runs_assign', 'runs_execute']));
    expect((await expectRows(rig)).runs).toHaveLength(count);
    const ended = await store.sql`SELECT DISTINCT output, state FROM runs WHERE end_time IS NOT NULL`;
    expect([...ended]).toEqual([{ output: '{"a":["\\\\"]}', state: 'SUCCEEDED' }]);
    expect(next.every(({ steps: [step] }) => step?.state === 'ASSIGNED')).toBe(true);
  });
});

describe('a run of several steps', () => {
  it('is read back in every state it goes through', async () => {
    const rig = await openRig();
    hello(rig, 5);
    rig.workflow('diamond', diamond);
    const run = rig.run({ workflow: 'diamond', concurrency: { key: 'one', limit: 1 } });
    expect(await rig.commit()).toEqual([
      'runs_insert',
      'steps_insert',
      'workflows',
      'workflow_names',
      'workers',
      'namespaces',
    ]);
    expect((await expectRows(rig)).steps.map(({ name }) => name)).toEqual(['zero', 'left', 'right', 'end']);

    rig.accept(rig.step(run, 'zero'));
    expect(await rig.commit()).toEqual(['runs_update', 'steps_update']);
    await expectRows(rig);
    rig.succeed(rig.step(run, 'zero'), '"ä"');
    await rig.commit();
    const { steps } = await expectRows(rig);
    expect(steps.map(({ step_state, output_bytes }) => [step_state, output_bytes])).toEqual([
      ['SUCCEEDED', 4],
      ['ASSIGNED', 0],
      ['PENDING', 0],
      ['BLOCKED', 0],
    ]);
    rig.take({
      kind: 'cancel_run',
      namespace: 'default',
      runId: run.runId,
      mode: 'ANY',
      reason: 'enough',
      stepName: '',
    });
    await rig.commit();
    const { runs } = await expectRows(rig);
    // Its assigned step was never accepted, so nothing is left to wait for.
    expect(runs).toEqual([]);
    expect(await store.sql`SELECT state, action, step_state, cancel_reason FROM runs`).toEqual([
      { state: 'CANCELLED', action: null, step_state: null, cancel_reason: 'enough' },
    ]);
  });

  it('is one image a row, however often a batch changes it: an insert that is known to have gone on', async () => {
    const rig = await openRig();
    hello(rig, 5);
    rig.workflow('diamond', diamond);
    const run = rig.run({ workflow: 'diamond' });
    rig.accept(rig.step(run, 'zero'));
    rig.succeed(rig.step(run, 'zero'), '1');
    rig.accept(rig.step(run, 'left'));
    expect(await rig.commit()).not.toContain('steps_update');
    const { steps } = await expectRows(rig);
    expect(steps.map(({ step_state }) => step_state)).toEqual(['SUCCEEDED', 'RUNNING', 'PENDING', 'BLOCKED']);
    expect(await outputs()).toEqual([{ name: 'zero', output: '1' }]);

    rig.succeed(rig.step(run, 'left'), '2');
    const changes = [rig.step(run, 'left'), rig.step(run, 'right')].map(
      (step): Change => ({ table: 'steps', step, insert: false, outputJson: null }),
    );
    rig.write(...changes);
    await rig.commit();
    await expectRows(rig);
    expect(await outputs()).toEqual([
      { name: 'zero', output: '1' },
      { name: 'left', output: '2' },
    ]);
  });

  it('keeps its outputs under later images', async () => {
    const rig = await openRig();
    hello(rig, 5);
    rig.workflow('diamond', diamond);
    const run = rig.run({ workflow: 'diamond' });
    rig.accept(rig.step(run, 'zero'));
    rig.succeed(rig.step(run, 'zero'), '{"n":1}');
    await rig.commit();
    rig.write({ table: 'steps', step: rig.step(run, 'zero'), insert: false, outputJson: null });
    await rig.commit();
    await expectRows(rig);
    expect(await outputs()).toEqual([{ name: 'zero', output: '{"n":1}' }]);
  });
});

describe('a run of one step', () => {
  it('of a workflow is one row', async () => {
    const rig = await openRig();
    hello(rig, 5);
    rig.workflow('short', [{ name: 'only' }]);
    const run = rig.run({ workflow: 'short', sticky: 'HARD', priority: 4 });
    await rig.commit();
    const { runs, steps } = await expectRows(rig);
    expect(steps).toEqual([]);
    expect(runs).toMatchObject([
      { run_id: run.runId, workflow: 'short', workflow_version: 1, number: 1, step_name: 'only', sticky: 'HARD' },
    ]);
    expect(runs[0]?.pinned_worker_id).toBe(rig.step(run, 'only').assignment?.worker.workerId);
    rig.accept(rig.step(run, 'only'));
    await rig.commit();
    const [accepted] = (await expectRows(rig)).runs;
    expect(accepted?.kept_pin_worker_id).toBe(accepted?.pinned_worker_id);
  });

  it('waits for what it waited for', async () => {
    const rig = await openRig();
    const first = rig.run({ action: 'nobody' });
    const second = rig.run({ action: 'nobody', dependsOn: [first.runId], requestId: 'once', requestDigest: 'd' });
    await rig.commit();
    const { runs } = await expectRows(rig);
    expect(runs.find((row) => row.run_id === first.runId)).toMatchObject({
      depends_on: null,
      blocked_on: null,
      attempt_base: 0,
      assigned_once: false,
    });
    expect(runs.find((row) => row.run_id === second.runId)).toMatchObject({
      depends_on: JSON.stringify([first.runId]),
      blocked_on: 'DEPENDS_ON_RUN',
      request_id: 'once',
    });
  });

  it('keeps its tags until they are edited', async () => {
    const rig = await openRig();
    const run = rig.run({ action: 'nobody', runsOn: ['gpu'] });
    await rig.commit();
    const runsOn = async () => (await expectRows(rig)).runs.map(({ runs_on }) => runs_on);
    rig.write({ table: 'runs', run, insert: null, outputJson: null, extent: 'ALL' });
    await rig.commit();
    expect(await runsOn()).toEqual(['["gpu"]']);
    rig.take({ kind: 'update_run', namespace: 'default', runId: run.runId, priority: 4, runsOn: ['arm'] });
    await rig.commit();
    expect(await runsOn()).toEqual(['["arm"]']);
  });
});

describe('why a worker was chosen', () => {
  const rank = (workerNumber: number) => ({
    unbiased: true,
    sticky: false,
    deviceAskedFor: true,
    highestWeight: -2.5,
    weightSum: 100,
    tagsCover: false,
    slotsShareUsed: 1 / 3,
    lastAssignSequence: workerNumber,
    lastAssignMs: workerNumber === 1 ? null : NOW_MS,
    workerNumber,
  });
  const ranked = [1, 2].map((number) => ({
    worker: { workerId: `id-${number}`, name: `"${number}"` },
    rank: rank(number),
  }));
  const why = placedExplanation(ranked, 7, NOW_MS);

  it.each([
    ['runs', [{ name: 'only' }]],
    ['steps', [{ name: 'only' }, { name: 'other', action: 'nobody' }]],
  ] as const)('stays with its assignment, and goes with it (%s)', async (table, steps) => {
    const rig = await openRig();
    hello(rig, 1);
    rig.workflow('some', [...steps]);
    const run = rig.run({ workflow: 'some' });
    const step = rig.step(run, 'only');
    step.assignment = { ...(step.assignment as AssignmentRecord), why };
    await rig.commit();
    const stored = async () => {
      const rows = await store.sql<{ why: string | null }[]>`
        SELECT why FROM ${store.sql(table)} WHERE assignment_id IS NOT NULL`;
      return rows.map((row) => row.why && placedOf(row.why));
    };
    expect(await stored()).toEqual([why]);
    rig.accept(step);
    await rig.commit();
    expect(await stored()).toEqual([why]);
    // The same worker again, of whom nothing is recorded this time.
    const assignment = { ...step.assignment, assignmentId: systemIds().randomId(), why: null };
    step.assignment = assignment;
    rig.write(
      table === 'runs'
        ? { table, run, insert: null, outputJson: null, extent: 'ALL' }
        : { table, step, insert: false, outputJson: null },
    );
    await rig.commit();
    expect(await stored()).toEqual([null]);
  });
});

describe('workflows', () => {
  it('are read when they are the newest of their name, or a run of them lives', async () => {
    const rig = await openRig();
    hello(rig, 5);
    const versions = async () => (await expectRows(rig)).workflows.map(({ name, version }) => [name, version]);
    for (const source of ['["one"]', '["two"]']) rig.workflow('often', [{ name: 'only' }], source);
    const run = rig.run({ workflow: 'often' });
    for (const source of ['["three"]', '["four"]']) rig.workflow('often', [{ name: 'only' }], source);
    rig.workflow('once', diamond);
    await rig.commit();
    expect(await versions()).toEqual(
      [
        ['often', 2],
        ['often', 4],
        ['once', 1],
      ].sort(),
    );
    expect((await expectRows(rig)).workflowNames).toEqual(
      [
        { namespace: 'default', name: 'often', latest_version: 4, last_number: 1 },
        { namespace: 'default', name: 'once', latest_version: 1, last_number: 0 },
      ].sort((a, b) => (a.name < b.name ? -1 : 1)),
    );

    rig.accept(rig.step(run, 'only'));
    rig.succeed(rig.step(run, 'only'), 'null');
    rig.run({ workflow: 'once' });
    expect(await rig.commit()).toContain('workflow_names');
    expect(await versions()).toEqual(
      [
        ['often', 4],
        ['once', 1],
      ].sort(),
    );
    expect(await store.sql`SELECT version, source FROM workflows WHERE name = 'often' ORDER BY version`).toHaveLength(
      4,
    );
  });
});
