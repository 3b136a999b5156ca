/** What is counted: it agrees with the steps themselves, whatever happens, and after a restart. */
import { describe, expect, it } from 'vitest';
import { addToRate, createRate, perSecond, RATE_WINDOW_MS } from '../../src/engine/rates.ts';
import type { Stats } from '../../src/engine/stats.ts';
import { countingIds, createYard, type Yard } from '../support/engine.ts';

const stats = (yard: Yard, workflow = ''): Stats => yard.take({ kind: 'read_stats', namespace: 'default', workflow });
const actionOf = (yard: Yard, action: string, workflow = '') =>
  stats(yard, workflow).actions.find((one) => one.action === action);

/** The same from the steps that are in memory: all of them, while nothing has been forgotten. */
function counted(yard: Yard) {
  const counts = new Map<string, Record<string, number>>();
  for (const run of yard.engine.state.runs.values()) {
    for (const { definition, state } of run.steps) {
      const of = counts.get(definition.action) ?? { blocked: 0, pending: 0, running: 0, succeeded: 0, failed: 0 };
      counts.set(definition.action, of);
      const kind =
        state === 'BLOCKED' || state === 'PENDING' || state === 'SUCCEEDED'
          ? state.toLowerCase()
          : state === 'ASSIGNED' || state === 'RUNNING'
            ? 'running'
            : 'failed';
      of[kind] = (of[kind] ?? 0) + 1;
    }
  }
  return Object.fromEntries(counts);
}

function shown(yard: Yard) {
  const { actions } = stats(yard);
  const pairs = actions.map(({ action, blocked, pending, running, succeeded, failed }) => [
    action,
    { blocked, pending, running, succeeded, failed },
  ]);
  return Object.fromEntries(pairs);
}

describe('the statistics', () => {
  it('agree with the steps through every kind of move, and after a restart', () => {
    // Some of what is offered is left alone for a while.
    const yard = createYard({ times: { acceptTimeoutMs: 3_600_000 } });
    const check = () => expect(shown(yard)).toEqual(counted(yard));
    yard.workflow('flow', [
      { name: 'a', action: 'cut' },
      { name: 'b', action: 'sew', needs: ['a'] },
      { name: 'c', action: 'sell', needs: ['b'] },
    ]);
    const worker = yard.hello({ name: 'alpha', slots: 9, actions: ['cut', 'sew', 'sell'] });
    const [good = '', bad = '', gone = ''] = [1, 2, 3].map(() => yard.submit({ workflow: 'flow' }));
    const concurrency = { key: 'k', limit: 1 };
    for (let count = 0; count < 3; count++) yard.submit({ action: 'cut', concurrency });
    check();
    for (const runId of [good, bad]) {
      worker.accept(`${runId}/a`);
      worker.succeed(`${runId}/a`);
    }
    check();
    for (let count = 1; count <= 5; count++) {
      worker.accept(`${good}/b`);
      worker.reportInvalid(`${good}/b`);
      check();
      if (count < 5) yard.advance((yard.step(`${good}/b`).readyMs ?? 0) - yard.nowMs);
    }
    worker.accept(`${good}/a`);
    worker.succeed(`${good}/a`);
    check();
    worker.giveBack(`${good}/b`);
    check();
    yard.advance(1_000);
    worker.accept(`${bad}/b`);
    worker.fail(`${bad}/b`);
    check();
    yard.take({ kind: 'cancel_run', namespace: 'default', runId: gone, mode: 'ANY', reason: '', stepName: '' });
    check();
    const { runsTotal, runsEnded } = stats(yard);
    expect({ runsTotal, runsEnded }).toEqual({ runsTotal: 6, runsEnded: 2 });
    const next = createYard({ rows: yard.store.liveRows(), nowMs: yard.nowMs });
    expect(shown(next)).toEqual(shown(yard));
    expect(stats(next)).toMatchObject({ runsTotal: 6, runsEnded: 2 });
    // An ended run that a retry brings back counts once.
    const retry = { kind: 'retry_run', namespace: 'default', keepPin: false, storedDependencies: new Map() } as const;
    const stored = yard.store.readRun(bad);
    next.engine.apply({ ...retry, runId: bad, stored }, next.nowMs, countingIds(20_000));
    expect(stats(next)).toMatchObject({ runsTotal: 6, runsEnded: 1 });
    const sum = (of: Stats) => of.actions.reduce((all, { succeeded, failed }) => all + succeeded + failed, 0);
    expect(sum(stats(next))).toBe(sum(stats(yard)) - 2);
  });

  it('tell how long the oldest has waited, of its workflow, behind others of higher priority', () => {
    const yard = createYard();
    yard.workflow('flow', [{ name: 'a', action: 'cut' }]);
    yard.submit({ action: 'cut', priority: 1 });
    yard.advance(5_000);
    yard.submit({ workflow: 'flow', priority: 4 });
    for (let count = 0; count < 40; count++) yard.submit({ action: 'cut', priority: 4 });
    yard.advance(2_000);
    expect(actionOf(yard, 'cut')?.oldestPendingMs).toBe(7_000);
    expect(actionOf(yard, 'cut', 'flow')).toMatchObject({ oldestPendingMs: 2_000, pending: 1 });
    expect(actionOf(yard, 'cut')?.pending).toBe(42);
  });

  it('tell the workers that are connected, and their free slots', () => {
    const yard = createYard();
    const alpha = yard.hello({ name: 'alpha', slots: 3, actions: ['cut', 'sew'] });
    const beta = yard.hello({ name: 'beta', slots: 5, actions: ['cut'] });
    yard.submit({ action: 'cut' });
    expect(actionOf(yard, 'cut')).toMatchObject({ workersConnected: 2, slotsFree: 7 });
    expect(actionOf(yard, 'sew')?.workersConnected).toBe(1);
    // What is drained takes nothing more, and who has left is not there.
    yard.take({ kind: 'drain_worker', namespace: 'default', workerId: beta.workerId, reason: '' });
    expect(actionOf(yard, 'cut')?.slotsFree).toBe(actionOf(yard, 'sew')?.slotsFree);
    beta.goodbye();
    expect(actionOf(yard, 'cut')?.workersConnected).toBe(1);
    expect(alpha.name).toBe('alpha');
  });

  it('tell the rate of the last minutes, and how long the rest takes at that rate', () => {
    const yard = createYard();
    const worker = yard.hello({ name: 'alpha', actions: ['cut'] });
    expect(stats(yard).timeLeftMs).toBe(0);
    for (let count = 0; count < 130; count++) yard.submit({ action: 'cut', scheduleTimeoutMs: 0 });
    expect(stats(yard).timeLeftMs).toBeNull();
    for (let second = 0; second < 100; second++) {
      const [held] = yard.worker(worker.workerId).assignments.values();
      const runId = held?.run.runId ?? '';
      worker.accept(runId);
      yard.advance(1_000);
      worker.succeed(runId);
    }
    expect(actionOf(yard, 'cut')?.completedPerSecond).toBeCloseTo(1, 1);
    expect(stats(yard).timeLeftMs).toBeCloseTo(30_000, -4);
    yard.advance(2 * RATE_WINDOW_MS);
    expect(actionOf(yard, 'cut')?.completedPerSecond).toBe(0);
    expect(stats(yard).timeLeftMs).toBeNull();
  });

  it('are refused for what does not exist', () => {
    const yard = createYard();
    const read = (namespace: string, workflow: string) => yard.refuse({ kind: 'read_stats', namespace, workflow });
    expect(read('nowhere', '').refused).toBe('NAMESPACE_NOT_FOUND');
    expect(read('default', 'nothing').refused).toBe('WORKFLOW_NOT_FOUND');
  });
});

describe('a rate', () => {
  it('forgets what is older than its window, slice by slice', () => {
    const rate = createRate();
    const startMs = 10 * RATE_WINDOW_MS;
    for (let atMs = startMs; atMs < startMs + RATE_WINDOW_MS; atMs += 1_000) addToRate(rate, atMs);
    const full = perSecond(rate, startMs + RATE_WINDOW_MS - 1, 0);
    expect(full).toBeCloseTo(1, 1);
    const half = perSecond(rate, startMs + 1.5 * RATE_WINDOW_MS, 0);
    expect(half).toBeGreaterThan(0.4);
    expect(half).toBeLessThan(0.6);
    expect(perSecond(rate, startMs + 2.1 * RATE_WINDOW_MS, 0)).toBe(0);
  });

  it('of a counting that began just now is over that time', () => {
    const rate = createRate();
    const startMs = 1_234_567_890_123;
    for (let second = 0; second < 60; second++) addToRate(rate, startMs + second * 1_000);
    expect(perSecond(rate, startMs + 60_000, startMs)).toBeCloseTo(1, 3);
    // A single one in the first moment is no rate of thousands.
    const one = createRate();
    addToRate(one, startMs);
    expect(perSecond(one, startMs + 1, startMs)).toBeLessThanOrEqual(0.1);
  });
});
