/** The database is away: nothing is promised meanwhile, nothing is lost, and all goes on when it is back. */
import { beforeEach, describe, expect, it } from 'vitest';
import { STALLED_MS, WAITING_LENGTH_MAX } from '../../src/store/journal.ts';
import { draftOf } from '../support/engine.ts';
import { offerOf } from '../support/offers.ts';
import { aMoment, movingClock, openTestStore, type TestPlane, type TestStore, WAIT } from '../support/store.ts';

const GRACE_MS = 800;

let store: TestStore;
let clock: ReturnType<typeof movingClock>;
let plane: TestPlane;

beforeEach(async () => {
  store = await openTestStore();
  clock = movingClock();
  plane = await store.plane({ clock, times: { reconnectGraceMs: GRACE_MS } });
  return async () => {
    store.proxy.resume();
    await store.close();
  };
});

const AWAY = {
  'silent: nothing passes': { go: async () => store.proxy.hold(), back: async () => store.proxy.resume() },
  'down: connections are cut and refused': { go: () => store.proxy.refuse(), back: () => store.proxy.accept() },
};

describe.each(Object.entries(AWAY))('a database that is %s', (_how, { go, back }) => {
  it('facts wait for it, new work is refused, and everything goes on afterwards', async () => {
    const { connection, offered, effects } = await plane.worker('alpha', { slots: 2 });
    const runId = await plane.run();
    const assignmentId = await offered(runId);
    await plane.fact({ kind: 'accept_step', connection, assignmentId });
    const waiting = await plane.run({ action: 'other' });
    await go();

    const answered: string[] = [];
    const runs = [draftOf(plane.ids.orderedId())];
    plane.decide({ kind: 'schedule_runs', runs }, () => answered.push('submitted'));
    plane.decide({ kind: 'succeed_step', connection, assignmentId, outputJson: '"kept"' }, () => answered.push('done'));
    await aMoment();
    clock.advance(STALLED_MS + 1);
    await expect.poll(() => plane.isReady(), WAIT).toBe(false);
    expect(await plane.refuse({ kind: 'schedule_runs', runs: [draftOf(plane.ids.orderedId())] })).toMatchObject({
      refused: 'STORE_UNAVAILABLE',
    });
    expect(await plane.refuse({ kind: 'read_workers', namespace: 'default' })).toMatchObject({
      refused: 'STORE_UNAVAILABLE',
    });
    const late = new Promise<void>((resolve) => {
      plane.decide({ kind: 'upsert_labels', connection, patch: new Map([['site', 'north']]) }, () => {
        answered.push('labels');
        resolve();
      });
    });
    expect(answered).toEqual([]);
    expect(effects.filter(({ kind }) => kind === 'run_step')).toHaveLength(1);

    await back();
    await late;
    expect(answered).toEqual(['submitted', 'done', 'labels']);
    expect(effects.filter(({ kind }) => kind === 'run_step')).toHaveLength(2);
    expect(plane.isReady()).toBe(true);
    expect(
      await store.sql`SELECT state, output, (SELECT epoch::int FROM holder) AS epoch FROM runs ORDER BY run_id`,
    ).toMatchObject([{ state: 'SUCCEEDED', output: '"kept"', epoch: 1 }, { state: 'PENDING' }, { state: 'PENDING' }]);
    expect(
      await plane.take({
        kind: 'cancel_run',
        namespace: 'default',
        runId: waiting,
        mode: 'ANY',
        reason: '',
        stepName: '',
      }),
    ).toEqual({ runId: waiting });
  });
});

describe('while it is away', () => {
  it('no timer has effect, and when it is back nobody is timed out by it', async () => {
    const { connection, offered } = await plane.worker('alpha');
    const running = await plane.run({ executionTimeoutMs: 4_000 });
    const assignmentId = await offered(running);
    await plane.fact({ kind: 'accept_step', connection, assignmentId });
    const waiting = await plane.run({ scheduleTimeoutMs: 5_000, action: 'nobody serves it' });
    const states = async () =>
      (await store.sql`SELECT state FROM runs WHERE run_id IN (${running}, ${waiting}) ORDER BY state`).map(
        ({ state }) => state,
      );
    // Nothing is on its way to the store, so only what is due finds out.
    await plane.take({ kind: 'read_namespaces' });
    store.proxy.hold();
    const awayMs = performance.now();
    clock.advance(STALLED_MS + 1);
    clock.advance(10_000);
    await aMoment();
    expect(await states()).toEqual(['PENDING', 'RUNNING']);
    store.proxy.resume();
    await plane.run({ action: 'nobody serves it' });
    expect(await states()).toEqual(['PENDING', 'RUNNING']);
    await expect.poll(states, WAIT).toEqual(['TIMED_OUT', 'TIMED_OUT']);
    expect(performance.now() - awayMs).toBeGreaterThanOrEqual(GRACE_MS);
  });

  it('facts are taken up to a limit; whoever has more is told to send it again', async () => {
    const size = 1024 * 1024;
    const count = WAITING_LENGTH_MAX / size + 6;
    const { connection, effects } = await plane.worker('alpha', { slots: count });
    for (let index = 0; index < count; index++) await plane.run();
    const held = effects.flatMap((effect) => (effect.kind === 'run_step' ? [effect.offer.assignmentId] : []));
    await Promise.all(held.map((assignmentId) => plane.fact({ kind: 'accept_step', connection, assignmentId })));
    store.proxy.hold();
    const outputJson = JSON.stringify('x'.repeat(size));
    const succeed = (assignmentId: string) =>
      plane.fact({ kind: 'succeed_step', connection, assignmentId, outputJson });
    const answers = held.map(succeed);
    const refused = await Promise.all(answers.slice(-6));
    expect(refused).toEqual(Array(6).fill(expect.objectContaining({ refused: 'RATE_LIMITED', retryAfterMs: 1_000 })));
    expect(await plane.refuse({ kind: 'read_namespaces' })).toMatchObject({ refused: 'STORE_UNAVAILABLE' });
    store.proxy.resume();
    expect(await Promise.all(answers.slice(0, -6))).toEqual(Array(count - 6).fill(null));
    expect(await Promise.all(held.slice(-6).map(succeed))).toEqual(Array(6).fill(null));
  });

  it('log lines stay with their worker, which is told when to send them again', async () => {
    const { connection, offered } = await plane.worker('alpha');
    const assignmentId = await offered(await plane.run());
    await plane.fact({ kind: 'accept_step', connection, assignmentId });
    store.proxy.hold();
    const submitted = plane.run();
    await aMoment();
    clock.advance(STALLED_MS + 1);
    const answer = await plane.fact({ kind: 'log_step', connection, assignmentId });
    expect(answer).toMatchObject({ refused: 'RATE_LIMITED', retryAfterMs: 1_000 });
    store.proxy.resume();
    await submitted;
    expect(await plane.fact({ kind: 'log_step', connection, assignmentId })).toMatchObject({ attempt: 1 });
  });

  it('a connection that is lost as it begins takes nothing with it', async () => {
    const runId = await plane.run();
    for (const cut of [store.proxy.cutBefore, store.proxy.cutAfter]) {
      plane.payloads.drop(runId);
      const done = cut('yardmaster reads');
      const reading = plane.inputs.read(offerOf(runId));
      await done;
      expect(await reading).toEqual({ inputJson: `{"for":"${runId}"}`, runInputJson: '' });
    }
  });

  it('the plane can be stopped: after a while without what it could not store', async () => {
    const stalled = plane.submit({ kind: 'schedule_runs', runs: [draftOf(plane.ids.orderedId())] });
    await stalled;
    await store.proxy.refuse();
    const lost = plane.submit({ kind: 'schedule_runs', runs: [draftOf(plane.ids.orderedId())] });
    const stopped = plane.stop();
    await aMoment();
    clock.advance(10_000);
    await stopped;
    expect(await lost).toMatchObject({ refused: 'STANDING_DOWN' });
    expect(await store.sql`SELECT 1 FROM runs`).toHaveLength(1);
    await store.proxy.accept();
  });
});
