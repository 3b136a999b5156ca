/** Mistakes that the naive plane found, each as the few commands that show it. */
import { describe, expect, it } from 'vitest';
import { createYard, desire, type Yard } from '../support/engine.ts';

const key = { key: 'data', limit: 1 };
const ROOTS = [{ name: 'one' }, { name: 'two' }];

const states = (yard: Yard, runId: string) => yard.run(runId).steps.map((step) => step.state);
const remove = (yard: Yard, workerId: string) =>
  yard.take({ kind: 'delete_worker', namespace: 'default', workerId, force: true });
const cancel = (yard: Yard, runId: string, stepName = '') =>
  yard.take({ kind: 'cancel_run', namespace: 'default', runId, mode: 'ANY', reason: '', stepName });

function retry(yard: Yard, runId: string, { keepPin = false } = {}) {
  const stored = yard.engine.state.runs.has(runId) ? null : yard.store.readRun(runId);
  yard.take({ kind: 'retry_run', namespace: 'default', runId, keepPin, stored, storedDependencies: new Map() });
}

describe('a pin', () => {
  it('that nobody accepted is gone with its worker, also when that held two steps of the run', () => {
    const yard = createYard();
    yard.workflow('flow', ROOTS, 'HARD');
    const alpha = yard.hello({ name: 'alpha', slots: 2 });
    const runId = yard.submit({ workflow: 'flow' });
    expect(states(yard, runId)).toEqual(['ASSIGNED', 'ASSIGNED']);
    remove(yard, alpha.workerId);
    expect(states(yard, runId)).toEqual(['PENDING', 'PENDING']);
  });

  it('of before a retry means nothing when its worker is deleted, also for a run that came from the store', () => {
    const yard = createYard();
    const alpha = yard.hello({ name: 'alpha' });
    const runId = yard.submit({ sticky: 'HARD' });
    alpha.accept(runId);
    alpha.fail(runId);
    yard.advance(120_000);
    alpha.slots(0);
    retry(yard, runId);
    expect(yard.engine.state.pinnedRuns.size).toBe(0);
    remove(yard, alpha.workerId);
    expect(states(yard, runId)).toEqual(['PENDING']);
  });

  it('goes back to nothing when the worker it was kept on was deleted', () => {
    const yard = createYard();
    yard.workflow('flow', ROOTS, 'SOFT');
    const alpha = yard.hello({ name: 'alpha', slots: 1 });
    const beta = yard.hello({ name: 'beta', slots: 1 });
    const runId = yard.submit({ workflow: 'flow' });
    expect([yard.holder(`${runId}/one`), yard.holder(`${runId}/two`)]).toEqual(['alpha', 'beta']);
    beta.accept(`${runId}/two`);
    remove(yard, beta.workerId);
    // Accepted after the one that pinned the run to beta, and made before it.
    alpha.accept(`${runId}/one`);
    const gamma = yard.hello({ name: 'gamma', slots: 1 });
    expect(yard.run(runId).pinnedWorkerId).toBe(gamma.workerId);
    gamma.giveBack(`${runId}/two`);
    expect(yard.run(runId).pinnedWorkerId).toBeNull();
  });
});

describe('a concurrency key', () => {
  it('holds the steps that waited while their run was live, once it is not', () => {
    const yard = createYard();
    yard.workflow('flow', [
      { name: 'one', scheduleTimeoutMs: 5_000 },
      { name: 'two', action: 'paint' },
    ]);
    yard.hello({ name: 'alpha' });
    const first = yard.submit({ workflow: 'flow', concurrency: key });
    expect(states(yard, first)).toEqual(['ASSIGNED', 'PENDING']);
    const second = yard.submit({ concurrency: key });
    yard.hello({ name: 'beta' });
    // Never accepted: the run has lost its place, and `two` may not go beside the second run.
    yard.advance(5_000);
    expect([yard.holder(second), yard.step(`${first}/two`).blockedOn]).toEqual(['beta', 'HELD']);
    yard.hello({ name: 'painter', actions: ['paint'] });
    expect(states(yard, first)).toEqual(['TIMED_OUT', 'BLOCKED']);
  });

  it('is given free by a retried run whose assignment nobody accepted, whatever was done before the retry', () => {
    const yard = createYard();
    yard.workflow('flow', ROOTS);
    const alpha = yard.hello({ name: 'alpha' });
    const first = yard.submit({ workflow: 'flow', concurrency: key });
    alpha.accept(`${first}/one`);
    alpha.succeed(`${first}/one`);
    alpha.accept(`${first}/two`);
    alpha.fail(`${first}/two`);
    retry(yard, first);
    expect(yard.run(first).state).toBe('PENDING');
    const second = yard.submit({ concurrency: key });
    expect(yard.step(second).blockedOn).toBe('HELD');
    alpha.giveBack(`${first}/two`);
    expect([yard.run(first).state, yard.holder(second)]).toEqual(['PENDING', 'alpha']);
    const next = createYard({ rows: yard.store.liveRows(), nowMs: yard.nowMs });
    expect([next.run(first).live, next.run(second).live]).toEqual([false, true]);
  });

  it('gives its free place before later work, also when the first that was held loses its worker to earlier work', () => {
    const yard = createYard();
    const cpu = desire('kind', 'cpu');
    const gpu = desire('kind', 'gpu');
    const alpha = yard.hello({ name: 'alpha', labels: { kind: 'cpu' } });
    const live = yard.submit({ concurrency: key, desired: [cpu] });
    const earlier = yard.submit({ desired: [cpu] });
    const [first, second] = [cpu, gpu].map((label) => yard.submit({ concurrency: key, desired: [label] }));
    yard.hello({ name: 'beta', labels: { kind: 'gpu' } });
    const later = yard.submit({ desired: [gpu], dependsOn: [live] });
    alpha.accept(live);
    alpha.succeed(live);
    expect([yard.holder(earlier), yard.holder(`${second}`)]).toEqual(['alpha', 'beta']);
    expect([yard.step(`${first}`).blockedOn, yard.step(later).state]).toEqual(['HELD', 'PENDING']);
  });
});

it('a retried run waits for what it depends on, also when another one it named is no longer kept', () => {
  const yard = createYard();
  const alpha = yard.hello({ name: 'alpha', slots: 3 });
  const first = yard.submit();
  const run = yard.submit({ dependsOn: ['long gone', first], storedDependencies: { 'long gone': 'SUCCEEDED' } });
  alpha.accept(first);
  alpha.fail(first);
  expect(yard.run(run).state).toBe('FAILED');
  retry(yard, first);
  retry(yard, run);
  expect(yard.step(run).blockedOn).toBe('DEPENDS_ON_RUN');
});

it('a retried step stands where the last edit of its run put it, also when it had ended by then', () => {
  const yard = createYard();
  yard.workflow('flow', ROOTS);
  const alpha = yard.hello({ name: 'alpha' });
  const runId = yard.submit({ workflow: 'flow' });
  alpha.handOver(`${runId}/one`);
  // Its handler may still run, so that alpha has no room for the other step.
  cancel(yard, runId, 'one');
  yard.take({ kind: 'update_run', namespace: 'default', runId, priority: 4, runsOn: null });
  cancel(yard, runId);
  retry(yard, runId);
  expect(yard.run(runId).steps.map((step) => step.priority)).toEqual([4, 4]);
});
