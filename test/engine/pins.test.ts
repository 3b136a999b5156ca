/** Sticky runs: where they are pinned, for how long, and what stays true besides. */
import { describe, expect, it } from 'vitest';
import { createYard, desire } from '../support/engine.ts';

const TWO = [{ name: 'one' }, { name: 'two', needs: ['one'] }];

function fleet(sticky: 'SOFT' | 'HARD', steps = TWO) {
  const yard = createYard();
  yard.workflow('flow', steps, sticky);
  const alpha = yard.hello({ name: 'alpha' });
  const beta = yard.hello({ name: 'beta' });
  const runId = yard.submit({ workflow: 'flow' });
  return { yard, alpha, beta, runId };
}

describe('a SOFT run', () => {
  it('goes to its worker first, and to another when that one is full', () => {
    const { yard, alpha, beta, runId } = fleet('SOFT');
    expect(yard.holder(`${runId}/one`)).toBe('alpha');
    alpha.accept(`${runId}/one`);
    alpha.succeed(`${runId}/one`);
    expect(yard.holder(`${runId}/two`)).toBe('alpha');
    alpha.giveBack(`${runId}/two`);
    expect(yard.holder(`${runId}/two`)).toBe('beta');
    expect(yard.run(runId).pinnedWorkerId).toBe(beta.workerId);
    beta.giveBack(`${runId}/two`);
    // Back to what it was: alpha, by the assignment it accepted.
    expect(yard.run(runId).pinnedWorkerId).toBe(alpha.workerId);
  });
});

describe('a HARD run', () => {
  it('waits for its worker while that one is full or away, and goes on with a new process of it', () => {
    const { yard, alpha, runId } = fleet('HARD');
    alpha.accept(`${runId}/one`);
    alpha.slots(0);
    alpha.succeed(`${runId}/one`);
    expect(yard.step(`${runId}/two`).state).toBe('PENDING');
    alpha.slots(1);
    expect(yard.holder(`${runId}/two`)).toBe('alpha');
    alpha.accept(`${runId}/two`);
    alpha.goodbye();
    expect(yard.step(`${runId}/two`).state).toBe('PENDING');
    yard.hello({ name: 'alpha' });
    expect(yard.holder(`${runId}/two`)).toBe('alpha');
  });

  it('keeps to its labels besides', () => {
    const yard = createYard();
    yard.workflow('flow', [{ name: 'one' }, { name: 'two', needs: ['one'], desired: [desire('model', 'b')] }], 'HARD');
    const alpha = yard.hello({ name: 'alpha', labels: { model: 'a' } });
    yard.hello({ name: 'beta', labels: { model: 'b' } });
    const runId = yard.submit({ workflow: 'flow', desired: [desire('model', null, { comparator: 'EXISTS' })] });
    alpha.accept(`${runId}/one`);
    alpha.succeed(`${runId}/one`);
    expect(yard.step(`${runId}/two`).state).toBe('PENDING');
    alpha.upsert({ model: 'b' });
    expect(yard.holder(`${runId}/two`)).toBe('alpha');
  });

  it('has its roots land on one worker, though others are idle', () => {
    const { yard, alpha, runId } = fleet('HARD', [{ name: 'one' }, { name: 'two' }] as typeof TWO);
    expect([yard.holder(`${runId}/one`), yard.step(`${runId}/two`).state]).toEqual(['alpha', 'PENDING']);
    alpha.accept(`${runId}/one`);
    alpha.succeed(`${runId}/one`);
    expect(yard.holder(`${runId}/two`)).toBe('alpha');
  });

  it.each([
    ['return', 0],
    ['goodbye', 0],
    ['accept deadline', 10_000],
    ['lost', 30_000],
  ] as const)('is unpinned when its first assignment ends unaccepted by %s', (how, afterMs) => {
    const { yard, alpha, runId } = fleet('HARD');
    expect(yard.run(runId).pinnedWorkerId).toBe(alpha.workerId);
    if (how === 'return') alpha.giveBack(`${runId}/one`);
    else if (how === 'goodbye') alpha.goodbye();
    else if (how === 'lost') alpha.close();
    else alpha.handOver(`${runId}/one`);
    yard.advance(afterMs);
    expect(yard.holder(`${runId}/one`)).toBe('beta');
  });

  it('fails at once when its worker is deleted, also what becomes ready later', () => {
    const { yard, alpha, runId } = fleet('HARD');
    alpha.accept(`${runId}/one`);
    alpha.slots(0);
    alpha.succeed(`${runId}/one`);
    yard.take({ kind: 'delete_worker', namespace: 'default', workerId: alpha.workerId, force: true });
    expect(yard.run(runId)).toMatchObject({ state: 'FAILED', failure: { reason: 'STICKY_WORKER_DELETED' } });
  });

  it('fails when its worker is deleted by force while it holds the step', () => {
    const { yard, alpha, runId } = fleet('HARD');
    alpha.accept(`${runId}/one`);
    yard.take({ kind: 'delete_worker', namespace: 'default', workerId: alpha.workerId, force: true });
    expect(yard.run(runId)).toMatchObject({ state: 'FAILED', failure: { reason: 'STICKY_WORKER_DELETED' } });
  });
});

describe('a pin that was given', () => {
  it('names a worker of the namespace', () => {
    const yard = createYard();
    const draft = yard.draft({ sticky: 'HARD', pinToWorkerId: 'nobody' });
    expect(yard.refuse({ kind: 'schedule_runs', runs: [draft] })).toMatchObject({ refused: 'WORKER_NOT_FOUND' });
  });

  it('holds from the start and is not cleared by an unaccepted assignment', () => {
    const yard = createYard();
    yard.hello({ name: 'alpha' });
    const beta = yard.hello({ name: 'beta' });
    const runId = yard.submit({ sticky: 'HARD', pinToWorkerId: beta.workerId });
    expect(yard.holder(runId)).toBe('beta');
    beta.giveBack(runId);
    expect(yard.run(runId).pinnedWorkerId).toBe(beta.workerId);
    expect(yard.step(runId).state).toBe('PENDING');
  });

  it('survives a restart, and so does a tentative one', () => {
    const { yard, alpha, runId } = fleet('HARD');
    const next = createYard({ rows: yard.store.liveRows(), nowMs: yard.nowMs });
    expect(next.run(runId)).toMatchObject({ pinnedWorkerId: alpha.workerId, keptPin: null });
    alpha.accept(`${runId}/one`);
    const later = createYard({ rows: yard.store.liveRows(), nowMs: yard.nowMs });
    expect(later.run(runId).keptPin?.workerId).toBe(alpha.workerId);
    expect(later.engine.state.pinnedRuns.get(alpha.workerId)?.size).toBe(1);
  });
});
