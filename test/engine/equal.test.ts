/** Equal runs: who executes, who follows, and what becomes of those who follow. */
import { describe, expect, it } from 'vitest';
import type { WorkflowRow } from '../../src/engine/rows.ts';
import { type Client, createYard, type RunOptions, type Yard } from '../support/engine.ts';

const same: RunOptions = { contentHash: 'same' };

const states = (yard: Yard, runIds: readonly string[]) => runIds.map((runId) => yard.run(runId).state);
const leaderOf = (yard: Yard, runId: string) => yard.run(runId).follows?.record.leader?.runId ?? null;
const adopts = (yard: Yard, runId: string) => yard.run(runId).follows !== null && yard.run(runId).executedBy !== null;

function cancel(yard: Yard, runId: string, stepName = ''): void {
  yard.take({ kind: 'cancel_run', namespace: 'default', runId, mode: 'ANY', reason: '', stepName });
}

function retry(yard: Yard, runId: string): void {
  const stored = yard.store.readRun(runId);
  const storedDependencies = new Map();
  yard.take({ kind: 'retry_run', namespace: 'default', runId, keepPin: false, stored, storedDependencies });
}

function purge(yard: Yard, contentHash: string, namespace = 'default'): void {
  yard.take({ kind: 'purge_results', namespace, contentHash });
}

function restart(yard: Yard): Yard {
  return createYard({ rows: yard.store.liveRows(), nowMs: yard.nowMs });
}

/** Accepts and ends whatever this worker was given of the run. */
function finish(client: Client, runId: string, how: 'succeed' | 'fail' = 'succeed'): void {
  client.accept(runId);
  client[how](runId);
}

describe('by the state of the leader', () => {
  it('succeeded: the new run has succeeded at once, and nothing is executed', () => {
    const yard = createYard();
    const alpha = yard.hello({ name: 'alpha' });
    const first = yard.submit(same);
    finish(alpha, first);
    const second = yard.submit(same);
    expect(yard.run(second)).toMatchObject({ state: 'SUCCEEDED', executedBy: first, startMs: null, endMs: yard.nowMs });
    expect(yard.effects).toEqual([]);
    expect(yard.step(second)).toMatchObject({ state: 'SUCCEEDED', blockedOn: null, assignment: null });
    expect(yard.store.runs.get(second)).toMatchObject({ state: 'SUCCEEDED', executed_by_run_id: first, output: null });
    expect(yard.store.findSuccess('same', 'action:build', 0)).toEqual({ runId: first, version: 0 });
  });

  it('running: the new run adopts it, shows its progress and ends as it ends', () => {
    const yard = createYard();
    const alpha = yard.hello({ name: 'alpha', slots: 9 });
    const first = yard.submit(same);
    alpha.accept(first);
    const second = yard.submit(same);
    expect(yard.run(second)).toMatchObject({ state: 'PENDING', executedBy: first, live: false });
    expect(yard.step(second)).toMatchObject({ state: 'BLOCKED', blockedOn: 'EQUAL', scheduleDeadlineMs: null });
    const progress = { text: 'half', phase: '', fraction: 0.5 };
    const assignmentId = yard.assignmentId(first);
    yard.take({ kind: 'progress_step', connection: alpha.connection, assignmentId, progress });
    const shown = yard.take({ kind: 'read_progress', runId: second });
    expect([...shown.values()]).toEqual([{ progress, blockedReason: `HELD equal run ${first}` }]);
    alpha.fail(first);
    expect(states(yard, [first, second])).toEqual(['FAILED', 'FAILED']);
    expect(yard.run(second)).toMatchObject({ executedBy: first, failure: { reason: 'APPLICATION' } });
    expect(yard.step(second).failure).toEqual(yard.step(first).failure);
    // In the same commit.
    expect(yard.changes.flatMap((change) => (change.table === 'runs' ? [change.run.runId] : []))).toContain(second);
  });

  it('not started: the new run is held, and succeeds with it', () => {
    const yard = createYard();
    const alpha = yard.hello({ name: 'alpha', slots: 9 });
    const [first, second] = [yard.submit(same), yard.submit(same)];
    expect(yard.step(first).state).toBe('ASSIGNED');
    expect(yard.run(second)).toMatchObject({ executedBy: null, state: 'PENDING' });
    finish(alpha, first);
    expect(states(yard, [first, second])).toEqual(['SUCCEEDED', 'SUCCEEDED']);
    expect(yard.run(second).executedBy).toBe(first);
  });

  it('not started, and then failed: the oldest that is held leads, the others stay behind it', () => {
    const yard = createYard();
    const alpha = yard.hello({ name: 'alpha', slots: 9 });
    const [first, second, third] = [yard.submit(same), yard.submit(same), yard.submit(same)];
    alpha.accept(first);
    const adopter = yard.submit(same);
    alpha.fail(first);
    expect(states(yard, [first, second, third, adopter])).toEqual(['FAILED', 'PENDING', 'PENDING', 'FAILED']);
    expect([yard.holder(second), leaderOf(yard, third)]).toEqual(['alpha', second]);
    finish(alpha, second);
    expect(states(yard, [second, third])).toEqual(['SUCCEEDED', 'SUCCEEDED']);
    expect(yard.run(third).executedBy).toBe(second);
  });

  it('failed, or there is none: the new run executes', () => {
    const yard = createYard();
    const alpha = yard.hello({ name: 'alpha', slots: 9 });
    const first = yard.submit(same);
    finish(alpha, first, 'fail');
    const second = yard.submit(same);
    expect(yard.holder(second)).toBe('alpha');
    finish(alpha, second);
    expect(yard.run(second)).toMatchObject({ state: 'SUCCEEDED', executedBy: null });
  });

  it('cancelled: nobody else is, and the oldest that follows leads', () => {
    const yard = createYard();
    const alpha = yard.hello({ name: 'alpha', slots: 9 });
    const first = yard.submit(same);
    alpha.accept(first);
    const [second, third] = [yard.submit(same), yard.submit(same)];
    expect([second, third].map((run) => adopts(yard, run))).toEqual([true, true]);
    cancel(yard, first);
    const { connection } = alpha;
    yard.take({ kind: 'confirm_cancel', connection, assignmentId: yard.assignmentId(first) });
    expect(yard.run(first).state).toBe('CANCELLED');
    expect([yard.holder(second), leaderOf(yard, third), adopts(yard, third)]).toEqual(['alpha', second, false]);
    // The third has become one that is held: the failure of the second is not its own.
    finish(alpha, second, 'fail');
    expect([yard.run(second).state, yard.holder(third)]).toEqual(['FAILED', 'alpha']);
  });

  it.each(['TIMED_OUT', 'CRASHED'] as const)('%s: who adopted it has the same end', (end) => {
    const yard = createYard();
    const alpha = yard.hello({ name: 'alpha', slots: 9 });
    const first = yard.submit({ ...same, executionTimeoutMs: 1_000, retry: { workerLossesMax: 0 } });
    alpha.accept(first);
    const second = yard.submit(same);
    if (end === 'TIMED_OUT') yard.advance(1_000);
    else yard.hello({ name: 'alpha', actions: [] });
    expect(states(yard, [first, second])).toEqual([end, end]);
    expect(yard.step(second).state).toBe(end);
  });
});

describe('what makes runs equal', () => {
  it('is the action, or the version of a workflow, and the hash, within a namespace', () => {
    const yard = createYard();
    yard.take({ kind: 'put_namespace', name: 'other', matchMode: null, retentionMs: null, scheduleTimeoutMs: null });
    yard.workflow('build', [{ name: 'only' }]);
    const [first, hash, action] = [
      yard.submit(same),
      yard.submit({ contentHash: 'x' }),
      yard.submit({ ...same, action: 'paint' }),
    ];
    const workflow = yard.submit({ ...same, workflow: 'build' });
    yard.workflow('build', [{ name: 'only', action: 'paint' }]);
    const newer = yard.submit({ ...same, workflow: 'build' });
    const storedWorkflow = yard.store.workflows[0] as WorkflowRow;
    const older = yard.submit({ ...same, workflow: 'build', workflowVersion: 1, storedWorkflow });
    const elsewhere = yard.submit({ ...same, namespace: 'other' });
    const apart = [first, hash, action, workflow, newer, elsewhere];
    expect(apart.map((run) => leaderOf(yard, run))).toEqual(apart.map(() => null));
    expect(leaderOf(yard, older)).toBe(workflow);
    expect(yard.run(yard.submit()).follows).toBeNull();
  });

  it('is neither tags, labels, priority nor a pin', () => {
    const yard = createYard();
    const { workerId } = yard.hello({ name: 'alpha', slots: 9 });
    const first = yard.submit(same);
    const second = yard.submit({ ...same, runsOn: ['gpu'], priority: 4, sticky: 'HARD', pinToWorkerId: workerId });
    expect(leaderOf(yard, second)).toBe(first);
    // It did not execute, so it sets no pin and breaks none.
    expect(yard.run(second).pinnedWorkerId).toBe(workerId);
    const third = yard.submit({ ...same, sticky: 'SOFT' });
    expect(yard.run(third).pinnedWorkerId).toBeNull();
  });
});

describe('a run that follows', () => {
  it('takes no place of its concurrency key, and asks for one when it leads', () => {
    const yard = createYard();
    const alpha = yard.hello({ name: 'alpha', slots: 9 });
    const key = { concurrency: { key: 'k', limit: 1 } };
    const first = yard.submit(same);
    const follower = yard.submit({ ...same, ...key });
    const other = yard.submit(key);
    expect(yard.holder(other)).toBe('alpha');
    finish(alpha, first, 'fail');
    expect(yard.step(follower)).toMatchObject({ state: 'BLOCKED', blockedOn: 'HELD' });
    expect(yard.run(follower).follows).toBeNull();
    finish(alpha, other);
    expect(yard.holder(follower)).toBe('alpha');
    expect(yard.engine.state.equals.size).toBe(1);
  });

  it('has no schedule timeout, and gets a whole one when it leads', () => {
    const yard = createYard();
    const first = yard.submit({ ...same, scheduleTimeoutMs: 10_000 });
    const second = yard.submit({ ...same, scheduleTimeoutMs: 1_000 });
    yard.advance(5_000);
    expect(states(yard, [first, second])).toEqual(['PENDING', 'PENDING']);
    yard.advance(5_000);
    expect(states(yard, [first, second])).toEqual(['TIMED_OUT', 'PENDING']);
    expect(yard.step(second).scheduleDeadlineMs).toBe(yard.nowMs + 1_000);
  });

  it('is cancelled alone, also before it was ever assigned', () => {
    const yard = createYard();
    const alpha = yard.hello({ name: 'alpha', slots: 9 });
    const [first, second, third] = [yard.submit(same), yard.submit(same), yard.submit(same)];
    alpha.accept(first);
    const adopter = yard.submit(same);
    const command = { kind: 'cancel_run', namespace: 'default', reason: '', stepName: '' } as const;
    yard.take({ ...command, runId: second, mode: 'IF_PENDING' });
    cancel(yard, adopter);
    expect(states(yard, [first, second, third, adopter])).toEqual(['RUNNING', 'CANCELLED', 'PENDING', 'CANCELLED']);
    expect([second, adopter].map((run) => yard.run(run).executedBy)).toEqual([null, null]);
    alpha.fail(first);
    expect([yard.holder(third), ...states(yard, [second, adopter])]).toEqual(['alpha', 'CANCELLED', 'CANCELLED']);
  });

  it('can be edited, and stands in the queue as edited when it leads', () => {
    const yard = createYard();
    const alpha = yard.hello({ name: 'alpha' });
    const [first, second] = [yard.submit(same), yard.submit(same)];
    const busy = yard.submit();
    yard.take({ kind: 'update_run', namespace: 'default', runId: second, priority: 4, runsOn: null });
    finish(alpha, first, 'fail');
    expect([yard.holder(second), yard.holder(busy)]).toEqual(['alpha', null]);
  });
});

describe('of several steps', () => {
  const flow = { contentHash: 'same', workflow: 'flow' };
  function start() {
    const yard = createYard();
    yard.workflow('flow', [{ name: 'one' }, { name: 'two', needs: ['one'] }, { name: 'other' }]);
    return { yard, alpha: yard.hello({ name: 'alpha', slots: 9 }) };
  }
  const stepStates = (yard: Yard, runId: string) => yard.run(runId).steps.map((step) => step.state);

  it('all steps succeed with the leader', () => {
    const { yard, alpha } = start();
    const [first, second] = [yard.submit(flow), yard.submit(flow)];
    expect(yard.run(second).steps.map((step) => step.blockedOn)).toEqual(['EQUAL', 'NEEDS', 'EQUAL']);
    for (const name of ['one', 'two', 'other']) finish(alpha, `${first}/${name}`);
    expect(states(yard, [first, second])).toEqual(['SUCCEEDED', 'SUCCEEDED']);
    expect(stepStates(yard, second)).toEqual(['SUCCEEDED', 'SUCCEEDED', 'SUCCEEDED']);
    expect(yard.store.steps.get(`${second}\ntwo`)).toMatchObject({ step_state: 'SUCCEEDED', blocked_on: null });
    const third = yard.submit(flow);
    expect(yard.run(third)).toMatchObject({ state: 'SUCCEEDED', executedBy: first });
  });

  it('are skipped because of the leader that failed, and the run is what the leader is', () => {
    const { yard, alpha } = start();
    const first = yard.submit(flow);
    alpha.accept(`${first}/one`);
    const second = yard.submit(flow);
    alpha.fail(`${first}/one`);
    finish(alpha, `${first}/other`);
    expect(yard.run(second)).toMatchObject({ state: 'FAILED', executedBy: first, failure: { reason: 'APPLICATION' } });
    expect(stepStates(yard, second)).toEqual(['SKIPPED', 'SKIPPED', 'SKIPPED']);
    expect(yard.step(`${second}/two`).failure).toMatchObject({ reason: 'CAUSED_BY', causedById: first });
  });

  it('begin at the roots when the run comes to lead', () => {
    const { yard, alpha } = start();
    const [first, second] = [yard.submit(flow), yard.submit(flow)];
    cancel(yard, first);
    expect(yard.run(second).steps.map((step) => step.blockedOn ?? step.state)).toEqual([
      'ASSIGNED',
      'NEEDS',
      'ASSIGNED',
    ]);
    for (const name of ['one', 'two', 'other']) finish(alpha, `${second}/${name}`);
    expect(yard.run(second).state).toBe('SUCCEEDED');
  });

  it('of which one was cancelled: the others still end with the leader', () => {
    const { yard, alpha } = start();
    const [first, second] = [yard.submit(flow), yard.submit(flow)];
    cancel(yard, second, 'one');
    expect(stepStates(yard, second)).toEqual(['CANCELLED', 'SKIPPED', 'BLOCKED']);
    for (const name of ['one', 'two', 'other']) finish(alpha, `${first}/${name}`);
    expect(stepStates(yard, second)).toEqual(['CANCELLED', 'SKIPPED', 'SUCCEEDED']);
    expect(yard.run(second).state).toBe('CANCELLED');
  });
});

describe('dependencies', () => {
  it('are judged first: a run that waits for others leads nobody and follows nobody', () => {
    const yard = createYard();
    const alpha = yard.hello({ name: 'alpha', slots: 9 });
    const before = yard.submit();
    const first = yard.submit({ ...same, dependsOn: [before] });
    expect(yard.step(first).blockedOn).toBe('DEPENDS_ON_RUN');
    const second = yard.submit(same);
    expect(yard.holder(second)).toBe('alpha');
    finish(alpha, before);
    expect(leaderOf(yard, first)).toBe(second);
    finish(alpha, second);
    expect(yard.run(first)).toMatchObject({ state: 'SUCCEEDED', executedBy: second });
  });

  it('that fail are the end of the run, whatever its equals came to', () => {
    const yard = createYard();
    const alpha = yard.hello({ name: 'alpha', slots: 9 });
    finish(alpha, yard.submit(same));
    const before = yard.submit();
    const run = yard.submit({ ...same, dependsOn: [before] });
    finish(alpha, before, 'fail');
    expect(yard.run(run)).toMatchObject({ state: 'FAILED', executedBy: null, failure: { causedById: before } });
    yard.advance(120_000);
    expect(yard.engine.state.equals.size).toBe(0);
  });

  it('on a run that follows are met by its end', () => {
    const yard = createYard();
    const alpha = yard.hello({ name: 'alpha', slots: 9 });
    const [first, second] = [yard.submit(same), yard.submit(same)];
    const dependent = yard.submit({ dependsOn: [second] });
    finish(alpha, first);
    expect(yard.holder(dependent)).toBe('alpha');
  });

  it('on its own equal: it is answered with that', () => {
    const yard = createYard();
    const alpha = yard.hello({ name: 'alpha', slots: 9 });
    const first = yard.submit(same);
    const second = yard.submit({ ...same, dependsOn: [first] });
    finish(alpha, first);
    expect(yard.run(second)).toMatchObject({ state: 'SUCCEEDED', executedBy: first });
  });

  it('last longer than memory keeps a success: it is remembered for them, over a restart too', () => {
    const yard = createYard();
    const alpha = yard.hello({ name: 'alpha', slots: 9 });
    const before = yard.submit();
    alpha.accept(before);
    const waiting = yard.submit({ ...same, dependsOn: [before] });
    const first = yard.submit(same);
    finish(alpha, first);
    yard.advance(120_000);
    expect(yard.engine.state.runs.has(first)).toBe(false);
    const next = restart(yard);
    const back = next.hello({
      name: 'alpha',
      resume: { sessionHash: alpha.sessionHash, heldAssignmentIds: [yard.assignmentId(before)] },
    });
    back.succeed(before);
    expect(next.run(waiting)).toMatchObject({ state: 'SUCCEEDED', executedBy: first });
    alpha.succeed(before);
    expect(yard.run(waiting)).toMatchObject({ state: 'SUCCEEDED', executedBy: first });
    yard.advance(120_000);
    expect(yard.engine.state.equals.size).toBe(0);
  });
});

describe('a retried run', () => {
  it('arrives anew: it leads, follows, or is answered', () => {
    const yard = createYard();
    const alpha = yard.hello({ name: 'alpha', slots: 9 });
    const first = yard.submit(same);
    alpha.accept(first);
    const adopter = yard.submit(same);
    alpha.fail(first);
    retry(yard, adopter);
    expect(yard.run(adopter)).toMatchObject({ state: 'PENDING', executedBy: null, failure: null });
    expect(yard.holder(adopter)).toBe('alpha');
    retry(yard, first);
    expect(leaderOf(yard, first)).toBe(adopter);
    finish(alpha, adopter);
    expect(yard.run(first)).toMatchObject({ state: 'SUCCEEDED', executedBy: adopter });
  });

  it('finds a success that has left memory, in the store', () => {
    const yard = createYard();
    const alpha = yard.hello({ name: 'alpha', slots: 9 });
    const first = yard.submit(same);
    finish(alpha, first, 'fail');
    const second = yard.submit(same);
    finish(alpha, second);
    yard.advance(120_000);
    expect(yard.engine.state.runs.size).toBe(0);
    retry(yard, first);
    expect(yard.run(first)).toMatchObject({ state: 'SUCCEEDED', executedBy: second });
  });
});

describe('successes', () => {
  it('are looked up in the store when memory has forgotten them; another version is none', () => {
    const yard = createYard();
    yard.hello({ name: 'alpha', slots: 9 });
    yard.workflow('flow', [{ name: 'one' }]);
    const found = yard.submit({ ...same, storedSuccess: { runId: 'stored', version: 0 } });
    expect(yard.run(found)).toMatchObject({ state: 'SUCCEEDED', executedBy: 'stored' });
    const other = yard.submit({ ...same, workflow: 'flow', storedSuccess: { runId: 'stored', version: 7 } });
    expect(yard.holder(other)).toBe('alpha');
    expect(yard.run(yard.submit({ ...same, workflow: 'flow' })).executedBy).toBeNull();
  });

  it('are forgotten by a purge, by hash or all; what runs is not touched', () => {
    const yard = createYard();
    const alpha = yard.hello({ name: 'alpha', slots: 9 });
    const [x, y, running] = ['x', 'y', 'z'].map((contentHash) => yard.submit({ contentHash })) as [
      string,
      string,
      string,
    ];
    finish(alpha, x);
    finish(alpha, y);
    alpha.accept(running);
    purge(yard, 'x');
    expect([...yard.store.results.values()].map((row) => row.content_hash)).toEqual(['y']);
    expect(yard.holder(yard.submit({ contentHash: 'x' }))).toBe('alpha');
    expect(yard.run(yard.submit({ contentHash: 'y' })).executedBy).toBe(y);
    purge(yard, '');
    const [again, adopter] = [yard.submit({ contentHash: 'y' }), yard.submit({ contentHash: 'z' })];
    expect([yard.holder(again), yard.run(adopter).executedBy]).toEqual(['alpha', running]);
    alpha.succeed(running);
    expect(yard.run(adopter).state).toBe('SUCCEEDED');
    expect(yard.store.findSuccess('z', 'action:build', 0)?.runId).toBe(running);
  });

  it('that equal runs are read through are not retired before those show it in the store', () => {
    const yard = createYard();
    const alpha = yard.hello({ name: 'alpha' });
    yard.take({ kind: 'put_namespace', name: 'default', matchMode: null, retentionMs: 1, scheduleTimeoutMs: null });
    const first = yard.submit(same);
    finish(alpha, first);
    const second = yard.submit(same);
    yard.advance(1_000);
    const expired = { namespace: 'default', workflow: '', endMs: 0, steps: [] };
    const retire = (runId: string) => yard.take({ kind: 'retire_runs', runs: [{ ...expired, runId }] }).retired;
    expect([retire(first), retire(second), retire(first)]).toEqual([0, 1, 1]);
    // Whoever asked the store before that is not answered with what is gone.
    const third = yard.submit({ ...same, storedSuccess: { runId: first, version: 0 } });
    expect(yard.holder(third)).toBe('alpha');
  });
});

describe('a restart', () => {
  it('restores who leads, who adopted, who is held, and their order', () => {
    const yard = createYard();
    const alpha = yard.hello({ name: 'alpha', slots: 9 });
    const [first, second, third] = [yard.submit(same), yard.submit(same), yard.submit(same)];
    alpha.accept(first);
    const adopter = yard.submit(same);
    const next = restart(yard);
    expect([second, third, adopter].map((run) => leaderOf(next, run))).toEqual([first, first, first]);
    expect([second, third, adopter].map((run) => adopts(next, run))).toEqual([false, false, true]);
    const heldAssignmentIds = [yard.assignmentId(first)];
    const back = next.hello({ name: 'alpha', slots: 9, resume: { sessionHash: alpha.sessionHash, heldAssignmentIds } });
    back.fail(first);
    expect(states(next, [first, adopter])).toEqual(['FAILED', 'FAILED']);
    expect([next.holder(second), leaderOf(next, third)]).toEqual(['alpha', second]);
  });
});
