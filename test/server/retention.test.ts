/** What is kept for a time only, on a clock that a year passes on while the test lasts. */
import { v7 } from 'uuid';
import { afterEach, beforeEach, describe, expect, it, vi } from 'vitest';
import { readStats } from '../../src/engine/stats.ts';
import { createTurn } from '../../src/engine/turn.ts';
import { systemIds } from '../../src/lib/random.ts';
import { findRequests } from '../../src/store/queries/find_requests.ts';
import { findStoredRun } from '../../src/store/queries/find_stored_run.ts';
import { definitionOf, draftOf, type RunOptions } from '../support/engine.ts';
import { movingClock, openTestStore, type TestPlane, type TestStore, type TestWorker } from '../support/store.ts';

const DAY_MS = 24 * 3_600_000;
const RETENTION_DAYS = 30;
const WAIT = { timeout: 10_000, interval: 20 };

let store: TestStore;
const clock = movingClock();
/** Run ids begin with the time of the submission, as the moved clock has it. */
const ids = { ...systemIds(), orderedId: () => v7({ msecs: Math.floor(clock.nowMs()) }) };

beforeEach(async () => {
  store = await openTestStore();
});
afterEach(() => store.close());

const start = (settings = {}) => store.plane({ clock, ids, ...settings });

async function count(table: string): Promise<number> {
  const [row] = await store.sql<{ count: number }[]>`SELECT count(*)::int AS count FROM ${store.sql(table)}`;
  return row?.count ?? 0;
}

/** Submits, and carries everything out that comes of it. */
async function carryOut(plane: TestPlane, worker: TestWorker, options: RunOptions[]): Promise<string[]> {
  const drafts = options.map((one) => draftOf(ids.orderedId(), one));
  await plane.take({ kind: 'schedule_runs', runs: drafts });
  const runIds = drafts.map(({ runId }) => runId);
  await vi.waitFor(async () => {
    await finishOffered(plane, worker);
    const states = runIds.map((runId) => plane.engineState()?.runs.get(runId)?.state);
    expect(new Set(states)).toEqual(new Set(['SUCCEEDED']));
  }, WAIT);
  return runIds;
}

async function finishOffered(plane: TestPlane, worker: TestWorker): Promise<void> {
  const { connection } = worker;
  for (const effect of worker.effects.splice(0)) {
    if (effect.kind !== 'run_step') continue;
    const { assignmentId, runId, stepName, attempt } = effect.offer;
    await plane.fact({ kind: 'accept_step', connection, assignmentId });
    const line = { lineMs: clock.nowMs(), level: 2, text: 'a line' };
    const lines = { assignmentId, runId, stepName, attempt, firstLineNumber: 1, lines: [line] };
    await new Promise<void>((stored) => plane.logs()?.add(lines, stored));
    await plane.fact({ kind: 'succeed_step', connection, assignmentId, outputJson: '1' });
  }
}

/** Ended runs that should be gone. */
async function overdue(days: number): Promise<number> {
  const before = (clock.nowMs() - days * DAY_MS) / 1_000;
  const [row] = await store.sql<{ count: number }[]>`
    SELECT count(*)::int AS count FROM runs WHERE end_time < to_timestamp(${before}::float8)`;
  return row?.count ?? 0;
}

function statsOf(plane: TestPlane) {
  const state = plane.engineState();
  if (state === null) throw new Error('nobody decides');
  return readStats(state, createTurn(clock.nowMs(), ids), { kind: 'read_stats', namespace: 'default', workflow: '' });
}

describe('ended runs', () => {
  it('of a year stay within the retention, with all that belongs to them', async () => {
    const plane = await start();
    await plane.take({
      kind: 'put_workflow',
      namespace: 'default',
      name: 'flow',
      steps: [definitionOf({ name: 'first' }), definitionOf({ name: 'second', needs: ['first'] })],
      sticky: 'NONE',
      source: '[]',
    });
    const worker = await plane.worker('alpha', { slots: 10 });
    // Waits for ever, however much is deleted around it.
    const patient = await plane.run({ action: 'nobody', scheduleTimeoutMs: 0 });
    const stepDays = 5;
    const perStep = 4;
    // What is as old as the retention has just gone.
    const kept = (RETENTION_DAYS / stepDays - 1) * perStep;
    let submitted = 0;
    for (let day = 0; day < 365; day += stepDays) {
      await carryOut(plane, worker, [
        { workflow: 'flow' },
        { requestId: `request ${day}` },
        {},
        { workflow: 'flow', requestId: `flow ${day}` },
      ]);
      submitted += perStep;
      clock.advance(stepDays * DAY_MS);
      await vi.waitFor(async () => expect(await overdue(RETENTION_DAYS)).toBe(0), WAIT);
      expect(await count('runs')).toBeLessThanOrEqual(kept + 1);
    }
    expect(await count('runs')).toBe(kept + 1);
    const ended = kept;
    expect(await count('steps')).toBe(ended);
    expect(await count('step_logs')).toBe(ended * 1.5);
    expect(await count('step_log_totals')).toBe(ended * 1.5);
    expect(statsOf(plane)).toMatchObject({ runsTotal: ended + 1, runsEnded: ended });
    const [totals] = await store.sql`SELECT succeeded::int, failed::int FROM step_totals WHERE workflow = 'flow'`;
    expect(totals).toEqual({ succeeded: ended, failed: 0 });
    // Numbers go on, and what was done stays counted.
    const [last] = await carryOut(plane, worker, [{ workflow: 'flow' }]);
    expect(plane.engineState()?.runs.get(last ?? '')?.number).toBe(submitted / 2 + 1);
    const [line] = await store.sql`SELECT completed_count::int AS count FROM leaderboard`;
    expect(line).toEqual({ count: submitted * 1.5 + 2 });
    // A request id that is gone is free again; one that is kept is not.
    const requests = await findRequests(plane.reads, 'default', ['request 0', 'request 360']);
    expect(requests.map(({ requestId }) => requestId)).toEqual(['request 360']);
    expect(plane.engineState()?.runs.get(patient)?.state).toBe('PENDING');
  }, 60_000);

  it('are kept for ever with 0, and as long as each namespace says', async () => {
    const plane = await start();
    const put = (name: string, retentionMs: number) =>
      plane.take({ kind: 'put_namespace', name, matchMode: null, retentionMs, scheduleTimeoutMs: null });
    await put('default', 0);
    await put('short', DAY_MS);
    await put('long', 100 * DAY_MS);
    for (const namespace of ['default', 'short', 'long']) {
      const draft = draftOf(ids.orderedId(), { namespace });
      const { runId } = draft;
      await plane.take({ kind: 'schedule_runs', runs: [draft] });
      await plane.take({ kind: 'cancel_run', namespace, runId, mode: 'ANY', reason: '', stepName: '' });
    }
    const namespaces = async () => {
      // Each namespace has its turn.
      clock.advance(plane.times.retentionIntervalMs);
      const rows = await store.sql<{ namespace: string }[]>`SELECT namespace FROM runs ORDER BY namespace`;
      return rows.map(({ namespace }) => namespace);
    };
    clock.advance(2 * DAY_MS);
    await expect.poll(namespaces, WAIT).toEqual(['default', 'long']);
    clock.advance(100 * DAY_MS);
    await expect.poll(namespaces, WAIT).toEqual(['default']);
    clock.advance(10_000 * DAY_MS);
    await namespaces();
    expect(await namespaces()).toEqual(['default']);
  });

  it('that are retried while they are being deleted stay, and those that are gone are not brought back', async () => {
    const plane = await start({ times: { endedInMemoryMs: 0, retentionIntervalMs: 10_000 * DAY_MS } });
    const runId = await plane.run();
    const cancel = { kind: 'cancel_run', namespace: 'default', runId, mode: 'ANY', reason: '', stepName: '' } as const;
    await plane.take(cancel);
    const retire = async () => {
      const state = 'CANCELLED' as const;
      const steps = [{ action: 'build', state }];
      const run = { runId, namespace: 'default', workflow: '', endMs: endedMs, steps };
      return plane.take({ kind: 'retire_runs', runs: [run, run] });
    };
    const endedMs = clock.nowMs();
    expect(await retire()).toEqual({ retired: 0 });
    clock.advance(RETENTION_DAYS * DAY_MS);
    const stored = await findStoredRun(plane.reads, 'default', runId);
    const retry = {
      kind: 'retry_run',
      namespace: 'default',
      runId,
      keepPin: false,
      stored,
      storedDependencies: new Map(),
    } as const;
    await plane.take(retry);
    expect(await retire()).toEqual({ retired: 0 });
    await plane.take(cancel);
    clock.advance(RETENTION_DAYS * DAY_MS);
    expect(await retire()).toEqual({ retired: 1 });
    expect(await retire()).toEqual({ retired: 0 });
    expect(await plane.refuse(retry)).toMatchObject({ refused: 'RUN_NOT_FOUND' });
    expect(await count('runs')).toBe(0);
    expect(statsOf(plane)).toMatchObject({ runsTotal: 0, actions: [{ action: 'build', failed: 0 }] });
  });

  it('many at once go in portions, live ones among them untouched', async () => {
    const plane = await start();
    const drafts = Array.from({ length: 2_500 }, () => draftOf(ids.orderedId(), { scheduleTimeoutMs: 0 }));
    for (let from = 0; from < drafts.length; from += 500)
      await plane.take({ kind: 'schedule_runs', runs: drafts.slice(from, from + 500) });
    const live = new Set(drafts.filter((_, index) => index % 5 === 0).map(({ runId }) => runId));
    await Promise.all(
      drafts
        .filter(({ runId }) => !live.has(runId))
        .map(({ runId }) =>
          plane.take({ kind: 'cancel_run', namespace: 'default', runId, mode: 'ANY', reason: '', stepName: '' }),
        ),
    );
    clock.advance((RETENTION_DAYS + 1) * DAY_MS);
    await expect.poll(() => count('runs'), WAIT).toBe(live.size);
    expect(statsOf(plane)).toMatchObject({ runsTotal: live.size, runsEnded: 0 });
  }, 30_000);
});

describe('default workers', () => {
  it('that nobody saw for a week go; registered ones and connected ones stay', async () => {
    const plane = await start({ times: { retentionIntervalMs: 100 } });
    await plane.take({ kind: 'register_worker', namespace: 'default', name: 'kept', tags: [], nickname: '' });
    const gone = await plane.worker('');
    const here = await plane.worker('');
    await plane.fact({ kind: 'goodbye', connection: gone.connection });
    const names = () => [...(plane.engineState()?.workers.values() ?? [])].map(({ name }) => name);
    expect(names()).toHaveLength(3);
    clock.advance(6 * DAY_MS);
    await plane.take({ kind: 'expire_workers' });
    expect(names()).toHaveLength(3);
    clock.advance(1.1 * DAY_MS);
    await expect.poll(names, WAIT).toHaveLength(2);
    expect(names()).toContain('kept');
    expect(names()).toContain(here.opened.worker.name);
    await expect.poll(() => count('workers'), WAIT).toBe(2);
  });
});
