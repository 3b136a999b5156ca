/** What is kept of a run and its step, which say the same however little of it is their own. */
import { beforeEach, expect, it } from 'vitest';
import { createYard, desire, type Yard } from '../support/engine.ts';

let yard: Yard;

beforeEach(() => {
  yard = createYard();
});

it('shares what runs were asked with between those that were asked alike', () => {
  const asked = { desired: [desire('zone', 'a')], priority: 3 as const, runsOn: ['linux'] };
  const [one, other] = [
    yard.run(yard.submit(asked)),
    yard.run(yard.submit({ ...asked, desired: [desire('zone', 'a')] })),
  ];
  const plain = [yard.run(yard.submit()), yard.run(yard.submit())];
  expect(plain[0]?.terms).toBe(plain[1]?.terms);
  expect(plain[0]?.steps[0]?.role).toBe(plain[1]?.steps[0]?.role);
  expect([one.desired, one.priority, one.runsOn]).toEqual([[desire('zone', 'a')], 3, ['linux']]);
  expect([other.desired, other.priority, other.runsOn]).toEqual([one.desired, one.priority, one.runsOn]);
});

it.each([
  { priority: 4 as const },
  { scheduleTimeoutMs: 7 },
  { executionTimeoutMs: 7 },
  { sticky: 'SOFT' as const },
  { concurrency: { key: 'k', limit: 1 } },
  { contentHash: 'hash' },
  { runsOn: ['linux'] },
])('keeps runs apart that differ by %o', (options) => {
  const plain = yard.run(yard.submit());
  const other = yard.run(yard.submit(options));
  const again = yard.run(yard.submit());
  expect(other.terms).not.toBe(plain.terms);
  expect(again.terms).toBe(plain.terms);
});

it("takes a namespace's new schedule timeout for runs that come after it", () => {
  const before = yard.step(yard.submit());
  const timeoutMs = 5_000;
  yard.take({
    kind: 'put_namespace',
    name: 'default',
    matchMode: null,
    retentionMs: null,
    scheduleTimeoutMs: timeoutMs,
  });
  const after = yard.step(yard.submit());
  expect(after.scheduleDeadlineMs).toBe(yard.nowMs + timeoutMs);
  expect(before.scheduleDeadlineMs).not.toBe(after.scheduleDeadlineMs);
  yard.advance(timeoutMs);
  expect([before.state, after.state]).toEqual(['PENDING', 'TIMED_OUT']);
});

it('lets an edit concern one run, and none that was asked alike', () => {
  const [edited, other] = [yard.submit(), yard.submit()];
  yard.take({ kind: 'update_run', namespace: 'default', runId: edited, priority: 4, runsOn: ['linux'] });
  expect([yard.run(edited).priority, yard.run(edited).runsOn, yard.run(edited).edited]).toEqual([4, ['linux'], true]);
  expect([yard.run(other).priority, yard.run(other).runsOn, yard.run(other).edited]).toEqual([2, [], false]);
  expect(yard.step(other).priority).toBe(2);
});

it('lets what happens to one run happen to no other', () => {
  const [first, second] = [yard.submit(), yard.submit()];
  const alpha = yard.hello();
  alpha.accept(first);
  alpha.fail(first);
  const { state, failures, started, assignedOnce, failure } = yard.step(second);
  expect({ state, failures, started, assignedOnce, failure }).toEqual({
    state: 'ASSIGNED',
    failures: 0,
    started: false,
    assignedOnce: true,
    failure: null,
  });
  expect(yard.run(second)).toMatchObject({ state: 'PENDING', startMs: null, endMs: null, failure: null });
});

it('keeps every small number of a step apart from the others', () => {
  const step = yard.step(yard.submit());
  const seen = () => [step.state, step.blockedOn, step.priority, step.queued, step.openNeeds];
  expect(seen()).toEqual(['PENDING', null, 2, true, 0]);
  step.openNeeds = 524_287;
  step.blockedOn = 'BACKING_OFF';
  step.priority = 4;
  step.state = 'SKIPPED';
  expect(seen()).toEqual(['SKIPPED', 'BACKING_OFF', 4, true, 524_287]);
  step.openNeeds = 0;
  step.blockedOn = null;
  step.queued = false;
  step.priority = 1;
  expect(seen()).toEqual(['SKIPPED', null, 1, false, 0]);
});

it('knows when a step waits as it was submitted, and when not', () => {
  const step = yard.step(yard.submit({ scheduleTimeoutMs: 1_000 }));
  const plain = [yard.nowMs, yard.nowMs + 1_000];
  expect([step.readyMs, step.scheduleDeadlineMs]).toEqual(plain);
  step.scheduleDeadlineMs = null;
  expect([step.readyMs, step.scheduleDeadlineMs]).toEqual([yard.nowMs, null]);
  step.setWait(5, 6);
  expect([step.readyMs, step.scheduleDeadlineMs]).toEqual([5, 6]);
  step.setWait(yard.nowMs, yard.nowMs + 1_000);
  expect([step.readyMs, step.scheduleDeadlineMs]).toEqual(plain);
  step.setWait(5, 6);
  expect([step.readyMs, step.scheduleDeadlineMs]).toEqual([5, 6]);
});
