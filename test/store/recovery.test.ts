/** A plane that was killed: what the next one finds in the rows is what the first one had decided. */
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { SILENT_LOG } from '../../src/lib/log.ts';
import { becomeHolder } from '../../src/store/holder.ts';
import { readLiveRows } from '../../src/store/recovery.ts';
import { draftOf } from '../support/engine.ts';
import { movingClock, openTestStore, type TestPlane, type TestStore, WAIT } from '../support/store.ts';

const HOUR_MS = 3_600_000;
let store: TestStore;
const openStore = async () => {
  store = await openTestStore();
};
const closeStore = () => store.close();

/** As a killed process leaves it: connections gone, nothing said, nothing settled. It hears of it when it writes again. */
async function kill(): Promise<void> {
  await store.proxy.refuse();
  await store.proxy.accept();
}

const failure = { reason: 'APPLICATION', type: 'Error', message: 'it broke', stack: '', retryable: null };
const hourly = { attemptsMax: 3, initialBackoffMs: HOUR_MS };

/** One of everything; the plane is then abandoned. */
async function liveAndDie(plane: TestPlane) {
  await plane.take({
    kind: 'put_namespace',
    name: 'other',
    matchMode: 'STRICT',
    retentionMs: 5_000,
    scheduleTimeoutMs: 0,
  });
  const worker = await plane.worker('alpha', { slots: 3, labels: { site: 'north', cores: 8 }, tags: ['gpu', 'x86'] });
  const { connection } = worker;
  await plane.take({ kind: 'upsert_labels', connection, patch: new Map([['site', 'south']]) });

  const running = await plane.run({ requestId: 'running', requestDigest: 'r' });
  const runningAssignment = await worker.offered(running);
  await plane.fact({ kind: 'accept_step', connection, assignmentId: runningAssignment });
  const assigned = await plane.run();
  const assignedAssignment = await worker.offered(assigned);
  const ended = await plane.run({ requestId: 'ended', requestDigest: 'e' });
  const endedAssignment = await worker.offered(ended);
  await plane.fact({ kind: 'accept_step', connection, assignmentId: endedAssignment });
  await plane.fact({ kind: 'succeed_step', connection, assignmentId: endedAssignment, outputJson: '{"n":1}' });
  const backingOff = await plane.run({ retry: hourly });
  const failing = await worker.offered(backingOff);
  await plane.fact({ kind: 'accept_step', connection, assignmentId: failing });
  await plane.fact({ kind: 'fail_step', connection, assignmentId: failing, failure });

  const low = await plane.run({ action: 'later', priority: 1 });
  const first = await plane.run({ action: 'later' });
  const second = await plane.run({ action: 'later' });
  const high = await plane.run({ action: 'later', priority: 4 });
  return {
    worker,
    running,
    runningAssignment,
    assigned,
    assignedAssignment,
    ended,
    backingOff,
    queue: [high, first, second, low],
  };
}

describe('after a kill', () => {
  const clock = movingClock();
  let before: Awaited<ReturnType<typeof liveAndDie>>;
  let plane: TestPlane;

  afterAll(closeStore);
  beforeAll(async () => {
    await openStore();
    before = await liveAndDie(await store.plane());
    await kill();
    plane = await store.plane({ clock });
  });

  it('namespaces are as they were, and the default one is there', async () => {
    expect(await plane.take({ kind: 'read_namespaces' })).toMatchObject([
      { name: 'other', matchMode: 'STRICT', retentionMs: 5_000, scheduleTimeoutMs: 0 },
      { name: 'default' },
    ]);
  });

  it('a worker has its tags, labels and revision, and holds what it held', async () => {
    const view = await plane.take({
      kind: 'read_worker',
      namespace: 'default',
      workerId: before.worker.opened.worker.workerId,
      name: '',
    });
    expect(view).toMatchObject({
      name: 'alpha',
      tags: ['gpu', 'x86'],
      labelsRevision: 2,
      slots: 3,
      slotsUsed: 2,
      completedCount: 1,
    });
    expect(Object.fromEntries(view.labels)).toEqual({ site: 'south', cores: 8 });
    expect(view.assignments.map(({ runId }) => runId).sort()).toEqual([before.running, before.assigned].sort());
  });

  it('request ids are known, of runs that live', async () => {
    const again = draftOf(plane.ids.orderedId(), { requestId: 'running', requestDigest: 'r' });
    expect(await plane.take({ kind: 'schedule_runs', runs: [again] })).toMatchObject([
      { runId: before.running, alreadyScheduled: true },
    ]);
    expect(await plane.refuse({ kind: 'schedule_runs', runs: [{ ...again, requestDigest: 'x' }] })).toMatchObject({
      refused: 'REQUEST_ID_REUSED',
    });
  });

  it('and of runs that have ended', async () => {
    const known = await plane.findRequests('default', ['ended', 'unheard of']);
    expect([...known.values()]).toEqual([{ requestId: 'ended', requestDigest: 'e', runId: before.ended }]);
  });

  it('a process that comes back within its grace goes on with what it held', async () => {
    const { runningAssignment, assignedAssignment, worker } = before;
    const resume = { sessionHash: `session-${worker.connection}`, heldAssignmentIds: [runningAssignment] };
    const back = await plane.worker('alpha', { slots: 1, resume });
    expect(back.opened).toMatchObject({ resumed: true, keptAssignmentIds: [runningAssignment] });
    await plane.fact({
      kind: 'succeed_step',
      connection: back.connection,
      assignmentId: runningAssignment,
      outputJson: '2',
    });
    expect(await store.sql`SELECT state, output FROM runs WHERE run_id = ${before.running}`).toEqual([
      { state: 'SUCCEEDED', output: '2' },
    ]);
    // Never accepted and not named: back to the queue, free of charge, and offered anew.
    expect(await back.offered(before.assigned)).not.toBe(assignedAssignment);
    expect(
      await store.sql`SELECT failures, losses, assignment_number FROM runs WHERE run_id = ${before.assigned}`,
    ).toEqual([{ failures: 0, losses: 0, assignment_number: 1 }]);
    await plane.fact({ kind: 'goodbye', connection: back.connection });
  });

  it('what waited is handed out in the order it would have been', async () => {
    const { connection, offered, effects } = await plane.worker('beta', { actions: ['later'] });
    for (const runId of before.queue) {
      const assignmentId = await offered(runId);
      await plane.fact({ kind: 'accept_step', connection, assignmentId });
      await plane.fact({ kind: 'succeed_step', connection, assignmentId, outputJson: 'null' });
    }
    const handedOut = effects.flatMap((effect) => (effect.kind === 'run_step' ? [effect.offer.runId] : []));
    expect(handedOut).toEqual(before.queue);
  });

  it('a step that backed off waits for as long as it would have, and no less', async () => {
    const stored = () => store.sql`SELECT step_state, failures FROM runs WHERE run_id = ${before.backingOff}`;
    clock.advance(plane.times.reconnectGraceMs);
    // A run that was stored after that moment: so was whatever the moment brought.
    await plane.run();
    expect(await stored()).toEqual([{ step_state: 'BLOCKED', failures: 1 }]);
    clock.advance(HOUR_MS);
    await expect.poll(stored, WAIT).toEqual([{ step_state: 'PENDING', failures: 1 }]);
  });
});

const GRACE_MS = 800;

describe('a worker that never comes back', () => {
  beforeAll(openStore);
  afterAll(closeStore);

  it('keeps what it held for its grace, and then loses it', async () => {
    const first = await store.plane();
    const worker = await first.worker('gone', { actions: ['grace'] });
    const runId = await first.run({ action: 'grace' });
    await first.fact({ kind: 'accept_step', connection: worker.connection, assignmentId: await worker.offered(runId) });
    await kill();
    const recoveringMs = performance.now();
    await store.plane({ times: { reconnectGraceMs: GRACE_MS } });
    const stored = () => store.sql`SELECT step_state, losses FROM runs WHERE run_id = ${runId}`;
    expect(await stored()).toEqual([{ step_state: 'RUNNING', losses: 0 }]);
    await expect.poll(stored, WAIT).toEqual([{ step_state: 'PENDING', losses: 1 }]);
    expect(performance.now() - recoveringMs).toBeGreaterThanOrEqual(GRACE_MS);
    expect(await store.sql`SELECT outcome, number FROM attempts WHERE run_id = ${runId}`).toEqual([
      { outcome: 'WORKER_LOST', number: 1 },
    ]);
  });
});

describe('reading the rows', () => {
  beforeAll(openStore);
  afterAll(closeStore);

  it('gives every run that has not ended, in the order of the queue, however many', async () => {
    const plane = await store.plane();
    const many = Array.from({ length: 12_000 }, () => draftOf(plane.ids.orderedId(), { action: 'many' }));
    await plane.take({ kind: 'schedule_runs', runs: many });
    await plane.stop();
    const holder = await becomeHolder(store.database, 'reader', SILENT_LOG);
    const { runs } = await readLiveRows(holder.sql);
    await holder.release();
    const read = runs.filter(({ action }) => action === 'many');
    expect(read.map(({ run_id }) => run_id)).toEqual(many.map(({ runId }) => runId));
    expect(runs.every(({ end_ms }) => end_ms === null)).toBe(true);
  });
});
