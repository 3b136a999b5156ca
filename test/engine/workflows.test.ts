/** Runs of several steps: who waits for whom, what follows from an end, and what a restart makes of it. */
import { describe, expect, it } from 'vitest';
import type { WorkflowRow } from '../../src/engine/rows.ts';
import type { RunOptions, WorkflowStep } from '../support/engine.ts';
import { createYard, type Yard } from '../support/engine.ts';

const DIAMOND: WorkflowStep[] = [
  { name: 'fetch' },
  { name: 'left', needs: ['fetch'] },
  { name: 'right', needs: ['fetch'] },
  { name: 'join', needs: ['left', 'right'] },
];

function start(steps: WorkflowStep[], options: RunOptions = {}, slots = 4) {
  const yard = createYard();
  yard.workflow('flow', steps);
  const worker = yard.hello({ name: 'alpha', slots });
  const runId = yard.submit({ workflow: 'flow', ...options });
  const finish = (step: string, outputJson = '1') => {
    worker.accept(`${runId}/${step}`);
    worker.succeed(`${runId}/${step}`, outputJson);
  };
  return { yard, worker, runId, finish };
}

const states = (yard: Yard, runId: string) =>
  Object.fromEntries(yard.run(runId).steps.map((step) => [step.definition.name, step.state]));

describe('a workflow', () => {
  it('is refused when a step needs what is not there, names are used twice, or needs go round', () => {
    const yard = createYard();
    const put = (steps: WorkflowStep[]) => () => yard.workflow('flow', steps);
    expect(put([{ name: 'a', needs: ['b'] }])).toThrow(/INVALID_WORKFLOW.*steps\[0\]\.needs.*"a" needs "b"/);
    expect(put([{ name: 'a' }, { name: 'a' }])).toThrow(/steps\[1\]\.name.*steps\[0\]/);
    expect(put([{ name: 'a' }, { name: 'b', needs: ['a', 'c'] }, { name: 'c', needs: ['b'] }])).toThrow(
      /cycle: "(b|c)" needs "(b|c)" needs "(b|c)"/,
    );
    expect(put([{ name: 'a', needs: ['a'] }])).toThrow(/cycle: "a" needs "a"/);
  });

  it('counts its versions and numbers its runs, and old versions are found when they come along', () => {
    const yard = createYard();
    expect(yard.workflow('flow', DIAMOND).workflow.version).toBe(1);
    expect(yard.workflow('flow', [{ name: 'only' }]).workflow.version).toBe(2);
    const second = yard.submit({ workflow: 'flow' });
    const storedWorkflow = yard.store.workflows[0] as WorkflowRow;
    const first = yard.submit({ workflow: 'flow', workflowVersion: 1, storedWorkflow });
    expect([yard.run(second).number, yard.run(first).number]).toEqual([1, 2]);
    expect(yard.run(first).steps).toHaveLength(4);
    const draft = yard.draft({ workflow: 'flow', workflowVersion: 7 });
    expect(yard.refuse({ kind: 'schedule_runs', runs: [draft] }).message).toContain('no version 7; the newest is 2');
  });
});

describe('the steps of a run', () => {
  it('start when all they need has succeeded, and say where their input comes from', () => {
    const { yard, runId, finish } = start(DIAMOND);
    expect(states(yard, runId)).toEqual({ fetch: 'ASSIGNED', left: 'BLOCKED', right: 'BLOCKED', join: 'BLOCKED' });
    finish('fetch');
    expect(states(yard, runId)).toEqual({ fetch: 'SUCCEEDED', left: 'ASSIGNED', right: 'ASSIGNED', join: 'BLOCKED' });
    finish('left');
    expect(yard.step(`${runId}/join`).state).toBe('BLOCKED');
    finish('right');
    const offer = yard.effects.find((effect) => effect.kind === 'run_step');
    expect(offer).toMatchObject({
      offer: {
        stepName: 'join',
        input: { from: 'STEPS', stepNames: ['left', 'right'] },
        runNumber: 1,
        workflow: 'flow',
      },
    });
    finish('join');
    expect(yard.run(runId).state).toBe('SUCCEEDED');
  });

  it('are skipped when what they need fails, while independent branches go on', () => {
    const { yard, worker, runId, finish } = start([...DIAMOND, { name: 'aside', needs: ['fetch'] }]);
    finish('fetch');
    worker.accept(`${runId}/left`);
    worker.fail(`${runId}/left`);
    expect(states(yard, runId)).toMatchObject({
      left: 'FAILED',
      join: 'SKIPPED',
      right: 'ASSIGNED',
      aside: 'ASSIGNED',
    });
    const join = yard.step(`${runId}/join`);
    expect(join.failure).toMatchObject({ reason: 'CAUSED_BY', causedById: yard.step(`${runId}/left`).stepId });
    finish('right');
    expect(yard.run(runId).state).toBe('RUNNING');
    finish('aside');
    expect(yard.run(runId)).toMatchObject({ state: 'FAILED', failure: { reason: 'APPLICATION' } });
  });

  it('end as the first that did not succeed says', () => {
    const { yard, worker, runId, finish } = start([
      { name: 'slow', executionTimeoutMs: 1_000 },
      { name: 'bad' },
      { name: 'good' },
    ]);
    worker.accept(`${runId}/slow`);
    yard.advance(1_000);
    worker.accept(`${runId}/bad`);
    worker.fail(`${runId}/bad`);
    finish('good');
    expect(yard.run(runId)).toMatchObject({ state: 'TIMED_OUT', failure: { reason: 'EXECUTION_TIMEOUT' } });
  });

  it('are all cancelled with their run, none skipped', () => {
    const { yard, runId } = start(DIAMOND);
    yard.take({ kind: 'cancel_run', namespace: 'default', runId, mode: 'ANY', reason: 'enough', stepName: '' });
    expect(new Set(Object.values(states(yard, runId)))).toEqual(new Set(['CANCELLED']));
    expect(yard.run(runId).state).toBe('CANCELLED');
  });

  it('fail when their joined input is larger than a payload may be', () => {
    const yard = createYard({ limits: { payloadBytesMax: 40 } });
    yard.workflow('flow', DIAMOND);
    const worker = yard.hello({ name: 'alpha', slots: 4 });
    const runId = yard.submit({ workflow: 'flow' });
    const finish = (step: string, output: string) => {
      worker.accept(`${runId}/${step}`);
      worker.succeed(`${runId}/${step}`, output);
    };
    finish('fetch', '1');
    finish('left', '"0123456789"');
    finish('right', '"0123456789"');
    // {"left":"0123456789","right":"0123456789"} has 42 bytes.
    expect(yard.step(`${runId}/join`)).toMatchObject({ state: 'FAILED', failure: { reason: 'INPUT_TOO_LARGE' } });
    expect(yard.step(`${runId}/join`).failure?.message).toMatch(/42 bytes.*limit is 40/);
    expect(yard.run(runId).state).toBe('FAILED');
  });

  it('can be a thousand in a row, and all be skipped at once', () => {
    const chain = Array.from({ length: 1000 }, (_, place) => ({
      name: `s${place}`,
      needs: place === 0 ? [] : [`s${place - 1}`],
    }));
    const { yard, worker, runId } = start(chain);
    worker.accept(`${runId}/s0`);
    worker.fail(`${runId}/s0`);
    expect(yard.step(`${runId}/s999`).state).toBe('SKIPPED');
    expect(yard.run(runId).state).toBe('FAILED');
  });

  it('survive a restart in the middle', () => {
    const { yard, worker, runId, finish } = start(DIAMOND);
    finish('fetch');
    worker.accept(`${runId}/left`);
    const next = createYard({ rows: yard.store.liveRows(), nowMs: yard.nowMs });
    expect(states(next, runId)).toEqual({ fetch: 'SUCCEEDED', left: 'RUNNING', right: 'ASSIGNED', join: 'BLOCKED' });
    expect(next.step(`${runId}/join`).openNeeds).toBe(2);
    const held = [`${runId}/left`, `${runId}/right`].map((address) => yard.assignmentId(address));
    const again = next.hello({
      workerId: worker.workerId,
      slots: 4,
      resume: { sessionHash: worker.sessionHash, heldAssignmentIds: held },
    });
    again.succeed(`${runId}/left`);
    again.accept(`${runId}/right`);
    again.succeed(`${runId}/right`);
    expect(states(next, runId)).toMatchObject({ join: 'ASSIGNED' });
  });
});

describe('a run that depends on another', () => {
  it('waits for its success', () => {
    const yard = createYard();
    const worker = yard.hello({ name: 'alpha', slots: 2 });
    const first = yard.submit();
    const second = yard.submit({ dependsOn: [first] });
    expect(yard.step(second)).toMatchObject({ state: 'BLOCKED', blockedOn: 'DEPENDS_ON_RUN' });
    const restarted = createYard({ rows: yard.store.liveRows(), nowMs: yard.nowMs });
    expect(restarted.run(second).openDependencies).toBe(1);
    worker.accept(first);
    worker.succeed(first);
    expect(yard.step(second).state).toBe('ASSIGNED');
  });

  it('fails with its failure, and so does what waits for that', () => {
    const yard = createYard();
    const worker = yard.hello({ name: 'alpha', slots: 2 });
    const first = yard.submit();
    const second = yard.submit({ dependsOn: [first] });
    const third = yard.submit({ dependsOn: [second] });
    worker.accept(first);
    worker.fail(first);
    for (const [run, cause] of [
      [second, first],
      [third, second],
    ] as const) {
      expect(yard.run(run)).toMatchObject({ state: 'FAILED', failure: { reason: 'CAUSED_BY', causedById: cause } });
      expect(yard.step(run).state).toBe('SKIPPED');
    }
    const late = yard.submit({ dependsOn: [third], storedDependencies: {} });
    expect(yard.run(late)).toMatchObject({ state: 'FAILED', failure: { causedById: third } });
    const fine = yard.submit({ dependsOn: ['old'], storedDependencies: { old: 'SUCCEEDED' } });
    expect(yard.step(fine).state).toBe('ASSIGNED');
    const unknown = yard.draft({ dependsOn: ['nobody'] });
    expect(yard.refuse({ kind: 'schedule_runs', runs: [unknown] }).refused).toBe('RUN_NOT_FOUND');
  });
});

describe('a retried run', () => {
  const retry = (yard: Yard, runId: string, keepPin = false) =>
    yard.take({
      kind: 'retry_run',
      namespace: 'default',
      runId,
      keepPin,
      stored: null,
      storedDependencies: new Map(),
    });

  it('runs again what did not succeed, with fresh budgets and numbers that go on', () => {
    const { yard, worker, runId, finish } = start(DIAMOND);
    finish('fetch');
    finish('right');
    worker.accept(`${runId}/left`);
    worker.fail(`${runId}/left`);
    expect(yard.run(runId).state).toBe('FAILED');
    retry(yard, runId);
    expect(states(yard, runId)).toEqual({ fetch: 'SUCCEEDED', right: 'SUCCEEDED', left: 'ASSIGNED', join: 'BLOCKED' });
    expect(yard.step(`${runId}/left`).assignment?.number).toBe(2);
    finish('left');
    finish('join');
    expect(yard.run(runId)).toMatchObject({ state: 'SUCCEEDED', failure: null });
  });

  it('is found in the store when it has left memory', () => {
    const { yard, worker, runId } = start(DIAMOND);
    worker.accept(`${runId}/fetch`);
    worker.fail(`${runId}/fetch`);
    const stored = yard.store.readRun(runId);
    yard.advance(120_000);
    expect(yard.engine.state.runs.has(runId)).toBe(false);
    yard.take({
      kind: 'retry_run',
      namespace: 'default',
      runId,
      keepPin: false,
      stored,
      storedDependencies: new Map(),
    });
    expect(states(yard, runId)).toEqual({ fetch: 'ASSIGNED', left: 'BLOCKED', right: 'BLOCKED', join: 'BLOCKED' });
  });

  it('is refused while it goes on, and after a success', () => {
    const { yard, runId, finish } = start([{ name: 'only' }]);
    const command = {
      kind: 'retry_run' as const,
      namespace: 'default',
      runId,
      keepPin: false,
      stored: null,
      storedDependencies: new Map(),
    };
    expect(yard.refuse(command)).toMatchObject({ refused: 'RUN_STATE' });
    finish('only');
    expect(yard.refuse(command).message).toContain('SUCCEEDED');
  });
});
