/** A killed server's rows, given to the next engine: the same steps wait in the same order, the same workers hold the same. */
import { beforeEach, describe, expect, it } from 'vitest';
import { type Client, createYard, desire, type Yard } from '../support/engine.ts';

let yard: Yard;
beforeEach(() => {
  yard = createYard();
});

/** The server dies now, and another takes over after `downMs`. */
function restart(downMs = 0): Yard {
  return createYard({ rows: yard.store.liveRows(), nowMs: yard.nowMs + downMs });
}

/** The worker's process, which has survived, finds the new server. */
function back(next: Yard, client: Client, heldRunIds: string[], options: { slots?: number } = {}): Client {
  const heldAssignmentIds = heldRunIds.map((run) => yard.assignmentId(run));
  return next.hello({ name: client.name, ...options, resume: { sessionHash: client.sessionHash, heldAssignmentIds } });
}

const order = (one: Yard) => {
  const waiting = [...one.engine.state.demands.values()].flatMap((demand) => [...demand.queue]);
  return waiting.map((step) => [step.run.runId, step.priority, step.readySequence]).sort();
};

describe('what waits', () => {
  it('waits again in its order, asks for the same, and is taken in the same order', () => {
    yard.submit({ priority: 1 });
    yard.submit({ priority: 3, runsOn: ['gpu'], stepDesired: [desire('memory', 1)] });
    yard.submit({ priority: 3, action: 'paint' });
    const next = restart();
    expect(order(next)).toEqual(order(yard));
    const offers = (one: Yard) => {
      one.hello({ name: 'alpha', slots: 9, actions: ['build', 'paint'], labels: { memory: 1 } });
      return one.effects.map((effect) => effect.kind === 'run_step' && effect.offer.runId);
    };
    expect(offers(next)).toEqual(offers(yard));
  });

  it('goes behind what was there before when it is new', () => {
    const [first] = [yard.submit(), yard.submit()];
    const next = restart();
    next.take({ kind: 'schedule_runs', runs: [{ ...next.draft(), runId: 'new' }] });
    next.hello({ name: 'alpha' });
    expect([next.holder(first), next.holder('new')]).toEqual(['alpha', null]);
    expect(next.step('new').readySequence).toBe(3);
  });

  it('still times out, but not because of the outage', () => {
    const [short, long] = [yard.submit({ scheduleTimeoutMs: 1_000 }), yard.submit({ scheduleTimeoutMs: 3_600_000 })];
    const forEver = yard.submit({ scheduleTimeoutMs: 0 });
    const next = restart(600_000);
    next.advance(next.times.reconnectGraceMs - 1);
    expect(next.step(short).state).toBe('PENDING');
    next.advance(1);
    expect([short, long].map((run) => next.step(run).state)).toEqual(['TIMED_OUT', 'PENDING']);
    next.advance(3_600_000 - 600_000 - next.times.reconnectGraceMs);
    expect([long, forEver].map((run) => next.step(run).state)).toEqual(['TIMED_OUT', 'PENDING']);
  });

  it('keeps its counts', () => {
    const alpha = yard.hello({ name: 'alpha' });
    const run = yard.submit({ retry: { attemptsMax: 3, workerLossesMax: 1 } });
    alpha.accept(run);
    alpha.fail(run);
    alpha.accept(run);
    yard.hello({ name: 'alpha', actions: [] });
    const next = restart();
    expect(next.step(run)).toMatchObject({
      state: 'PENDING',
      failures: 1,
      losses: 1,
      started: true,
      run: { state: 'RUNNING' },
    });
    const again = next.hello({ name: 'beta' });
    expect(next.step(run).assignment?.number).toBe(3);
    again.accept(run);
    next.hello({ name: 'beta', actions: [] });
    expect(next.step(run).state).toBe('CRASHED');
  });
});

describe('what is held', () => {
  it('is kept for a process that comes back within the grace, and its result is taken', () => {
    const alpha = yard.hello({ name: 'alpha', slots: 2, labels: { memory: 1 } });
    const [accepted, offered] = [yard.submit(), yard.submit()];
    alpha.accept(accepted);
    yard.take({
      kind: 'progress_step',
      connection: alpha.connection,
      assignmentId: yard.assignmentId(accepted),
      progress: { text: 'half', phase: '', fraction: 0.5 },
    });
    alpha.upsert({ memory: 2 });
    const next = restart(5_000);
    expect([next.holder(accepted), next.holder(offered)]).toEqual(['alpha', 'alpha']);
    expect(next.take({ kind: 'read_worker', namespace: 'default', workerId: alpha.workerId, name: '' })).toMatchObject({
      state: 'DISCONNECTED',
      slots: 2,
      slotsUsed: 2,
      labels: new Map([['memory', 2]]),
      labelsRevision: 2,
    });
    next.advance(next.times.reconnectGraceMs - 1);
    const again = back(next, alpha, [accepted, offered], { slots: 2 });
    expect(again.opened).toMatchObject({ resumed: true, droppedAssignmentIds: [] });
    again.accept(offered);
    for (const run of [accepted, offered]) again.succeed(run);
    expect([accepted, offered].map((run) => next.step(run).state)).toEqual(['SUCCEEDED', 'SUCCEEDED']);
  });

  it('is lost after the grace when nobody comes, and what was not accepted goes back free of charge', () => {
    const alpha = yard.hello({ name: 'alpha', slots: 2 });
    const [accepted, offered] = [yard.submit({ scheduleTimeoutMs: 0 }), yard.submit({ scheduleTimeoutMs: 0 })];
    alpha.accept(accepted);
    const next = restart();
    next.hello({ name: 'beta', slots: 2 });
    next.advance(next.times.reconnectGraceMs - 1);
    expect(next.holder(accepted)).toBe('alpha');
    next.advance(1);
    expect([accepted, offered].map((run) => [next.holder(run), next.step(run).losses])).toEqual([
      ['beta', 1],
      ['beta', 0],
    ]);
    expect(next.worker(alpha.workerId)).toMatchObject({ crashed: true, sessionHash: null, slotsUsed: 0 });
  });

  it('and was never sent is withdrawn when the process does not know it', () => {
    const alpha = yard.hello({ name: 'alpha' });
    const run = yard.submit();
    const next = restart();
    const again = back(next, alpha, []);
    expect(again.opened.keptAssignmentIds).toEqual([]);
    expect(next.step(run)).toMatchObject({ losses: 0, state: 'ASSIGNED' });
    expect(next.assignmentId(run)).not.toBe(yard.assignmentId(run));
  });

  it('has its deadlines, but none because of the outage', () => {
    const alpha = yard.hello({ name: 'alpha', slots: 4 });
    const silent = yard.submit({ executionTimeoutMs: 3_600_000, progressTimeoutMs: 10_000 });
    const slow = yard.submit({ executionTimeoutMs: 10_000 });
    const long = yard.submit({ executionTimeoutMs: 3_600_000 });
    const cancelled = yard.submit();
    const runs = [silent, slow, long, cancelled];
    for (const run of runs) alpha.accept(run);
    yard.take({
      kind: 'cancel_run',
      namespace: 'default',
      runId: cancelled,
      mode: 'ANY',
      reason: 'enough',
      stepName: 'step',
    });
    const next = restart(600_000);
    const again = back(next, alpha, runs, { slots: 4 });
    expect(next.effects).toMatchObject([{ kind: 'cancel_step', connection: again.connection, reason: 'enough' }]);
    next.advance(next.times.reconnectGraceMs - 1);
    expect(runs.map((run) => next.step(run).state)).toEqual(['RUNNING', 'RUNNING', 'RUNNING', 'RUNNING']);
    next.advance(1);
    expect(runs.map((run) => next.step(run).state)).toEqual(['TIMED_OUT', 'TIMED_OUT', 'RUNNING', 'CANCELLED']);
    next.advance(3_600_000 - 600_000 - next.times.reconnectGraceMs);
    expect(next.step(long).state).toBe('TIMED_OUT');
  });
});

it('a step in backoff tries again', () => {
  const alpha = yard.hello({ name: 'alpha' });
  const run = yard.submit({ retry: { attemptsMax: 2, initialBackoffMs: 1_000 } });
  alpha.accept(run);
  alpha.fail(run);
  const next = restart();
  expect(next.step(run).state).toBe('BLOCKED');
  next.hello({ name: 'beta' });
  // Its wait goes on where it was: no deadline that the outage would have to be made up for.
  next.advance(1_000);
  expect(next.holder(run)).toBe('beta');
});

it('a backoff longer than the grace is not shortened', () => {
  const alpha = yard.hello({ name: 'alpha' });
  const run = yard.submit({ retry: { attemptsMax: 2, initialBackoffMs: 3_600_000 } });
  alpha.accept(run);
  alpha.fail(run);
  const next = restart();
  next.hello({ name: 'beta' });
  next.advance(3_599_999);
  expect(next.step(run).state).toBe('BLOCKED');
  next.advance(1);
  expect(next.holder(run)).toBe('beta');
});

it('workers, namespaces and request ids are as they were', () => {
  yard.take({ kind: 'put_namespace', name: 'other', matchMode: 'STRICT', retentionMs: 5, scheduleTimeoutMs: 7 });
  const alpha = yard.hello({
    name: 'alpha',
    namespace: 'other',
    tags: ['gpu'],
    nickname: 'Al',
    devices: { gpuIds: ['0'], cpuSlots: 2 },
  });
  const spare = yard.hello();
  spare.goodbye();
  yard.take({ kind: 'drain_worker', namespace: 'other', workerId: alpha.workerId, reason: '' });
  const run = yard.submit({ namespace: 'other', requestId: 'once', requestDigest: 'A' });
  const next = restart();
  const view = (one: Yard) => one.take({ kind: 'read_worker', namespace: 'other', workerId: '', name: 'alpha' });
  const offline = { state: 'OFFLINE', notReadyReason: 'DISCONNECTED' };
  expect(view(next)).toEqual({ ...view(yard), ...offline });
  expect(next.take({ kind: 'read_namespaces' })).toEqual(
    expect.arrayContaining(yard.take({ kind: 'read_namespaces' }) as never),
  );
  const draft = { ...next.draft({ namespace: 'other', requestId: 'once', requestDigest: 'A' }), runId: 'twin' };
  expect(next.take({ kind: 'schedule_runs', runs: [draft] })).toMatchObject([{ runId: run, alreadyScheduled: true }]);
  expect(next.hello().workerId).toBe(spare.workerId);
  expect(next.hello({ name: 'gamma' }).opened.worker.workerNumber).toBe(3);
});

it('rows that contradict each other are refused loudly', () => {
  yard.hello({ name: 'alpha' });
  yard.submit();
  const rows = yard.store.liveRows();
  expect(() => createYard({ rows: { ...rows, workers: [] } })).toThrow(/without a stored worker/);
  const lost = rows.runs.map((run) => ({ ...run, namespace: 'nowhere' }));
  expect(() => createYard({ rows: { ...rows, runs: lost } })).toThrow(/"nowhere", which is not stored/);
});
