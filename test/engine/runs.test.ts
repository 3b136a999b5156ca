/** Runs: scheduling once and all or nothing, the order of the queue, cancelling. */
import { beforeEach, describe, expect, it, test } from 'vitest';
import type { ResultOf } from '../../src/engine/commands.ts';
import { createYard, desire, type RunOptions, type Yard } from '../support/engine.ts';

let yard: Yard;
beforeEach(() => {
  yard = createYard();
});

const schedule = (...runs: RunOptions[]) =>
  yard.take({ kind: 'schedule_runs', runs: runs.map((run) => yard.draft(run)) });
const cancel = (runId: string, mode: 'ANY' | 'IF_PENDING' = 'ANY', stepName = '') =>
  ({ kind: 'cancel_run', namespace: 'default', runId, mode, reason: 'enough', stepName }) as const;
const runState = (runId: string) => yard.step(runId).run.state;

describe('scheduling', () => {
  it('and assigning to a free worker is one turn, and the answer shows it', () => {
    const alpha = yard.hello({ name: 'alpha', labels: { memory: 512 } });
    const [scheduled] = schedule({ desired: [desire('memory', 256, { comparator: 'GREATER_THAN' })] });
    expect(scheduled).toMatchObject({
      alreadyScheduled: false,
      warnings: [],
      view: { state: 'PENDING', steps: [{ state: 'ASSIGNED' }] },
    });
    expect(yard.effects).toMatchObject([
      { kind: 'run_step', connection: alpha.connection, offer: { attempt: 1, labelsRevision: 1 } },
    ]);
  });

  it('answers with ids alone when nothing else is asked for', () => {
    const draft = yard.draft({ action: 'paint' });
    expect(yard.take({ kind: 'schedule_runs', runs: [draft], idsOnly: true })).toEqual([
      { runId: draft.runId, alreadyScheduled: false, view: null, warnings: [] },
    ]);
    expect(runState(draft.runId)).toBe('PENDING');
  });

  it('warns when no registered worker serves the action', () => {
    expect(schedule({ action: 'paint' })[0]?.warnings).toMatchObject([{ reason: 'NO_WORKER_SERVES_ACTION' }]);
    const alpha = yard.hello({ actions: ['paint'] });
    alpha.goodbye();
    expect(schedule({ action: 'paint' })[0]?.warnings).toEqual([]);
  });

  it('asks for what the run and its step ask for', () => {
    const run = yard.submit({ desired: [desire('a', 1)], stepDesired: [desire('b', 2)] });
    yard.hello({ name: 'alpha', labels: { a: 1 } });
    yard.hello({ name: 'beta', labels: { b: 2 } });
    expect(yard.holder(run)).toBeNull();
    yard.hello({ name: 'gamma', labels: { a: 1, b: 2 } });
    expect(yard.holder(run)).toBe('gamma');
  });

  it('refuses a whole batch for one bad run, before anything has changed', () => {
    yard.submit({ requestId: 'one', requestDigest: 'A' });
    yard.hello();
    const refuse = (...runs: RunOptions[]) =>
      yard.refuse({ kind: 'schedule_runs', runs: runs.map((run) => yard.draft(run)) });
    expect(refuse({}, { namespace: 'nowhere' }).refused).toBe('NAMESPACE_NOT_FOUND');
    expect(refuse({}, { requestId: 'one', requestDigest: 'B' }).refused).toBe('REQUEST_ID_REUSED');
    expect(refuse({ requestId: 'two', requestDigest: 'A' }, { requestId: 'two', requestDigest: 'B' }).refused).toBe(
      'REQUEST_ID_REUSED',
    );
    expect([yard.changes, yard.effects]).toEqual([[], []]);
    expect(yard.engine.state.runs.size).toBe(1);
    expect(yard.store.runs.size).toBe(1);
  });
});

describe('request ids', () => {
  it('give the first run again, within a batch as well', () => {
    const once = { requestId: 'once', requestDigest: 'A' };
    const [first, twin] = schedule(once, once);
    const [again] = schedule(once);
    expect(twin).toMatchObject({ runId: first?.runId, alreadyScheduled: true });
    expect(again).toMatchObject({ runId: first?.runId, alreadyScheduled: true });
    expect(yard.store.runs.size).toBe(1);
  });

  it('are refused with another body, naming id and run', () => {
    const [first] = schedule({ requestId: 'once', requestDigest: 'A' });
    const refused = yard.refuse({
      kind: 'schedule_runs',
      runs: [yard.draft({ requestId: 'once', requestDigest: 'B' })],
    });
    expect(refused).toMatchObject({
      refused: 'REQUEST_ID_REUSED',
      metadata: { request_id: 'once', run_id: first?.runId },
    });
  });

  it('are known from the store when they have left memory', () => {
    const known = { runId: 'old', requestDigest: 'A' };
    expect(schedule({ requestId: 'once', requestDigest: 'A', known })).toMatchObject([
      { runId: 'old', alreadyScheduled: true },
    ]);
    const other = yard.draft({ requestId: 'once', requestDigest: 'B', known });
    expect(yard.refuse({ kind: 'schedule_runs', runs: [other] }).refused).toBe('REQUEST_ID_REUSED');
  });

  it('are of their namespace, and none is none', () => {
    yard.take({ kind: 'put_namespace', name: 'other', matchMode: null, retentionMs: null, scheduleTimeoutMs: null });
    const once = { requestId: 'once', requestDigest: 'A' };
    schedule(once, { ...once, namespace: 'other' }, {}, {});
    expect(yard.engine.state.runs.size).toBe(4);
  });
});

describe('the queue', () => {
  it('goes by priority, then by who was ready first', () => {
    const runs = ([2, 1, 4, 2, 3, 4] as const).map((priority) => yard.submit({ priority }));
    const alpha = yard.hello({ name: 'alpha' });
    const order: number[] = [];
    for (let round = 0; round < runs.length; round++) {
      const held = runs.findIndex((run) => yard.holder(run) === 'alpha');
      order.push(held);
      alpha.accept(runs[held] as string);
      alpha.succeed(runs[held] as string);
    }
    expect(order).toEqual([2, 5, 4, 0, 3, 1]);
  });

  it('is one over actions and demands: a freed slot serves whoever is first', () => {
    const alpha = yard.hello({ name: 'alpha', actions: ['build', 'train', 'paint'], labels: { memory: 1 } });
    const first = yard.submit();
    const waiting = [
      yard.submit({ action: 'train' }),
      yard.submit({ action: 'paint', desired: [desire('memory', 1)] }),
      yard.submit({ action: 'build' }),
    ];
    alpha.accept(first);
    alpha.succeed(first);
    expect(waiting.map((run) => yard.holder(run))).toEqual(['alpha', null, null]);
  });

  it('stays in order where the first of one demand is kept from the only free worker', () => {
    const alpha = yard.hello({ name: 'alpha', actions: ['build', 'train'] });
    const returned = yard.submit({ priority: 4 });
    alpha.giveBack(returned);
    const [behind, next] = schedule({ priority: 1 }, { priority: 2, action: 'train' }).map(({ runId }) => runId);
    expect([returned, behind, next].map((run) => yard.holder(run as string))).toEqual([null, null, 'alpha']);
  });

  it('is delayed by nobody who cannot be served', () => {
    for (let index = 0; index < 500; index++) yard.submit({ priority: 4, desired: [desire('zone', `z${index % 7}`)] });
    yard.hello({ name: 'alpha' });
    const run = yard.submit({ priority: 1 });
    expect(yard.holder(run)).toBe('alpha');
  });

  it('spreads ties evenly', () => {
    const workers = ['alpha', 'beta', 'gamma'].map((name) => yard.hello({ name, slots: 1 }));
    const counts = new Map(workers.map((worker) => [worker.name, 0]));
    for (let index = 0; index < 60; index++) {
      const run = yard.submit();
      const holder = workers.find((worker) => worker.name === yard.holder(run)) as (typeof workers)[number];
      counts.set(holder.name, (counts.get(holder.name) ?? 0) + 1);
      holder.accept(run);
      holder.succeed(run);
    }
    expect([...counts.values()]).toEqual([20, 20, 20]);
  });

  it('tells its depth by action', () => {
    for (const action of ['build', 'build', 'paint']) yard.submit({ action, desired: [desire('zone', action)] });
    yard.submit({ desired: [desire('zone', 'elsewhere')] });
    const depth = (...actions: string[]) => yard.take({ kind: 'read_queue_depth', namespace: 'default', actions });
    expect(depth()).toEqual(
      new Map([
        ['build', 3],
        ['paint', 1],
      ]),
    );
    expect(depth('paint', 'train')).toEqual(
      new Map([
        ['paint', 1],
        ['train', 0],
      ]),
    );
    yard.hello({ name: 'alpha', slots: 2, labels: { zone: 'build' } });
    expect(depth('build')).toEqual(new Map([['build', 1]]));
    expect(yard.refuse({ kind: 'read_queue_depth', namespace: 'nowhere', actions: [] }).refused).toBe(
      'NAMESPACE_NOT_FOUND',
    );
  });
});

describe('cancelling', () => {
  it('a waiting step ends it at once', () => {
    const run = yard.submit();
    yard.take(cancel(run, 'IF_PENDING'));
    expect([runState(run), yard.step(run).failure?.reason, yard.step(run).failure?.message]).toEqual([
      'CANCELLED',
      'CANCELLED',
      'enough',
    ]);
    yard.hello({ name: 'alpha' });
    expect(yard.effects).toEqual([]);
    expect(yard.store.runs.get(run)).toMatchObject({
      state: 'CANCELLED',
      step_state: 'CANCELLED',
      end_ms: yard.nowMs,
      cancel_reason: 'enough',
    });
  });

  it('an offered step ends it at once; its place stays taken until the worker says that it is over', () => {
    const alpha = yard.hello({ name: 'alpha' });
    const run = yard.submit();
    alpha.handOver(run);
    const assignmentId = yard.assignmentId(run);
    expect(yard.refuse(cancel(run, 'IF_PENDING')).refused).toBe('NOT_PENDING');
    yard.take(cancel(run));
    expect(yard.effects).toEqual([
      { kind: 'cancel_step', connection: alpha.connection, assignmentId, reason: 'CANCELLED' },
    ]);
    const next = yard.submit();
    expect(yard.holder(next)).toBeNull();
    expect(yard.refuse({ kind: 'confirm_cancel', connection: alpha.connection, assignmentId }).refused).toBe(
      'STALE_ASSIGNMENT',
    );
    expect(yard.holder(next)).toBe('alpha');
  });

  it('a running step waits for the worker to stop', () => {
    const alpha = yard.hello({ name: 'alpha' });
    const run = yard.submit();
    alpha.accept(run);
    yard.take(cancel(run));
    expect(yard.effects).toMatchObject([{ kind: 'cancel_step', connection: alpha.connection, reason: 'enough' }]);
    expect(runState(run)).toBe('RUNNING');
    yard.take({ kind: 'confirm_cancel', connection: alpha.connection, assignmentId: yard.assignmentId(run) });
    expect([runState(run), yard.worker(alpha.workerId).slotsUsed]).toEqual(['CANCELLED', 0]);
  });

  it('a running step that does not stop is closed, and keeps its place', () => {
    const alpha = yard.hello({ name: 'alpha' });
    const run = yard.submit();
    alpha.accept(run);
    const assignmentId = yard.assignmentId(run);
    yard.take(cancel(run));
    yard.advance(yard.times.cancelCloseMs - 1);
    expect(runState(run)).toBe('RUNNING');
    yard.advance(1);
    expect([runState(run), yard.worker(alpha.workerId).slotsUsed]).toEqual(['CANCELLED', 1]);
    const late = { kind: 'succeed_step', connection: alpha.connection, assignmentId, outputJson: '1' } as const;
    expect(yard.refuse(late).refused).toBe('STALE_ASSIGNMENT');
    expect([runState(run), yard.worker(alpha.workerId).slotsUsed]).toEqual(['CANCELLED', 0]);
  });

  test.each<[string, (alpha: ReturnType<Yard['hello']>, run: string) => void]>([
    ['given back', (alpha, run) => alpha.giveBack(run)],
    ['given back by a goodbye', (alpha) => alpha.goodbye()],
    ['lost to a new process', () => yard.hello({ name: 'alpha' })],
    [
      'lost with its worker',
      (alpha) => {
        alpha.close();
        yard.advance(yard.times.reconnectGraceMs);
      },
    ],
    ['failed with attempts left', (alpha, run) => alpha.fail(run)],
    [
      'deleted with its worker',
      (alpha) => {
        yard.take({ kind: 'delete_worker', namespace: 'default', workerId: alpha.workerId, force: true });
      },
    ],
  ])('ends a run whose step is %s afterwards', (_what, end) => {
    const alpha = yard.hello({ name: 'alpha' });
    const run = yard.submit({ retry: { attemptsMax: 3 } });
    alpha.accept(run);
    yard.take(cancel(run));
    yard.hello({ name: 'beta' });
    end(alpha, run);
    expect([runState(run), yard.holder(run), yard.step(run).queued]).toEqual(['CANCELLED', null, false]);
  });

  it('of what has ended is refused, unless it was cancelled', () => {
    const alpha = yard.hello({ name: 'alpha' });
    const [done, cancelled] = [yard.submit(), yard.submit()];
    alpha.accept(done);
    alpha.succeed(done);
    expect(yard.refuse(cancel(done))).toMatchObject({ refused: 'STEP_STATE', metadata: { state: 'SUCCEEDED' } });
    yard.take(cancel(cancelled));
    expect(yard.take(cancel(cancelled))).toEqual({ runId: cancelled });
    expect(yard.refuse(cancel('nobody')).refused).toBe('RUN_NOT_FOUND');
    expect(yard.refuse(cancel(cancelled, 'ANY', 'no such step')).refused).toBe('STEP_NOT_FOUND');
  });

  it('after the success of a step that was told to stop, the run is CANCELLED and the step SUCCEEDED', () => {
    const alpha = yard.hello({ name: 'alpha' });
    const run = yard.submit();
    alpha.accept(run);
    yard.take(cancel(run));
    alpha.succeed(run, '"just in time"');
    expect([runState(run), yard.step(run).state]).toEqual(['CANCELLED', 'SUCCEEDED']);
    expect(yard.engine.nextDueMs()).toBe(yard.nowMs + yard.times.endedInMemoryMs);
  });
});

describe('a long backlog', () => {
  const BACKLOG = 500;

  it('that a worker cannot take is not looked at again when that worker is given something else', () => {
    const yard = createYard();
    const client = yard.hello({ name: 'alpha', slots: 9, actions: ['build'], labels: { memory: 1 } });
    for (let size = 0; size < BACKLOG; size++) yard.submit({ stepDesired: [desire('memory', -size - 1)] });
    const worker = yard.engine.state.workers.get(client.workerId);
    if (worker === undefined) throw new Error('the worker is known');
    let looks = 0;
    const labels = new Map(worker.labels);
    labels.get = (key) => {
      looks += 1;
      return Map.prototype.get.call(labels, key);
    };
    worker.labels = labels;
    yard.submit({ stepDesired: [desire('memory', 1)] });
    expect(worker.assignments.size).toBe(1);
    expect(looks).toBeLessThan(BACKLOG / 10);
  });
});

describe('the runs a worker may take', () => {
  it('come once each, in queue order, page by page', () => {
    const yard = createYard();
    yard.workflow('roots', [{ name: 'a' }, { name: 'b' }, { name: 'c' }]);
    const alpha = yard.hello({ name: 'alpha', slots: 0 });
    const runs = [
      yard.submit({ workflow: 'roots' }),
      yard.submit(),
      yard.submit({ runsOn: ['gpu'] }),
      yard.submit({ workflow: 'roots', priority: 3 }),
      yard.submit({ action: 'paint' }),
    ];
    const listed: string[] = [];
    let after: { priority: 1 | 2 | 3 | 4; readySequence: number } | null = null;
    do {
      const { workerId } = alpha;
      const page: ResultOf<'list_eligible_runs'> = yard.take({
        kind: 'list_eligible_runs',
        namespace: 'default',
        workerId,
        after,
        limit: 1,
      });
      listed.push(...page.runs.map((run) => run.runId));
      after = page.next;
    } while (after !== null);
    expect(listed).toEqual([runs[3], runs[0], runs[1], runs[2]]);
  });
});
