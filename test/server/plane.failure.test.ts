/** A batch that can never be written: the plane stands down, starts again from the rows, and finds out which command it was. */
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { isRefusal } from '../../src/domain/refusal.ts';
import type { Effect } from '../../src/engine/effects.ts';
import { systemIds } from '../../src/lib/random.ts';
import type { Plane } from '../../src/server/plane.ts';
import { draftOf, type RunOptions } from '../support/engine.ts';
import {
  endHolder,
  movingClock,
  openTestStore,
  someoneWaits,
  type TestPlane,
  type TestStore,
  WAIT,
} from '../support/store.ts';

const POISON = 'poison';
let store: TestStore;
let clock: ReturnType<typeof movingClock>;

beforeEach(async () => {
  store = await openTestStore();
  clock = movingClock();
  return () => store.close();
});

/** The store refuses every run of the marked action. */
async function poisonedPlane(): Promise<TestPlane> {
  const plane = await store.plane({ clock });
  await store.sql.unsafe(`
    CREATE FUNCTION refuse_poison() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN RAISE EXCEPTION 'it is poison'; END $$;
    CREATE TRIGGER refuse_poison BEFORE INSERT ON runs FOR EACH ROW WHEN (NEW.action = '${POISON}') EXECUTE FUNCTION refuse_poison()`);
  return plane;
}

const draft = (plane: Plane, options: RunOptions) =>
  ({ kind: 'schedule_runs', runs: [draftOf(plane.ids.orderedId(), options)] }) as const;

const ready = (plane: Plane) => expect.poll(() => plane.isReady(), WAIT).toBe(true);

const said = (event: string) => store.log.records.filter((record) => record.event === event);

describe('a command whose row the store refuses', () => {
  it('alone: its caller is told INTERNAL, and work goes on', async () => {
    const plane = await poisonedPlane();
    expect(await plane.refuse(draft(plane, { action: POISON }))).toMatchObject({ refused: 'INTERNAL' });
    await ready(plane);
    const runId = await plane.run();
    expect(await store.sql`SELECT state FROM runs WHERE run_id = ${runId}`).toEqual([{ state: 'PENDING' }]);
    expect(said('standing down')).toHaveLength(1);
  });

  it('among others: all are told to come again, and then only it is refused', async () => {
    const plane = await poisonedPlane();
    const bad = draft(plane, { action: POISON, requestId: 'bad', requestDigest: 'b' });
    const good = draft(plane, { requestId: 'good', requestDigest: 'g' });
    const answers = await Promise.all([plane.refuse(good), plane.refuse(bad)]);
    expect(answers).toMatchObject([{ refused: 'STANDING_DOWN' }, { refused: 'STANDING_DOWN' }]);
    await ready(plane);

    const [culprit, neighbour] = await Promise.all([plane.refuse(bad), plane.submit(good)]);
    expect(culprit).toMatchObject({ refused: 'INTERNAL' });
    if (isRefusal(neighbour)) {
      await ready(plane);
      await plane.take(good);
    }
    expect(await store.sql`SELECT run_id FROM runs`).toEqual([{ run_id: good.runs[0].runId }]);
    expect(await plane.take({ ...good, runs: [{ ...good.runs[0], runId: plane.ids.orderedId() }] })).toMatchObject([
      { runId: good.runs[0].runId, alreadyScheduled: true },
    ]);
  });

  it('for a minute commits hold one command, then they are shared again', async () => {
    const plane = await poisonedPlane();
    await plane.refuse(draft(plane, { action: POISON }));
    await ready(plane);
    await Promise.all(Array.from({ length: 10 }, () => plane.run()));
    expect(plane.counts()).toEqual({ commits: 10, commands: 10 });
    clock.advance(60_000);
    await Promise.all(Array.from({ length: 10 }, () => plane.run()));
    expect(plane.counts().commits).toBeLessThan(15);
  });

  it('streams are told before anything they sent is abandoned, and nothing of it is refused for good', async () => {
    const plane = await poisonedPlane();
    const { connection, offered, effects } = await plane.worker('alpha');
    const assignmentId = await offered(await plane.run());
    const order: string[] = [];
    const submitted = plane.refuse(draft(plane, { action: POISON }));
    plane.decide({ kind: 'accept_step', connection, assignmentId }, (answer) => {
      const evicted = effects.some((effect) => effect.kind === 'evict');
      order.push(`${isRefusal(answer) ? answer.refused : 'taken'}${evicted ? ' after the eviction' : ''}`);
    });
    await submitted;
    expect(order).toEqual(['STANDING_DOWN after the eviction']);
    expect(effects.at(-1)).toMatchObject({ kind: 'evict', reason: 'STANDING_DOWN', connection });
  });

  it('a fact that is the culprit is refused while its stream can still hear it', async () => {
    const plane = await store.plane({ clock });
    const { connection, offered, effects } = await plane.worker('alpha');
    const assignmentId = await offered(await plane.run());
    await plane.fact({ kind: 'accept_step', connection, assignmentId });
    // What the conversion lets through by mistake: text that PostgreSQL cannot hold.
    const outputJson = '"\u0000"';
    let evictedBefore: boolean | null = null;
    const answer = await new Promise((resolve) =>
      plane.decide({ kind: 'succeed_step', connection, assignmentId, outputJson }, (result) => {
        evictedBefore = effects.some((effect) => effect.kind === 'evict');
        resolve(result);
      }),
    );
    expect(answer).toMatchObject({ refused: 'INTERNAL' });
    expect(evictedBefore).toBe(false);
    // PostgreSQL quotes the row; the log does not.
    expect(said('batch cannot be written').map(({ facts }) => Object.keys(facts).sort())).toEqual([
      ['code', 'commands', 'error', 'stack'],
    ]);
    expect(said('batch cannot be written')[0]?.facts).toMatchObject({ code: '22021', commands: ['succeed_step'] });
    await ready(plane);
    expect(await store.sql`SELECT step_state FROM runs`).toEqual([{ step_state: 'RUNNING' }]);
  });

  it('a worker comes back after it, with what it held', async () => {
    const plane = await poisonedPlane();
    const first = await plane.worker('alpha');
    const assignmentId = await first.offered(await plane.run());
    await plane.fact({ kind: 'accept_step', connection: first.connection, assignmentId });
    await plane.refuse(draft(plane, { action: POISON }));
    await ready(plane);
    const resume = { sessionHash: `session-${first.connection}`, heldAssignmentIds: [assignmentId] };
    const again = await plane.worker('alpha', { resume });
    expect(again.opened).toMatchObject({ resumed: true, keptAssignmentIds: [assignmentId] });
    await plane.fact({ kind: 'succeed_step', connection: again.connection, assignmentId, outputJson: '1' });
    expect(await store.sql`SELECT state, output FROM runs WHERE action = 'build'`).toEqual([
      { state: 'SUCCEEDED', output: '1' },
    ]);
  });
});

describe('other ways to fall', () => {
  it('a command that fails half-way: memory is given up for the rows', async () => {
    const ids = systemIds();
    let broken = false;
    const randomId = () => {
      if (broken) throw new Error('no randomness');
      return ids.randomId();
    };
    const plane = await store.plane({ clock, ids: { ...ids, randomId } });
    const { effects } = await plane.worker('alpha');
    broken = true;
    expect(await plane.refuse(draft(plane, {}))).toMatchObject({ refused: 'INTERNAL' });
    broken = false;
    expect(effects.at(-1)).toMatchObject({ kind: 'evict', reason: 'STANDING_DOWN' });
    await ready(plane);
    const worker = await plane.worker('alpha');
    const runId = await plane.run();
    await worker.offered(runId);
    expect(await store.sql`SELECT run_id FROM runs`).toEqual([{ run_id: runId }]);
  });

  it('another process takes over: this one waits until that one is gone, and can be stopped meanwhile', async () => {
    const plane = await store.plane({ clock });
    const other = store.plane({ clock });
    await someoneWaits(store);
    const { effects } = await plane.worker('alpha');
    await endHolder(store);
    await other;
    expect(await plane.refuse(draft(plane, {}))).toMatchObject({ refused: 'STANDING_DOWN' });
    expect(effects.at(-1)).toMatchObject({ kind: 'evict', reason: 'STANDING_DOWN' });
    expect(plane.isReady()).toBe(false);
    expect(await plane.refuse(draft(plane, {}))).toMatchObject({ refused: 'STANDING_DOWN' });
    await plane.stop();
    await ready(await other);
    await (await other).run();
  });

  it("one stream's trouble keeps no effect of others back", async () => {
    const plane = await store.plane({ clock });
    const broken: Effect[] = [];
    const connection = plane.attach((effect) => {
      broken.push(effect);
      throw new Error('its transport is gone');
    });
    const hello = {
      namespace: 'default',
      workerId: '',
      name: 'broken',
      tags: [],
      labels: null,
      actions: ['build'],
      slots: 1,
    } as const;
    const rest = { devices: null, nickname: '', sdk: null, resume: null, newSessionHash: 'broken' } as const;
    await plane.take({ kind: 'open_session', connection, ...hello, ...rest });
    const healthy = await plane.worker('healthy');
    const runs = [draftOf(plane.ids.orderedId()), draftOf(plane.ids.orderedId())];
    await plane.take({ kind: 'schedule_runs', runs });
    expect(broken).toHaveLength(1);
    expect(healthy.effects).toHaveLength(1);
  });
});

afterEach(() => expect(said('an effect failed').every(({ level }) => level === 'error')).toBe(true));
