/** Workers as identities, and what they say of themselves. */
import { beforeEach, describe, expect, it } from 'vitest';
import { createYard, desire, type Yard } from '../support/engine.ts';

let yard: Yard;
beforeEach(() => {
  yard = createYard();
});

const named = (workerId: string) => ({ namespace: 'default', workerId });

describe('registering', () => {
  const register = (name: string, tags: string[] = []) =>
    yard.take({ kind: 'register_worker', namespace: 'default', name, tags, nickname: '' });

  it('the same name gives the same worker, which keeps its tags and says so', () => {
    const first = register('alpha', ['gpu']);
    expect(first).toMatchObject({
      alreadyRegistered: false,
      warnings: [],
      worker: { state: 'OFFLINE', tags: ['gpu'] },
    });
    expect(register('alpha', ['gpu'])).toMatchObject({ alreadyRegistered: true, warnings: [] });
    const other = register('alpha', ['cpu']);
    expect(other.worker).toMatchObject({ workerId: first.worker.workerId, tags: ['gpu'] });
    expect(other.warnings).toMatchObject([{ reason: 'TAGS_KEPT' }]);
    expect(other.warnings[0]?.message).toContain('(gpu); the tags cpu');
  });

  it('no name makes a new worker each time, whatever the dice say', () => {
    const randomIds = ['same-dice', 'same-dice', 'same-dice', 'other-dice'];
    const ids = {
      orderedId: () => `id-${randomIds.length}`,
      randomId: () => randomIds.shift() as string,
      fraction: () => randomIds.length / 10,
    };
    const command = { kind: 'register_worker', namespace: 'default', name: '', tags: [], nickname: '' } as const;
    yard.engine.apply(command, yard.nowMs, ids);
    yard.engine.apply(command, yard.nowMs, ids);
    expect([...yard.engine.state.workers.values()].map((worker) => worker.name)).toEqual([
      'worker-same-dic',
      'worker-other-di',
    ]);
  });

  it('gives display names nobody else of the namespace has', () => {
    const ids = {
      orderedId: () => `id-${yard.engine.state.workers.size}`,
      randomId: () => 'random',
      fraction: () => 0.5,
    };
    for (const name of ['alpha', 'beta', 'gamma']) {
      yard.engine.apply(
        { kind: 'register_worker', namespace: 'default', name, tags: [], nickname: '' },
        yard.nowMs,
        ids,
      );
    }
    const names = yard.take({ kind: 'read_workers', namespace: 'default' }).map((worker) => worker.displayName);
    expect(new Set(names).size).toBe(3);
  });

  it('is refused for a bad name or an unknown namespace', () => {
    const bad = { kind: 'register_worker', namespace: 'default', name: 'a', tags: [], nickname: '' } as const;
    expect(yard.refuse(bad).refused).toBe('INVALID_NAME');
    expect(yard.refuse({ ...bad, name: 'alpha', namespace: 'nowhere' }).refused).toBe('NAMESPACE_NOT_FOUND');
    expect(yard.engine.state.workers.size).toBe(0);
  });
});

describe('labels', () => {
  it('release what waits in the same turn, and the order says who gets what', () => {
    const alpha = yard.hello({ name: 'alpha', slots: 2, labels: { memory: 128 } });
    const runs = ([1, 3, 2] as const).map((priority) =>
      yard.submit({ priority, desired: [desire('memory', 256, { comparator: 'GREATER_THAN' })] }),
    );
    expect(yard.effects).toEqual([]);
    expect(alpha.upsert({ memory: 512, zone: 'a' })).toEqual({
      labels: new Map<string, string | number>([
        ['memory', 512],
        ['zone', 'a'],
      ]),
      labelsRevision: 2,
    });
    expect(yard.effects).toMatchObject([
      { kind: 'run_step', connection: alpha.connection, offer: { runId: runs[1], labelsRevision: 2 } },
      { kind: 'run_step', connection: alpha.connection, offer: { runId: runs[2], labelsRevision: 2 } },
    ]);
    expect(yard.changes.map((change) => change.table)).toEqual(['workers', 'runs', 'runs']);
  });

  it('that end a match stop new work and leave what runs', () => {
    const alpha = yard.hello({ name: 'alpha', slots: 2, labels: { zone: 'a' } });
    const running = yard.submit({ desired: [desire('zone', 'a')] });
    alpha.accept(running);
    alpha.upsert({ zone: null });
    const next = yard.submit({ desired: [desire('zone', 'a')] });
    expect([yard.holder(running), yard.holder(next)]).toEqual(['alpha', null]);
  });

  it('refused change nothing at all', () => {
    const alpha = yard.hello({ name: 'alpha', labels: { memory: 128 } });
    const run = yard.submit({ desired: [desire('memory', 512)] });
    const patch = new Map<string, number>([
      ['memory', 512],
      ['load', Number.NaN],
    ]);
    expect(yard.refuse({ kind: 'upsert_labels', connection: alpha.connection, patch }).refused).toBe('INVALID_LABEL');
    expect([yard.changes, yard.effects, yard.holder(run)]).toEqual([[], [], null]);
    expect(yard.worker(alpha.workerId)).toMatchObject({ labels: new Map([['memory', 128]]), labelsRevision: 1 });
  });

  it('of a worker without tags are asked for all the same', () => {
    yard.hello({ name: 'alpha' });
    const run = yard.submit({ runsOn: ['gpu'], desired: [desire('memory', 256)] });
    expect(yard.holder(run)).toBeNull();
    yard.hello({ name: 'beta', labels: { memory: 256 } });
    expect(yard.holder(run)).toBe('beta');
  });
});

describe('readiness', () => {
  it('a draining worker finishes and gets nothing new, also in its next process, until it is resumed', () => {
    const alpha = yard.hello({ name: 'alpha', slots: 2 });
    const run = yard.submit();
    alpha.accept(run);
    yard.take({ kind: 'drain_worker', ...named(alpha.workerId), reason: 'upgrade' });
    expect(yard.effects).toEqual([{ kind: 'drain', connection: alpha.connection, reason: 'upgrade' }]);
    const next = yard.submit();
    alpha.succeed(run);
    yard.hello({ name: 'alpha' });
    expect([yard.holder(next), yard.store.workers.get(alpha.workerId)?.draining]).toEqual([null, true]);
    yard.take({ kind: 'resume_worker', ...named(alpha.workerId) });
    expect(yard.holder(next)).toBe('alpha');
  });

  it('a stream under back-pressure loses what has not left, free of charge, and nothing else', () => {
    const alpha = yard.hello({ name: 'alpha', slots: 3 });
    const [accepted, sent, queued] = [yard.submit(), yard.submit(), yard.submit()];
    alpha.accept(accepted);
    alpha.handOver(sent);
    const assignmentId = yard.assignmentId(queued);
    yard.take({ kind: 'set_back_pressure', connection: alpha.connection, on: true });
    expect(yard.effects).toEqual([]);
    yard.take({ kind: 'withdraw_unsent', connection: alpha.connection });
    expect(yard.effects).toEqual([
      { kind: 'cancel_step', connection: alpha.connection, assignmentId, reason: 'BACK_PRESSURE' },
    ]);
    expect([accepted, sent, queued].map(yard.holder)).toEqual(['alpha', 'alpha', null]);
    expect(yard.worker(alpha.workerId).slotsUsed).toBe(2);
    // It was on its way out when it was taken back: then its place is kept, as the worker will hear of it.
    yard.take({ kind: 'handed_over', connection: alpha.connection, assignmentId });
    expect(yard.worker(alpha.workerId).slotsUsed).toBe(3);
    yard.refuse({ kind: 'confirm_cancel', connection: alpha.connection, assignmentId });
    expect(yard.worker(alpha.workerId).slotsUsed).toBe(2);
  });

  it('a back-pressured stream gets nothing until it flows again', () => {
    const alpha = yard.hello({ name: 'alpha' });
    yard.take({ kind: 'set_back_pressure', connection: alpha.connection, on: true });
    const run = yard.submit();
    expect(yard.holder(run)).toBeNull();
    yard.take({ kind: 'set_back_pressure', connection: alpha.connection, on: false });
    expect(yard.holder(run)).toBe('alpha');
  });

  it('fewer slots than in use take nothing away, and nothing new comes until enough are free', () => {
    const alpha = yard.hello({ name: 'alpha', slots: 3 });
    const [a, b, c, d] = [yard.submit(), yard.submit(), yard.submit(), yard.submit()];
    for (const run of [a, b, c]) alpha.accept(run);
    alpha.slots(1);
    alpha.succeed(a);
    alpha.succeed(b);
    expect([yard.holder(c), yard.holder(d)]).toEqual(['alpha', null]);
    alpha.succeed(c);
    expect(yard.holder(d)).toBe('alpha');
    expect(yard.refuse({ kind: 'change_slots', connection: alpha.connection, slots: 10_001 }).refused).toBe(
      'LIMIT_EXCEEDED',
    );
  });

  it('another match mode lets workers take what waits', () => {
    const mode = (matchMode: 'LEGACY' | 'STRICT') =>
      yard.take({ kind: 'put_namespace', name: 'default', matchMode, retentionMs: null, scheduleTimeoutMs: null });
    mode('STRICT');
    yard.hello({ name: 'alpha' });
    const run = yard.submit({ runsOn: ['gpu'] });
    expect(yard.holder(run)).toBeNull();
    mode('LEGACY');
    expect(yard.holder(run)).toBe('alpha');
  });

  it('the best of the workers that may take it all at once gets it', () => {
    const put = { kind: 'put_namespace', name: 'default', retentionMs: null, scheduleTimeoutMs: null } as const;
    yard.take({ ...put, matchMode: 'STRICT' });
    for (const name of ['alpha', 'beta', 'gamma']) yard.hello({ name, labels: name === 'beta' ? { ssd: 1 } : {} });
    const run = yard.submit({ runsOn: ['gpu'], desired: [desire('ssd', 1, { required: false })] });
    yard.take({ ...put, matchMode: 'LEGACY' });
    expect(yard.holder(run)).toBe('beta');
  });

  it('workers of another namespace take nothing', () => {
    yard.take({ kind: 'put_namespace', name: 'other', matchMode: null, retentionMs: null, scheduleTimeoutMs: null });
    yard.hello({ name: 'alpha', namespace: 'other' });
    expect(yard.holder(yard.submit())).toBeNull();
  });
});

describe('deleting', () => {
  it('a worker that holds work needs force, which gives the work to others; the name is free again', () => {
    const alpha = yard.hello({ name: 'alpha', tags: ['gpu'], slots: 2 });
    const [accepted, offered] = [yard.submit(), yard.submit()];
    alpha.accept(accepted);
    const beta = yard.hello({ name: 'beta', slots: 2 });
    const remove = (force: boolean) => ({ kind: 'delete_worker', ...named(alpha.workerId), force }) as const;
    expect(yard.refuse(remove(false))).toMatchObject({ refused: 'WORKER_BUSY', metadata: { assignments: '2' } });
    expect(yard.take(remove(true))).toEqual({ reopenedSteps: 2 });
    expect([yard.holder(accepted), yard.holder(offered)]).toEqual(['beta', 'beta']);
    expect(yard.effects.map((effect) => [effect.kind, effect.connection])).toEqual([
      ['evict', alpha.connection],
      ['run_step', beta.connection],
      ['run_step', beta.connection],
    ]);
    expect(yard.store.workers.has(alpha.workerId)).toBe(false);
    expect(yard.refuse(remove(true)).refused).toBe('WORKER_NOT_FOUND');
    const again = yard.hello({ name: 'alpha', tags: ['cpu'] });
    expect(again.workerId).not.toBe(alpha.workerId);
  });

  it('an idle or an away one leaves nothing behind', () => {
    const alpha = yard.hello({ name: 'alpha' });
    alpha.close();
    yard.take({ kind: 'delete_worker', ...named(alpha.workerId), force: false });
    const { state } = yard.engine;
    const indexes = [
      state.workers,
      state.workersByName,
      state.displayNames,
      state.openWorkers,
      state.workersListing,
      state.timers,
    ];
    expect(indexes.map((index) => index.size)).toEqual([0, 0, 0, 0, 0, 0]);
  });
});

it('reads workers by id and by name, within their namespace', () => {
  const alpha = yard.hello({ name: 'alpha' });
  const read = (workerId: string, name: string, namespace = 'default') =>
    ({ kind: 'read_worker', namespace, workerId, name }) as const;
  expect(yard.take(read(alpha.workerId, '')).name).toBe('alpha');
  expect(yard.take(read('', 'alpha')).workerId).toBe(alpha.workerId);
  expect(yard.refuse(read('', 'beta')).refused).toBe('WORKER_NOT_FOUND');
  expect(yard.refuse(read(alpha.workerId, '', 'other')).refused).toBe('WORKER_NOT_FOUND');
  expect(yard.take({ kind: 'read_workers', namespace: 'default' })).toHaveLength(1);
});

it('keeps the settings of a namespace that a change does not name', () => {
  const put = (more: object) =>
    yard.take({
      kind: 'put_namespace',
      name: 'default',
      matchMode: null,
      retentionMs: null,
      scheduleTimeoutMs: null,
      ...more,
    });
  put({ matchMode: 'STRICT' });
  put({ retentionMs: 0 });
  expect(put({ scheduleTimeoutMs: 7 })).toEqual({
    name: 'default',
    matchMode: 'STRICT',
    retentionMs: 0,
    scheduleTimeoutMs: 7,
  });
  expect(yard.take({ kind: 'read_namespaces' }).map((namespace) => namespace.name)).toEqual(['default']);
});
