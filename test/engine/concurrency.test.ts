/** Runs that share a concurrency key: who goes, who is held, and that nobody behind them waits. */
import { expect, it } from 'vitest';
import { createYard } from '../support/engine.ts';

const key = { key: 'dataset', limit: 1 };

it('holds the second run of a key and not those behind it', () => {
  const yard = createYard();
  const alpha = yard.hello({ name: 'alpha', slots: 3 });
  const [first, second, other] = [yard.submit({ concurrency: key }), yard.submit({ concurrency: key }), yard.submit()];
  expect(yard.holder(first)).toBe('alpha');
  expect(yard.step(second)).toMatchObject({ state: 'BLOCKED', blockedOn: 'HELD', scheduleDeadlineMs: null });
  expect(yard.holder(other)).toBe('alpha');
  alpha.accept(first);
  alpha.succeed(first);
  expect(yard.holder(second)).toBe('alpha');
  alpha.accept(second);
  alpha.succeed(second);
  expect(yard.engine.state.concurrency.size).toBe(0);
});

it('lets a run that nobody can take block nobody', () => {
  const yard = createYard();
  const stuck = yard.submit({ concurrency: key, runsOn: ['gpu'] });
  yard.hello({ name: 'alpha', tags: ['cpu'] });
  const second = yard.submit({ concurrency: key });
  expect(yard.holder(second)).toBe('alpha');
  expect(yard.step(stuck)).toMatchObject({ state: 'BLOCKED', blockedOn: 'HELD' });
});

it('gives the free place to the first in queue order that somebody can take', () => {
  const yard = createYard();
  const alpha = yard.hello({ name: 'alpha', tags: ['cpu'], slots: 2 });
  const first = yard.submit({ concurrency: key });
  const stuck = yard.submit({ concurrency: key, runsOn: ['gpu'] });
  const [third, urgent] = [yard.submit({ concurrency: key }), yard.submit({ concurrency: key, priority: 4 })];
  alpha.accept(first);
  alpha.succeed(first);
  expect([stuck, third, urgent].map((run) => yard.step(run).state)).toEqual(['BLOCKED', 'BLOCKED', 'ASSIGNED']);
  alpha.accept(urgent);
  alpha.succeed(urgent);
  expect([stuck, third].map((run) => yard.step(run).state)).toEqual(['BLOCKED', 'ASSIGNED']);
  alpha.accept(third);
  alpha.succeed(third);
  // A place is free and nobody can take it: from now on it waits, and its clock runs.
  expect(yard.step(stuck)).toMatchObject({ state: 'PENDING', blockedOn: null });
  expect(yard.step(stuck).scheduleDeadlineMs).toBe(yard.nowMs + 300_000);
});

it('counts earlier waiting work before the run that was held', () => {
  const yard = createYard();
  const alpha = yard.hello({ name: 'alpha' });
  const first = yard.submit({ concurrency: key });
  const [plain, held] = [yard.submit(), yard.submit({ concurrency: key })];
  alpha.accept(first);
  alpha.succeed(first);
  expect([yard.step(plain).state, yard.step(held).state]).toEqual(['ASSIGNED', 'PENDING']);
});

it('frees the place when the first assignment ended unaccepted', () => {
  const yard = createYard();
  const alpha = yard.hello({ name: 'alpha' });
  const first = yard.submit({ concurrency: key });
  yard.hello({ name: 'beta', actions: ['paint'] });
  const second = yard.submit({ concurrency: key, action: 'paint' });
  expect(yard.step(second).blockedOn).toBe('HELD');
  alpha.giveBack(first);
  expect([yard.step(first).blockedOn, yard.holder(second)]).toEqual(['HELD', 'beta']);
});

it('keeps the place over a retry, a lost worker and a restart', () => {
  const yard = createYard();
  const alpha = yard.hello({ name: 'alpha', slots: 2 });
  const first = yard.submit({ concurrency: key, retry: { attemptsMax: 2, initialBackoffMs: 5_000 } });
  const second = yard.submit({ concurrency: key });
  alpha.accept(first);
  alpha.fail(first);
  expect([yard.step(first).blockedOn, yard.step(second).blockedOn]).toEqual(['BACKING_OFF', 'HELD']);
  const next = createYard({ rows: yard.store.liveRows(), nowMs: yard.nowMs });
  expect(next.run(first).live).toBe(true);
  expect(next.step(second)).toMatchObject({ state: 'BLOCKED', blockedOn: 'HELD' });
  next.hello({ name: 'gamma', slots: 2 });
  next.take({ kind: 'cancel_run', namespace: 'default', runId: first, mode: 'ANY', reason: '', stepName: '' });
  expect(next.holder(second)).toBe('gamma');
});

it('lets all steps of a live run go', () => {
  const yard = createYard();
  yard.workflow('flow', [{ name: 'one' }, { name: 'two' }]);
  const alpha = yard.hello({ name: 'alpha', slots: 2 });
  const first = yard.submit({ concurrency: key });
  const run = yard.submit({ workflow: 'flow', concurrency: key });
  expect(yard.run(run).steps.map((step) => step.blockedOn)).toEqual(['HELD', 'HELD']);
  alpha.accept(first);
  alpha.succeed(first);
  expect(yard.run(run).steps.map((step) => step.state)).toEqual(['ASSIGNED', 'ASSIGNED']);
});

it('takes limits above one', () => {
  const yard = createYard();
  yard.hello({ name: 'alpha', slots: 9 });
  const runs = Array.from({ length: 4 }, () => yard.submit({ concurrency: { key: 'x', limit: 3 } }));
  expect(runs.map((run) => yard.step(run).state)).toEqual(['ASSIGNED', 'ASSIGNED', 'ASSIGNED', 'BLOCKED']);
});
