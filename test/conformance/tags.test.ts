import { status } from '@grpc/grpc-js';
import { describe, expect, it } from 'vitest';
import { WorkerState } from '../../gen/yardmaster/v1/worker_pb.ts';
import { present, unique, until, useYard } from '../support/conformance.ts';
import { failureOf } from '../support/conformance_calls.ts';

const yard = useYard();

describe('tags', () => {
  it('T1 LEGACY: a worker takes what its tags cover, what asks for none, and without tags anything', async () => {
    const runsOn = [[], ['gpu'], ['gpu', 'a100']];
    const matrix: [tags: string[], takes: boolean[]][] = [
      [[], [true, true, true]],
      [['gpu'], [true, true, false]],
      [
        ['gpu', 'a100', 'bob'],
        [true, true, true],
      ],
      [['cpu'], [true, false, false]],
    ];
    for (const [tags, takes] of matrix) {
      // An action of its own makes this worker the only one that could take these runs.
      const action = unique('t1');
      const worker = await yard.connect({ tags, actions: [action], slots: 10 });
      const runIds = await Promise.all(runsOn.map((needed) => yard.submit({ action }, { runsOn: needed })));
      await yard.quiet(worker);
      const given = worker.unread('runStep').map(({ runId }) => runId);
      expect(
        runIds.map((runId) => given.includes(runId)),
        `tags {${tags}}`,
      ).toEqual(takes);
      expect(await yard.pending(action)).toBe(takes.filter((taken) => !taken).length);
    }
  });

  it('the tags of the step and of the run are needed together', async () => {
    const action = unique('t1');
    const partly = await yard.connect({ tags: ['gpu'], actions: [action] });
    const runId = await yard.submit({ action, runsOn: ['a100'] }, { runsOn: ['gpu'] });
    await yard.quiet(partly);
    expect(partly.unread('runStep')).toEqual([]);
    const fully = await yard.connect({ tags: ['a100', 'gpu'], actions: [action] });
    expect((await fully.next('runStep')).runId).toBe(runId);
  });

  it('T2 duplicates and order in runs_on do not matter; case does', async () => {
    const action = unique('t2');
    const worker = await yard.connect({ tags: ['a100', 'gpu'], actions: [action], slots: 10 });
    const doubled = await yard.submit({ action }, { runsOn: ['gpu', 'a100', 'gpu', 'gpu'] });
    const turned = await yard.submit({ action }, { runsOn: ['a100', 'gpu'] });
    const shouted = await yard.submit({ action }, { runsOn: ['GPU'] });
    await yard.quiet(worker);
    expect(worker.unread('runStep').map(({ runId }) => runId)).toEqual([doubled, turned]);
    expect(await yard.stepState(shouted)).toBe('PENDING');
    expect((await yard.run(doubled)).runsOn).toEqual(['a100', 'gpu']);
  });

  it('the same request in another order of runs_on is the same request', async () => {
    const action = unique('t2');
    const requestId = unique('request');
    const first = await yard.submit({ action }, { requestId, runsOn: ['gpu', 'a100', 'gpu'] });
    expect(await yard.submit({ action }, { requestId, runsOn: ['a100', 'gpu'] })).toBe(first);
  });

  it('T3 the same name registers to the same id and keeps its tags; the answer says they differ', async () => {
    const name = unique('T3 worker');
    const first = await yard.admin.registerWorker({ name, tags: ['gpu', 'a100', 'gpu'] });
    expect(first).toMatchObject({ alreadyRegistered: false, warnings: [] });
    const workerId = present(first.worker).workerId;

    const same = await yard.admin.registerWorker({ name, tags: ['a100', 'gpu'] });
    expect(same).toMatchObject({ alreadyRegistered: true, warnings: [], worker: { workerId } });

    const other = await yard.admin.registerWorker({ name, tags: ['cpu'] });
    expect(other).toMatchObject({ alreadyRegistered: true, worker: { workerId, tags: ['a100', 'gpu'] } });
    expect(other.warnings).toHaveLength(1);
    expect(other.warnings[0]).toMatchObject({ reason: 'TAGS_KEPT' });
    for (const tag of ['a100', 'gpu', 'cpu']) expect(other.warnings[0]?.message).toContain(tag);
    expect((await yard.worker(workerId)).tags).toEqual(['a100', 'gpu']);
  });

  it('T4 a hello with other tags is refused, naming both', async () => {
    const name = unique('worker');
    const { worker } = await yard.admin.registerWorker({ name, tags: ['gpu', 'a100'] });
    for (const identity of [{ name }, { workerId: present(worker).workerId }]) {
      const stream = yard.open();
      stream.send({ case: 'hello', value: { ...identity, tags: ['cpu'] } });
      const end = await stream.ended;
      expect(end).toMatchObject({ code: status.FAILED_PRECONDITION, reason: 'TAGS_DIFFER', domain: 'yardmaster' });
      for (const tag of ['a100', 'gpu', 'cpu']) expect(end.message).toContain(tag);
    }
    // The registered ones, in any order, and none at all are both welcome.
    expect((await yard.connect({ name, tags: ['a100', 'gpu'] })).welcome.tags).toEqual(['a100', 'gpu']);
    expect((await yard.connect({ name, tags: [] })).welcome.tags).toEqual(['a100', 'gpu']);
  });

  it('T5 two default workers at once get two ids; after one leaves, the next gets its id', async () => {
    const [first, second] = await Promise.all([yard.connect({ name: '' }), yard.connect({ name: '' })]);
    expect(first.workerId).not.toBe(second.workerId);
    expect([first.welcome.name, second.welcome.name].sort()).toEqual(['default-1', 'default-2']);
    expect((await yard.worker(first.workerId)).defaultWorker).toBe(true);

    await second.leave();
    const third = await yard.connect({ name: '' });
    expect(third.workerId).toBe(second.workerId);

    // One that was cut may come back: as long as its grace runs, its id is not lent.
    await first.cut();
    await until(
      async () => (await yard.worker(first.workerId)).state === WorkerState.OFFLINE,
      'the server sees the cut',
    );
    const fourth = await yard.connect({ name: '' });
    expect([first.workerId, third.workerId]).not.toContain(fourth.workerId);
    const back = await yard.connect({ name: '', resume: { sessionId: first.welcome.sessionId } });
    expect(back.workerId).toBe(first.workerId);
  });

  it('T6 a registered worker that is not connected is OFFLINE and gets nothing', async () => {
    const action = unique('t6');
    const { worker } = await yard.admin.registerWorker({ name: unique('worker') });
    const workerId = present(worker).workerId;
    expect(await yard.worker(workerId)).toMatchObject({ state: WorkerState.OFFLINE, actions: [] });

    // It must be known to serve the action, or its being away would not be what keeps the run waiting.
    const stream = await yard.connect({ workerId, actions: [action] });
    expect((await yard.worker(workerId)).state).toBe(WorkerState.IDLE);
    await stream.leave();
    expect(await yard.worker(workerId)).toMatchObject({ state: WorkerState.OFFLINE, actions: [action] });

    const runId = await yard.submit({ action });
    expect(await yard.stepState(runId)).toBe('PENDING');
    expect(await yard.pending(action)).toBe(1);
    expect((await yard.worker(workerId)).assignments).toEqual([]);
    const again = await yard.connect({ workerId, actions: [action] });
    expect((await again.next('runStep')).runId).toBe(runId);
  });

  it('an id that nobody registered cannot say hello', async () => {
    const stream = yard.open();
    stream.send({ case: 'hello', value: { workerId: '00000000-0000-4000-8000-000000000000' } });
    expect(await stream.ended).toMatchObject({ code: status.NOT_FOUND, reason: 'WORKER_NOT_FOUND' });
    expect(await failureOf(yard.admin.getWorker({ name: 'nobody' }))).toMatchObject({ code: status.NOT_FOUND });
  });
});
