/** What workers say of their assignments, and what it does. */
import { beforeEach, describe, expect, it, test } from 'vitest';
import type { Command } from '../../src/engine/commands.ts';
import { type Client, createYard, type Yard } from '../support/engine.ts';

let yard: Yard;
let alpha: Client;
beforeEach(() => {
  yard = createYard();
  alpha = yard.hello({ name: 'alpha' });
});

const about = (client: Client, assignmentId: string) => ({ connection: client.connection, assignmentId });
const failure = { reason: 'APPLICATION', type: 'Error', message: 'it broke', stack: '', retryable: null };

describe('accepting', () => {
  it('makes step and run RUNNING, once', () => {
    const run = yard.submit();
    yard.nowMs += 10;
    alpha.accept(run);
    expect(yard.step(run)).toMatchObject({
      state: 'RUNNING',
      started: true,
      run: { state: 'RUNNING', startMs: yard.nowMs },
    });
    const { revision } = yard.step(run).run;
    yard.nowMs += 10;
    alpha.accept(run);
    expect(yard.changes).toEqual([]);
    expect(yard.step(run).run).toMatchObject({ revision, startMs: yard.nowMs - 10 });
  });

  it("of another worker's assignment is refused", () => {
    const run = yard.submit();
    const beta = yard.hello({ name: 'beta' });
    expect(yard.refuse({ kind: 'accept_step', ...about(beta, yard.assignmentId(run)) }).refused).toBe(
      'STALE_ASSIGNMENT',
    );
    expect(yard.step(run).state).toBe('ASSIGNED');
  });
});

describe('the result', () => {
  it('ends the run, counts for the worker and frees its place for the next', () => {
    const [run, next] = [yard.submit(), yard.submit()];
    alpha.accept(run);
    yard.nowMs += 10;
    alpha.succeed(run, '{"n":1}');
    expect(yard.store.runs.get(run)).toMatchObject({
      state: 'SUCCEEDED',
      output: '{"n":1}',
      end_ms: yard.nowMs,
      worker_name: 'alpha',
    });
    expect(yard.store.workers.get(alpha.workerId)?.completed_count).toBe(1);
    expect(yard.holder(next)).toBe('alpha');
    expect(yard.store.attempts).toEqual([]);
  });

  it.each(['succeed_step', 'fail_step', 'progress_step', 'log_step'] as const)(
    '%s before the acceptance is refused and changes nothing',
    (kind) => {
      const run = yard.submit();
      const payload = { outputJson: '1', failure, progress: { text: '', phase: '', fraction: null } };
      expect(yard.refuse({ kind, ...about(alpha, yard.assignmentId(run)), ...payload }).refused).toBe('STEP_STATE');
      expect([yard.changes, yard.step(run).state]).toEqual([[], 'ASSIGNED']);
    },
  );

  it('sent again is welcome; a different one is refused; neither changes anything', () => {
    const run = yard.submit();
    alpha.accept(run);
    const fact = about(alpha, yard.assignmentId(run));
    alpha.succeed(run, '1');
    expect(yard.take({ kind: 'succeed_step', ...fact, outputJson: '1' })).toBeNull();
    expect(yard.changes).toEqual([]);
    const others: Command[] = [
      { kind: 'fail_step', ...fact, failure },
      { kind: 'return_step', ...fact, reason: 'OTHER', detail: '' },
      { kind: 'confirm_cancel', ...fact },
    ];
    for (const other of others) {
      expect(yard.refuse(other).refused).toBe('STALE_ASSIGNMENT');
      expect(yard.changes).toEqual([]);
    }
    expect(yard.store.workers.get(alpha.workerId)?.completed_count).toBe(1);
    expect(yard.step(run).state).toBe('SUCCEEDED');
  });

  it('of one that was lost meanwhile is refused, and the new holder is unharmed', () => {
    const run = yard.submit();
    alpha.accept(run);
    const fact = about(alpha, yard.assignmentId(run));
    const beta = yard.hello({ name: 'beta' });
    alpha.close();
    yard.advance(yard.times.reconnectGraceMs);
    const back = alpha.resume([fact.assignmentId]);
    expect(back.opened.droppedAssignmentIds).toEqual([fact.assignmentId]);
    expect(yard.refuse({ kind: 'succeed_step', ...fact, connection: back.connection, outputJson: '1' }).refused).toBe(
      'STALE_ASSIGNMENT',
    );
    expect(yard.holder(run)).toBe('beta');
    beta.accept(run);
    beta.succeed(run);
    expect(yard.step(run).state).toBe('SUCCEEDED');
  });
});

describe('progress', () => {
  it('is the last word, readable while the step goes on, and written with the next change', () => {
    const run = yard.submit();
    alpha.accept(run);
    for (const fraction of [0.25, 0.5]) {
      yard.take({
        kind: 'progress_step',
        ...about(alpha, yard.assignmentId(run)),
        progress: { text: 'on it', phase: 'load', fraction },
      });
      expect(yard.changes).toEqual([]);
    }
    expect(yard.take({ kind: 'read_progress', runId: run }).get('step')?.progress).toEqual({
      text: 'on it',
      phase: 'load',
      fraction: 0.5,
    });
    alpha.succeed(run);
    expect(yard.take({ kind: 'read_progress', runId: run }).size).toBe(0);
    expect(yard.store.runs.get(run)?.progress).toContain('0.5');
  });

  it('of the attempt before is gone with it', () => {
    const run = yard.submit({ retry: { attemptsMax: 2 } });
    alpha.accept(run);
    yard.take({
      kind: 'progress_step',
      ...about(alpha, yard.assignmentId(run)),
      progress: { text: 'half', phase: '', fraction: 0.5 },
    });
    alpha.fail(run);
    expect(yard.take({ kind: 'read_progress', runId: run }).get('step')?.progress).toBeNull();
  });

  it('log lines name run, step and attempt', () => {
    const run = yard.submit();
    alpha.accept(run);
    expect(yard.take({ kind: 'log_step', ...about(alpha, yard.assignmentId(run)) })).toEqual({
      runId: run,
      stepName: 'step',
      attempt: 1,
    });
  });
});

describe('failing', () => {
  it('ends the run when the attempts are used up, with the reason it gave', () => {
    const run = yard.submit();
    alpha.accept(run);
    alpha.fail(run, { reason: 'RESULT_REFUSED' });
    expect(yard.step(run)).toMatchObject({
      state: 'FAILED',
      failure: { reason: 'RESULT_REFUSED' },
      run: { state: 'FAILED' },
    });
    expect(yard.store.attempts).toMatchObject([
      { run_id: run, number: 1, outcome: 'RESULT_REFUSED', worker_name: 'alpha' },
    ]);
  });

  it('tries again while there are attempts, at its old place', () => {
    const run = yard.submit({ retry: { attemptsMax: 3 } });
    const next = yard.submit();
    for (const attempt of [1, 2]) {
      alpha.accept(run);
      alpha.fail(run);
      expect([yard.holder(run), yard.step(run).assignment?.number, yard.holder(next)]).toEqual([
        'alpha',
        attempt + 1,
        null,
      ]);
    }
    alpha.accept(run);
    alpha.fail(run);
    expect([yard.step(run).state, yard.holder(next)]).toEqual(['FAILED', 'alpha']);
  });

  it('for good ends the run at once', () => {
    const run = yard.submit({ retry: { attemptsMax: 3 } });
    alpha.accept(run);
    alpha.fail(run, { retryable: false });
    expect(yard.step(run)).toMatchObject({ state: 'FAILED', failures: 1 });
  });

  it('waits for its backoff, which grows; meanwhile the place is free and the schedule clock stands', () => {
    const run = yard.submit({
      scheduleTimeoutMs: 100,
      retry: { attemptsMax: 3, initialBackoffMs: 1_000, backoffFactor: 3 },
    });
    const between = yard.submit();
    for (const backoffMs of [1_000, 3_000]) {
      alpha.accept(run);
      alpha.fail(run);
      expect([yard.step(run).state, yard.step(run).run.state]).toEqual(['BLOCKED', 'RUNNING']);
      if (yard.holder(between) === 'alpha') {
        alpha.accept(between);
        alpha.succeed(between);
      }
      yard.advance(backoffMs - 1);
      expect(yard.step(run).state).toBe('BLOCKED');
      yard.advance(1);
      expect(yard.holder(run)).toBe('alpha');
    }
    expect(yard.step(between).state).toBe('SUCCEEDED');
  });
});

describe('giving back', () => {
  it('goes to another worker at once, at the old place and with the old clock', () => {
    const beta = yard.hello({ name: 'beta', slots: 0 });
    const [run, next] = [yard.submit({ scheduleTimeoutMs: 60_000 }), yard.submit()];
    const { scheduleDeadlineMs } = yard.step(run);
    yard.nowMs += 1_000;
    alpha.upsert({ memory: 1 });
    beta.slots(1);
    expect([run, next].map((one) => yard.holder(one))).toEqual(['alpha', 'beta']);
    beta.giveBack(next);
    alpha.giveBack(run);
    expect([run, next].map((one) => yard.holder(one))).toEqual(['beta', 'alpha']);
    expect(yard.step(run)).toMatchObject({ failures: 0, losses: 0, scheduleDeadlineMs, readySequence: 1 });
  });

  it('keeps it from the same worker for 1 s, doubling to 30 s', () => {
    const run = yard.submit({ scheduleTimeoutMs: 0 });
    for (const pauseMs of [1_000, 2_000, 4_000, 8_000, 16_000, 30_000, 30_000]) {
      alpha.giveBack(run);
      yard.advance(pauseMs - 1);
      expect(yard.holder(run)).toBeNull();
      yard.advance(1);
      expect(yard.holder(run)).toBe('alpha');
    }
  });

  it('doubles for a worker that accepts before it gives back, too', () => {
    const run = yard.submit({ scheduleTimeoutMs: 0 });
    for (const pauseMs of [1_000, 2_000, 4_000]) {
      alpha.accept(run);
      alpha.giveBack(run);
      yard.advance(pauseMs - 1);
      expect(yard.holder(run)).toBeNull();
      yard.advance(1);
      expect(yard.holder(run)).toBe('alpha');
    }
  });

  it('does not keep other work from that worker, nor that work from others', () => {
    const [run, next] = [yard.submit(), yard.submit()];
    alpha.giveBack(run);
    expect(yard.holder(next)).toBe('alpha');
    yard.hello({ name: 'beta' });
    expect(yard.holder(run)).toBe('beta');
  });

  it('does not keep later work of the same kind from that worker', () => {
    const run = yard.submit();
    alpha.giveBack(run);
    const next = yard.submit();
    expect([run, next].map((one) => yard.holder(one))).toEqual([null, 'alpha']);
  });

  test.each<[string, () => void]>([
    ['labels', () => alpha.upsert({ memory: 1 })],
    ['slots', () => alpha.slots(2)],
    ['process', () => yard.hello({ name: 'alpha' })],
    [
      'stream',
      () => {
        alpha.close();
        alpha.resume([]);
      },
    ],
  ])('ends with a change of its %s', (_what, change) => {
    const run = yard.submit();
    alpha.giveBack(run);
    expect(yard.holder(run)).toBeNull();
    change();
    expect(yard.holder(run)).toBe('alpha');
  });

  it('is over in time even when another worker had the step meanwhile and left', () => {
    const run = yard.submit();
    alpha.giveBack(run);
    const beta = yard.hello({ name: 'beta' });
    expect(yard.holder(run)).toBe('beta');
    yard.advance(500);
    beta.goodbye();
    expect(yard.holder(run)).toBeNull();
    yard.advance(500);
    expect(yard.holder(run)).toBe('alpha');
  });

  it('still counts when another worker accepted the step and failed it meanwhile', () => {
    const run = yard.submit({ retry: { attemptsMax: 2 } });
    alpha.giveBack(run);
    const beta = yard.hello({ name: 'beta' });
    beta.accept(run);
    yard.take({ kind: 'drain_worker', namespace: 'default', workerId: beta.workerId, reason: '' });
    beta.fail(run);
    expect(yard.holder(run)).toBeNull();
    yard.advance(1_000);
    expect(yard.holder(run)).toBe('alpha');
  });

  it('as STALE_LABELS means something only when the labels have moved on', () => {
    const run = yard.submit({ scheduleTimeoutMs: 0 });
    alpha.giveBack(run, 'STALE_LABELS');
    alpha.upsert({ memory: 1 });
    alpha.upsert({ memory: 2 });
    alpha.giveBack(run, 'STALE_LABELS');
    expect(yard.store.attempts.map((attempt) => [attempt.outcome, attempt.labels_revision])).toEqual([
      ['NOT_READY', 0],
      ['STALE_LABELS', 1],
    ]);
  });
});
