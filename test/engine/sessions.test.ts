/** Streams of workers: who a hello means, and what becomes of its work when the stream or the process goes. */
import { beforeEach, describe, expect, it, test } from 'vitest';
import { createYard, type Yard } from '../support/engine.ts';

let yard: Yard;
beforeEach(() => {
  yard = createYard();
});

const stateOf = (workerId: string) =>
  yard.take({ kind: 'read_worker', namespace: 'default', workerId, name: '' }).state;

describe('who a hello means', () => {
  it('a name: registered on first use, the same worker afterwards', () => {
    const first = yard.hello({ name: 'alpha', tags: ['gpu'] });
    first.goodbye();
    const second = yard.hello({ name: 'alpha' });
    expect(second.workerId).toBe(first.workerId);
    expect(second.opened.worker).toMatchObject({
      tags: ['gpu'],
      state: 'IDLE',
      slots: 1,
      nickname: 'anonymous',
      defaultWorker: false,
    });
  });

  it('an id, with or without its name', () => {
    const { worker } = yard.take({
      kind: 'register_worker',
      namespace: 'default',
      name: 'alpha',
      tags: [],
      nickname: 'Al',
    });
    expect(worker.state).toBe('OFFLINE');
    expect(yard.hello({ workerId: worker.workerId, name: 'alpha' }).opened.worker).toMatchObject({
      name: 'alpha',
      nickname: 'Al',
    });
    expect(yard.hello({ workerId: worker.workerId }).workerId).toBe(worker.workerId);
  });

  it('neither: a default worker each, and a free one is used again', () => {
    const first = yard.hello();
    const second = yard.hello();
    expect([first.name, second.name]).toEqual(['default-1', 'default-2']);
    first.goodbye();
    expect(yard.hello().workerId).toBe(first.workerId);
  });

  it('a default worker whose grace runs is not free', () => {
    const first = yard.hello();
    first.close();
    expect(yard.hello().name).toBe('default-2');
    yard.advance(yard.times.reconnectGraceMs);
    expect(yard.hello().workerId).toBe(first.workerId);
  });

  it('a former default process gets another id when its own was lent meanwhile', () => {
    const first = yard.hello();
    first.close();
    yard.advance(yard.times.reconnectGraceMs);
    const borrower = yard.hello();
    expect(borrower.workerId).toBe(first.workerId);
    const back = first.resume([]);
    expect(back.opened.resumed).toBe(false);
    expect(back.name).toBe('default-2');
    expect(yard.worker(borrower.workerId).connection).toBe(borrower.connection);
  });

  it('names are of their namespace', () => {
    yard.take({ kind: 'put_namespace', name: 'other', matchMode: null, retentionMs: null, scheduleTimeoutMs: null });
    const here = yard.hello({ name: 'alpha' });
    const there = yard.hello({ name: 'alpha', namespace: 'other' });
    expect(there.workerId).not.toBe(here.workerId);
    expect(yard.refuseHello({ workerId: here.workerId, namespace: 'other' }).refused).toBe('WORKER_NOT_FOUND');
  });
});

describe('a hello that is refused changes nothing', () => {
  beforeEach(() => {
    yard.hello({ name: 'alpha', tags: ['a100', 'gpu'], labels: { memory: 1 } });
  });

  test.each([
    ['an unknown id', { workerId: 'nobody' }, 'WORKER_NOT_FOUND', 'nobody'],
    ['an unknown namespace', { namespace: 'nowhere' }, 'NAMESPACE_NOT_FOUND', 'nowhere'],
    ['a bad name', { name: '-' }, 'INVALID_NAME', '"-"'],
    [
      'other tags',
      { name: 'alpha', tags: ['cpu'] },
      'TAGS_DIFFER',
      'registered with the tags a100, gpu, the hello says cpu',
    ],
    ['tags of nobody', { tags: ['gpu'] }, 'TAGS_WITHOUT_IDENTITY', 'hello.tags'],
    ['too many slots', { name: 'beta', slots: 10_001 }, 'LIMIT_EXCEEDED', 'has 10001 slots, the limit is 10000'],
    ['a bad label', { name: 'beta', labels: { load: Number.NaN } }, 'INVALID_LABEL', 'hello.labels["load"]'],
  ])('%s', (_what, hello, reason, message) => {
    const before = JSON.stringify(yard.store.liveRows());
    const refused = yard.refuseHello(hello);
    expect(refused.refused).toBe(reason);
    expect(refused.message).toContain(message);
    expect(yard.changes).toEqual([]);
    expect(yard.effects).toEqual([]);
    expect(JSON.stringify(yard.store.liveRows())).toBe(before);
    expect(yard.engine.state.workers.size).toBe(1);
  });

  it('id and name that disagree', () => {
    const beta = yard.hello({ name: 'beta' });
    expect(yard.refuseHello({ workerId: beta.workerId, name: 'alpha' }).refused).toBe('ID_AND_NAME_DISAGREE');
    expect(yard.worker(beta.workerId).connection).toBe(beta.connection);
  });
});

it('hello.labels replaces the stored set and takes the next revision; without it the set stays', () => {
  const first = yard.hello({ name: 'alpha', labels: { memory: 1, zone: 'a' } });
  expect(first.opened.worker.labelsRevision).toBe(1);
  const second = yard.hello({ name: 'alpha', labels: { memory: 2 } });
  expect(second.opened.worker).toMatchObject({ labels: new Map([['memory', 2]]), labelsRevision: 2 });
  const third = yard.hello({ name: 'alpha', labels: null });
  expect(third.opened.worker).toMatchObject({ labels: new Map([['memory', 2]]), labelsRevision: 2 });
});

it('slots come from the hello, else from its devices, else they are one', () => {
  const devices = { gpuIds: ['0', '1'], cpuSlots: 3 };
  expect(yard.hello({ name: 'alpha', slots: 7, devices }).opened.worker.slots).toBe(7);
  expect(yard.hello({ name: 'alpha', devices }).opened.worker.slots).toBe(5);
  expect(yard.hello({ name: 'alpha', devices: { gpuIds: ['0'], cpuSlots: null } }).opened.worker.slots).toBe(1);
  expect(yard.hello({ name: 'alpha' }).opened.worker.slots).toBe(1);
});

describe('a new process under the same name', () => {
  it('evicts the old one: what that had accepted is lost at once, what it had not goes back free of charge', () => {
    const old = yard.hello({ name: 'alpha', slots: 2 });
    const [accepted, offered] = [yard.submit(), yard.submit()];
    old.accept(accepted);
    const fresh = yard.hello({ name: 'alpha', slots: 2, actions: [] });
    expect(yard.effects[0]).toMatchObject({ kind: 'evict', connection: old.connection, reason: 'SUPERSEDED' });
    expect(fresh.opened.worker.assignments).toEqual([]);
    expect([accepted, offered].map((run) => [yard.step(run).state, yard.step(run).losses])).toEqual([
      ['PENDING', 1],
      ['PENDING', 0],
    ]);
    expect(yard.store.attempts.map((attempt) => attempt.outcome)).toEqual(['SUPERSEDED', 'SUPERSEDED']);
  });

  it('takes the work again when it can', () => {
    const old = yard.hello({ name: 'alpha' });
    const run = yard.submit();
    old.accept(run);
    const before = yard.assignmentId(run);
    const fresh = yard.hello({ name: 'alpha' });
    expect(yard.holder(run)).toBe('alpha');
    expect(yard.assignmentId(run)).not.toBe(before);
    expect(yard.effects.at(-1)).toMatchObject({
      kind: 'run_step',
      connection: fresh.connection,
      offer: { runId: run, attempt: 2 },
    });
    expect(yard.refuse({ kind: 'accept_step', connection: old.connection, assignmentId: before }).refused).toBe(
      'STALE_SESSION',
    );
  });
});

describe('a lost stream', () => {
  it('keeps the work for the grace, and the worker is DISCONNECTED', () => {
    const alpha = yard.hello({ name: 'alpha' });
    const run = yard.submit();
    alpha.accept(run);
    alpha.close();
    expect(stateOf(alpha.workerId)).toBe('DISCONNECTED');
    yard.advance(yard.times.reconnectGraceMs - 1);
    expect(yard.holder(run)).toBe('alpha');
    const back = alpha.resume([run]);
    expect(back.opened).toMatchObject({
      resumed: true,
      keptAssignmentIds: [yard.assignmentId(run)],
      droppedAssignmentIds: [],
    });
    yard.advance(yard.times.reconnectGraceMs);
    expect(yard.step(run).state).toBe('RUNNING');
    back.succeed(run);
    expect(yard.step(run).losses).toBe(0);
  });

  it('loses the work after the grace: another worker gets it, and this one has CRASHED until its next hello', () => {
    const alpha = yard.hello({ name: 'alpha' });
    const run = yard.submit();
    alpha.accept(run);
    alpha.close();
    const beta = yard.hello({ name: 'beta' });
    yard.advance(yard.times.reconnectGraceMs);
    expect(yard.holder(run)).toBe('beta');
    expect(yard.step(run).losses).toBe(1);
    expect(stateOf(alpha.workerId)).toBe('CRASHED');
    expect(yard.store.workers.get(alpha.workerId)?.crashed).toBe(true);
    const back = alpha.resume([run]);
    expect(back.opened.resumed).toBe(false);
    expect(stateOf(alpha.workerId)).toBe('IDLE');
    expect(beta.opened.worker.name).toBe('beta');
  });

  it('is CRASHED as well when what it held was not accepted, which is free of charge', () => {
    const alpha = yard.hello({ name: 'alpha' });
    const run = yard.submit();
    alpha.close();
    yard.advance(yard.times.reconnectGraceMs);
    expect(stateOf(alpha.workerId)).toBe('CRASHED');
    expect(yard.step(run)).toMatchObject({ state: 'PENDING', losses: 0 });
  });

  it("writes down that it crashed when a step's own grace is shorter than the worker's", () => {
    const alpha = yard.hello({ name: 'alpha' });
    const run = yard.submit({ reconnectGraceMs: 1_000 });
    alpha.accept(run);
    alpha.close();
    yard.advance(1_000);
    expect(yard.step(run).state).toBe('PENDING');
    expect(stateOf(alpha.workerId)).toBe('CRASHED');
    expect(yard.store.workers.get(alpha.workerId)?.crashed).toBe(true);
  });

  it('is OFFLINE after the grace when it held nothing', () => {
    const alpha = yard.hello({ name: 'alpha' });
    alpha.close();
    yard.advance(yard.times.reconnectGraceMs);
    expect(stateOf(alpha.workerId)).toBe('OFFLINE');
  });

  it('that was silent is told so, on that stream', () => {
    const alpha = yard.hello({ name: 'alpha' });
    yard.take({ kind: 'close_session', connection: alpha.connection, reason: 'SILENT' });
    expect(yard.effects).toMatchObject([{ kind: 'evict', connection: alpha.connection, reason: 'SILENT' }]);
    yard.take({ kind: 'close_session', connection: alpha.connection, reason: 'CLOSED' });
    expect(yard.effects).toEqual([]);
  });
});

describe('resuming', () => {
  it('drops what is no longer its own, withdraws what it never had, loses what it forgot', () => {
    const alpha = yard.hello({ name: 'alpha', slots: 4, actions: ['build'] });
    const [kept, forgotten, neverHad, cancelled] = [yard.submit(), yard.submit(), yard.submit(), yard.submit()];
    for (const run of [kept, forgotten]) alpha.accept(run);
    alpha.handOver(cancelled);
    const cancelledAssignment = yard.assignmentId(cancelled);
    alpha.close();
    yard.take({ kind: 'cancel_run', namespace: 'default', runId: cancelled, mode: 'ANY', reason: '', stepName: '' });
    const back = alpha.resume([kept, cancelledAssignment], { actions: [] });
    expect(back.opened.keptAssignmentIds).toEqual([yard.assignmentId(kept)]);
    expect(back.opened.droppedAssignmentIds).toEqual([cancelledAssignment]);
    expect([forgotten, neverHad].map((run) => [yard.step(run).state, yard.step(run).losses])).toEqual([
      ['PENDING', 1],
      ['PENDING', 0],
    ]);
    // The dropped handler may still run, so its place stays taken until the worker says that it ended.
    expect(back.opened.worker.slotsUsed).toBe(2);
    yard.refuse({ kind: 'confirm_cancel', connection: back.connection, assignmentId: cancelledAssignment });
    expect(yard.worker(alpha.workerId).slotsUsed).toBe(1);
  });

  it('on a newer stream while the old one is still open fences the old one', () => {
    const alpha = yard.hello({ name: 'alpha' });
    const run = yard.submit();
    alpha.accept(run);
    const back = alpha.resume([run]);
    expect(yard.effects).toEqual([{ kind: 'end_stream', connection: alpha.connection }]);
    expect(yard.holder(run)).toBe('alpha');
    expect(yard.refuse({ kind: 'upsert_labels', connection: alpha.connection, patch: new Map() }).refused).toBe(
      'STALE_SESSION',
    );
    yard.take({ kind: 'close_session', connection: alpha.connection, reason: 'CLOSED' });
    expect(yard.worker(alpha.workerId).connection).toBe(back.connection);
  });

  it('tells the process again to stop what was cancelled while it was away', () => {
    const alpha = yard.hello({ name: 'alpha' });
    const run = yard.submit();
    alpha.accept(run);
    alpha.close();
    yard.take({ kind: 'cancel_run', namespace: 'default', runId: run, mode: 'ANY', reason: 'enough', stepName: '' });
    expect(yard.effects).toEqual([]);
    const back = alpha.resume([run]);
    expect(yard.effects).toEqual([
      { kind: 'cancel_step', connection: back.connection, assignmentId: yard.assignmentId(run), reason: 'enough' },
    ]);
  });
});

describe('goodbye', () => {
  it('gives everything back at once, free of charge, to whoever is free', () => {
    const alpha = yard.hello({ name: 'alpha', slots: 2 });
    const [accepted, offered] = [yard.submit(), yard.submit()];
    alpha.accept(accepted);
    const beta = yard.hello({ name: 'beta', slots: 2 });
    alpha.goodbye();
    expect([accepted, offered].map((run) => [yard.holder(run), yard.step(run).losses])).toEqual([
      ['beta', 0],
      ['beta', 0],
    ]);
    expect(yard.effects.map((effect) => [effect.kind, effect.connection])).toEqual([
      ['run_step', beta.connection],
      ['run_step', beta.connection],
    ]);
    expect(stateOf(alpha.workerId)).toBe('OFFLINE');
    yard.take({ kind: 'close_session', connection: alpha.connection, reason: 'CLOSED' });
    expect(yard.changes).toEqual([]);
  });
});

describe('after the end of everything', () => {
  it('no timer is armed, and no index remembers', () => {
    const alpha = yard.hello({ name: 'alpha', slots: 3 });
    const runs = [
      yard.submit({ executionTimeoutMs: 60_000, progressTimeoutMs: 60_000 }),
      yard.submit({ retry: { attemptsMax: 2, initialBackoffMs: 1_000 }, requestId: 'once' }),
      yard.submit(),
      yard.submit({ action: 'nobody' }),
    ];
    const [done, failing, returned, waiting] = runs as [string, string, string, string];
    for (const run of [done, failing]) alpha.accept(run);
    alpha.handOver(returned);
    alpha.giveBack(returned);
    alpha.fail(failing);
    alpha.succeed(done);
    yard.nowMs += 500;
    for (const run of [failing, returned, waiting]) {
      yard.take({ kind: 'cancel_run', namespace: 'default', runId: run, mode: 'ANY', reason: '', stepName: '' });
    }
    alpha.goodbye();
    const { state } = yard.engine;
    expect(
      [state.demands, state.demandsByLookup, state.openWorkers, state.assignments, state.workersByConnection].map(
        (index) => index.size,
      ),
    ).toEqual([0, 0, 0, 0, 0]);
    expect(state.timers.size).toBe(1);
    expect(yard.engine.nextDueMs()).toBe(yard.nowMs - 500 + yard.times.endedInMemoryMs);
    yard.advance(yard.times.endedInMemoryMs - 1_000);
    expect(state.runs.size).toBe(4);
    yard.advance(500);
    expect(state.runs.size).toBe(3);
    yard.advance(500 + 1_000);
    expect(
      [state.runs, state.runsByRequest, state.endedRuns, state.endedAssignments, state.timers].map(
        (index) => index.size,
      ),
    ).toEqual([0, 0, 0, 0, 0]);
  });
});
