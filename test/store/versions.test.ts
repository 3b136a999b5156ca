/** What a run costs the database: versions of its row, and whether they stay on their page. */
import { afterAll, beforeAll, describe, expect, it, vi } from 'vitest';
import { definitionOf, draftOf } from '../support/engine.ts';
import { aMoment, openTestStore, type TestStore, WAIT } from '../support/store.ts';

let store: TestStore;
beforeAll(async () => {
  store = await openTestStore();
});
afterAll(() => store.close());

interface Counts {
  readonly inserted: number;
  readonly updated: number;
  readonly hot: number;
}

const NOTHING: Counts = { inserted: 0, updated: 0, hot: 0 };

/** What has been written to `table`. A server process reports when it ends, so the plane must have been stopped. */
async function written(table: string): Promise<Counts> {
  const [row] = await store.sql<Counts[]>`
    SELECT n_tup_ins::int AS inserted, n_tup_upd::int AS updated, n_tup_hot_upd::int AS hot
    FROM pg_stat_user_tables WHERE relname = ${table}`;
  return row ?? NOTHING;
}

async function during(table: string, work: () => Promise<void>): Promise<Counts> {
  const before = await written(table);
  await work();
  await expect
    .poll(
      () =>
        store.sql`SELECT 1 FROM pg_stat_activity WHERE application_name LIKE 'yardmaster%' AND datname = current_database()`,
      WAIT,
    )
    .toHaveLength(0);
  const after = await written(table);
  return {
    inserted: after.inserted - before.inserted,
    updated: after.updated - before.updated,
    hot: after.hot - before.hot,
  };
}

describe('a run of one step', () => {
  it('assigned as it is submitted: three versions over its life, and the accept stays on its page', async () => {
    const counts = await during('runs', async () => {
      const plane = await store.plane();
      const { connection, offered } = await plane.worker('alpha');
      const assignmentId = await offered(await plane.run());
      await plane.fact({ kind: 'handed_over', connection, assignmentId });
      await plane.fact({ kind: 'accept_step', connection, assignmentId });
      await plane.fact({ kind: 'succeed_step', connection, assignmentId, outputJson: 'null' });
      await plane.stop();
    });
    expect(counts.inserted).toBe(1);
    expect(counts.updated).toBe(2);
    // The end is not: it leaves the index of what has not ended.
    expect(counts.hot).toBe(1);
  });

  it('accepted and ended in one breath: two', async () => {
    const counts = await during('runs', async () => {
      const plane = await store.plane();
      const { connection, offered } = await plane.worker('beta');
      const assignmentId = await offered(await plane.run());
      const facts = [
        plane.fact({ kind: 'accept_step', connection, assignmentId }),
        plane.fact({ kind: 'succeed_step', connection, assignmentId, outputJson: 'null' }),
      ];
      await Promise.all(facts);
      await plane.stop();
    });
    expect(counts).toMatchObject({ inserted: 1, updated: 1 });
  });

  it('submitted and cancelled while a commit was under way: one', async () => {
    const counts = await during('runs', async () => {
      const plane = await store.plane();
      store.proxy.hold();
      const first = plane.run({ action: 'nobody' });
      const draft = draftOf(plane.ids.orderedId(), { action: 'nobody' });
      // The first is on its way, so that these two gather behind it.
      await aMoment();
      const both = [
        plane.take({ kind: 'schedule_runs', runs: [draft] }),
        plane.take({
          kind: 'cancel_run',
          namespace: 'default',
          runId: draft.runId,
          mode: 'ANY',
          reason: '',
          stepName: '',
        }),
      ];
      store.proxy.resume();
      await Promise.all([first, ...both]);
      expect(await store.sql`SELECT state FROM runs WHERE run_id = ${draft.runId}`).toEqual([{ state: 'CANCELLED' }]);
      await plane.stop();
    });
    expect(counts).toMatchObject({ inserted: 2, updated: 0 });
  });

  it('a commit rewrites the row of the holder on its own page', async () => {
    const counts = await during('holder', async () => {
      const plane = await store.plane();
      for (let index = 0; index < 50; index++) await plane.run();
      await plane.stop();
    });
    // The lease is renewed by them, and now and then without them.
    expect(counts.updated).toBeGreaterThanOrEqual(51);
    expect(counts.hot).toBe(counts.updated);
  });

  it('most accepts of many runs stay on their pages', async () => {
    const runs = 200;
    const counts = await during('runs', async () => {
      const plane = await store.plane();
      const { connection, offered } = await plane.worker('delta', { slots: runs, actions: ['many'] });
      const runIds = await Promise.all(Array.from({ length: runs }, () => plane.run({ action: 'many' })));
      for (const runId of runIds)
        await plane.fact({ kind: 'accept_step', connection, assignmentId: await offered(runId) });
      await plane.stop();
    });
    expect(counts.updated).toBe(runs);
    // All of them, on a quiet server. What other tests have under way keeps dead versions from being cleaned away, and a
    // page has room for somewhat more than half of its rows a second time.
    expect(counts.hot / counts.updated).toBeGreaterThan(0.5);
  });
});

describe('a run of several steps', () => {
  const NAMES = ['first', 'second', 'third'];

  async function oneRun(): Promise<void> {
    const plane = await store.plane();
    const { connection, effects } = await plane.worker('chain', { actions: ['chain'] });
    const steps = NAMES.map((name, place) =>
      definitionOf({ name, action: 'chain', needs: NAMES.slice(Math.max(0, place - 1), place) }),
    );
    await plane.take({
      kind: 'put_workflow',
      namespace: 'default',
      name: 'chain',
      steps,
      sticky: 'NONE',
      source: '[]',
    });
    const draft = draftOf(plane.ids.orderedId(), { workflow: 'chain' });
    await plane.take({ kind: 'schedule_runs', runs: [draft] });
    for (const name of NAMES) {
      const assignmentId = await vi.waitFor(() => {
        const offers = effects.flatMap((effect) => (effect.kind === 'run_step' ? [effect.offer] : []));
        const offer = offers.find(({ runId, stepName }) => runId === draft.runId && stepName === name);
        if (offer === undefined) throw new Error(`step ${name} was not offered`);
        return offer.assignmentId;
      }, WAIT);
      await plane.fact({ kind: 'accept_step', connection, assignmentId });
      await plane.fact({ kind: 'succeed_step', connection, assignmentId, outputJson: 'null' });
    }
    await plane.stop();
  }

  it('every change of a step stays on its page: nothing that changes is in an index', async () => {
    const counts = await during('steps', oneRun);
    expect(counts.inserted).toBe(3);
    // Accepted and ended; the later ones were assigned before, with the end of the one before them.
    expect(counts.updated).toBe(8);
    expect(counts.hot).toBe(8);
  });

  it('and so does the count of the runs of its workflow', async () => {
    expect(await during('workflow_names', oneRun)).toEqual({ inserted: 0, updated: 2, hot: 2 });
  });
});
