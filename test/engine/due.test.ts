/** Deadlines: each fires once, in time, and not for what is over. */
import { beforeEach, describe, expect, it } from 'vitest';
import { createYard, type Yard } from '../support/engine.ts';

let yard: Yard;
beforeEach(() => {
  yard = createYard();
});

const stateOf = (runId: string) => yard.step(runId).state;

describe('the schedule timeout', () => {
  it('ends what waits for too long, and only that', () => {
    const [short, long, forEver] = [
      yard.submit({ scheduleTimeoutMs: 1_000 }),
      yard.submit(),
      yard.submit({ scheduleTimeoutMs: 0 }),
    ];
    yard.advance(999);
    expect(stateOf(short)).toBe('PENDING');
    yard.advance(1);
    expect([short, long, forEver].map(stateOf)).toEqual(['TIMED_OUT', 'PENDING', 'PENDING']);
    expect(yard.step(short)).toMatchObject({
      failure: { reason: 'SCHEDULE_TIMEOUT' },
      run: { state: 'TIMED_OUT', endMs: yard.nowMs },
    });
    yard.advance(yard.times.scheduleTimeoutMs);
    expect([stateOf(long), stateOf(forEver)]).toEqual(['TIMED_OUT', 'PENDING']);
    yard.advance(1e9);
    expect(stateOf(forEver)).toBe('PENDING');
  });

  it("is the namespace's unless the step says otherwise", () => {
    yard.take({ kind: 'put_namespace', name: 'default', matchMode: null, retentionMs: null, scheduleTimeoutMs: 2_000 });
    const run = yard.submit();
    yard.advance(2_000);
    expect(stateOf(run)).toBe('TIMED_OUT');
  });

  it('fires on time however many wait', () => {
    const runs = yard.take({
      kind: 'schedule_runs',
      runs: Array.from({ length: 10_000 }, () => yard.draft({ priority: 4 })),
    });
    const run = yard.submit({ scheduleTimeoutMs: 500, action: 'paint' });
    expect(yard.engine.nextDueMs()).toBe(yard.nowMs + 500);
    yard.advance(500);
    expect([stateOf(run), stateOf(runs[0]?.runId as string)]).toEqual(['TIMED_OUT', 'PENDING']);
  });

  it('ends what was offered and not accepted, and tells the worker', () => {
    const alpha = yard.hello({ name: 'alpha' });
    const run = yard.submit({ scheduleTimeoutMs: 1_000 });
    const assignmentId = yard.assignmentId(run);
    yard.advance(1_000);
    expect(stateOf(run)).toBe('TIMED_OUT');
    expect(yard.effects).toEqual([
      { kind: 'cancel_step', connection: alpha.connection, assignmentId, reason: 'SCHEDULE_TIMEOUT' },
    ]);
    expect(yard.refuse({ kind: 'accept_step', connection: alpha.connection, assignmentId }).refused).toBe(
      'STALE_ASSIGNMENT',
    );
  });

  it('never fires after the acceptance', () => {
    const alpha = yard.hello({ name: 'alpha' });
    const run = yard.submit({ scheduleTimeoutMs: 1_000 });
    yard.advance(999);
    alpha.accept(run);
    yard.advance(1_000_000);
    expect(stateOf(run)).toBe('RUNNING');
  });

  it('goes on when the step is not accepted, and starts anew for a retry and after a loss', () => {
    const alpha = yard.hello({ name: 'alpha' });
    const run = yard.submit({ scheduleTimeoutMs: 5_000, retry: { attemptsMax: 2 } });
    const deadline = () => (yard.step(run).scheduleDeadlineMs ?? 0) - yard.nowMs;
    yard.advance(1_000);
    alpha.giveBack(run);
    expect(deadline()).toBe(4_000);
    yard.advance(1_000);
    expect(deadline()).toBe(3_000);
    alpha.accept(run);
    yard.advance(10_000);
    alpha.fail(run);
    expect(deadline()).toBe(5_000);
    alpha.accept(run);
    yard.hello({ name: 'alpha', actions: [] });
    expect([deadline(), stateOf(run)]).toEqual([5_000, 'PENDING']);
    yard.advance(5_000);
    expect(stateOf(run)).toBe('TIMED_OUT');
  });
});

describe('the accept deadline', () => {
  it('counts from the hand-over', () => {
    const alpha = yard.hello({ name: 'alpha' });
    const run = yard.submit({ scheduleTimeoutMs: 0 });
    yard.advance(yard.times.acceptTimeoutMs - 1);
    alpha.handOver(run);
    yard.advance(yard.times.acceptTimeoutMs - 1);
    expect(stateOf(run)).toBe('ASSIGNED');
    yard.advance(1);
    expect(stateOf(run)).toBe('PENDING');
  });

  it('is there also for what is never handed over', () => {
    yard.hello({ name: 'alpha' });
    const run = yard.submit({ scheduleTimeoutMs: 0 });
    yard.advance(yard.times.acceptTimeoutMs);
    expect(stateOf(run)).toBe('PENDING');
    expect(yard.store.attempts).toMatchObject([{ outcome: 'ACCEPT_TIMEOUT' }]);
  });

  it('does not run while the stream is away, and begins anew when it is back', () => {
    const alpha = yard.hello({ name: 'alpha' });
    const run = yard.submit({ scheduleTimeoutMs: 0 });
    alpha.handOver(run);
    yard.take({ kind: 'close_session', connection: alpha.connection, reason: 'CLOSED' });
    yard.advance(yard.times.acceptTimeoutMs);
    expect(stateOf(run)).toBe('ASSIGNED');
    const back = alpha.resume([run]);
    yard.advance(yard.times.acceptTimeoutMs - 1);
    expect(yard.worker(alpha.workerId).notReadyReason).toBeNull();
    back.accept(run);
    yard.advance(1);
    expect(stateOf(run)).toBe('RUNNING');
  });

  it('withdraws the step, uses no attempt, and gives it to somebody else', () => {
    const alpha = yard.hello({ name: 'alpha' });
    const run = yard.submit();
    alpha.handOver(run);
    const beta = yard.hello({ name: 'beta' });
    const assignmentId = yard.assignmentId(run);
    yard.advance(yard.times.acceptTimeoutMs);
    expect(yard.effects).toMatchObject([
      { kind: 'cancel_step', connection: alpha.connection, assignmentId, reason: 'ACCEPT_TIMEOUT' },
      { kind: 'run_step', connection: beta.connection, offer: { runId: run, attempt: 1 } },
    ]);
    expect(yard.step(run)).toMatchObject({ failures: 0, losses: 0 });
    expect(yard.store.attempts).toMatchObject([
      { assignment_id: assignmentId, outcome: 'ACCEPT_TIMEOUT', accept_ms: null },
    ]);
  });

  it('is over with the acceptance', () => {
    const alpha = yard.hello({ name: 'alpha' });
    const run = yard.submit();
    alpha.handOver(run);
    alpha.accept(run);
    alpha.handOver(run);
    yard.advance(yard.times.acceptTimeoutMs);
    expect(stateOf(run)).toBe('RUNNING');
  });

  describe('missed: the worker gets nothing', () => {
    const missed = () => {
      const alpha = yard.hello({ name: 'alpha', slots: 5 });
      const run = yard.submit({ scheduleTimeoutMs: 0 });
      alpha.handOver(run);
      const assignmentId = yard.assignmentId(run);
      yard.advance(yard.times.acceptTimeoutMs);
      return { alpha, run, assignmentId, next: yard.submit({ scheduleTimeoutMs: 0 }) };
    };

    it('for 30 s, whatever its heart says', () => {
      const { alpha, next } = missed();
      yard.take({ kind: 'heartbeat', connection: alpha.connection });
      yard.advance(yard.times.missedAcceptPauseMsMax - 1);
      expect([yard.holder(next), yard.worker(alpha.workerId).notReadyReason]).toEqual([null, 'ACCEPT_MISSED']);
      yard.advance(1);
      expect(yard.holder(next)).toBe('alpha');
    });

    it('until it says anything about an assignment, even a late word', () => {
      const { alpha, next, run, assignmentId } = missed();
      expect(yard.refuse({ kind: 'accept_step', connection: alpha.connection, assignmentId }).refused).toBe(
        'STALE_ASSIGNMENT',
      );
      expect([yard.holder(next), yard.holder(run)]).toEqual(['alpha', null]);
      alpha.accept(next);
      yard.advance(yard.times.reofferPauseMs);
      expect(yard.holder(run)).toBe('alpha');
    });

    it('until it changes its slots, which makes it somebody who may have this step, too', () => {
      const { alpha, next, run } = missed();
      alpha.slots(4);
      expect([yard.holder(next), yard.holder(run)]).toEqual(['alpha', 'alpha']);
    });

    it('until its next hello', () => {
      const { alpha, next } = missed();
      alpha.resume([]);
      expect(yard.holder(next)).toBe('alpha');
    });
  });
});

describe('the execution timeout', () => {
  it('is a failed attempt, tells the worker, and keeps the place', () => {
    const alpha = yard.hello({ name: 'alpha', slots: 2 });
    const run = yard.submit({ executionTimeoutMs: 5_000, retry: { attemptsMax: 2 } });
    yard.advance(1_000);
    alpha.accept(run);
    const assignmentId = yard.assignmentId(run);
    yard.advance(4_999);
    expect(yard.step(run).assignment?.assignmentId).toBe(assignmentId);
    yard.advance(1);
    expect(yard.effects[0]).toEqual({
      kind: 'cancel_step',
      connection: alpha.connection,
      assignmentId,
      reason: 'EXECUTION_TIMEOUT',
    });
    expect([yard.step(run).failures, yard.worker(alpha.workerId).slotsUsed]).toEqual([1, 2]);
    alpha.accept(run);
    yard.advance(5_000);
    expect(yard.step(run)).toMatchObject({ state: 'TIMED_OUT', failure: { reason: 'EXECUTION_TIMEOUT' } });
  });

  it('of silence starts anew with progress and log lines, not with heartbeats', () => {
    const alpha = yard.hello({ name: 'alpha' });
    const run = yard.submit({ progressTimeoutMs: 5_000 });
    alpha.accept(run);
    const fact = { connection: alpha.connection, assignmentId: yard.assignmentId(run) };
    yard.advance(4_000);
    yard.take({ kind: 'progress_step', ...fact, progress: { text: '', phase: '', fraction: null } });
    yard.advance(4_000);
    yard.take({ kind: 'log_step', ...fact });
    yard.advance(4_000);
    yard.take({ kind: 'heartbeat', connection: alpha.connection });
    expect(stateOf(run)).toBe('RUNNING');
    yard.advance(1_000);
    expect(stateOf(run)).toBe('TIMED_OUT');
  });
});

it('lost workers have a budget of their own: after the last the step has CRASHED', () => {
  const run = yard.submit({ retry: { workerLossesMax: 2 } });
  for (let losses = 1; losses <= 3; losses++) {
    const alpha = yard.hello({ name: 'alpha' });
    alpha.accept(run);
    alpha.close();
    yard.advance(yard.times.reconnectGraceMs);
    expect([stateOf(run), yard.step(run).losses, yard.step(run).failures]).toEqual([
      losses < 3 ? 'PENDING' : 'CRASHED',
      losses,
      0,
    ]);
  }
  expect(yard.step(run)).toMatchObject({ failure: { reason: 'WORKER_LOST' }, run: { state: 'CRASHED' } });
});

describe('after a pause of the loop', () => {
  it('every deadline is at least the grace away, and nothing else has moved', () => {
    const alpha = yard.hello({ name: 'alpha', slots: 2 });
    const slow = yard.submit({ executionTimeoutMs: 1_000 });
    const cut = yard.submit({ retry: { attemptsMax: 2, initialBackoffMs: 5_000 } });
    alpha.accept(slow);
    alpha.accept(cut);
    alpha.fail(cut);
    const waiting = yard.submit({ action: 'nobody serves it', scheduleTimeoutMs: 2_000 });
    const patient = yard.submit({ action: 'nobody serves it', scheduleTimeoutMs: 60_000 });
    yard.take({ kind: 'postpone_deadlines' });
    yard.advance(5_000);
    // A backoff is no deadline.
    expect([stateOf(slow), stateOf(waiting), stateOf(cut)]).toEqual(['RUNNING', 'PENDING', 'ASSIGNED']);
    yard.advance(yard.times.reconnectGraceMs - 5_001);
    expect([stateOf(slow), stateOf(waiting)]).toEqual(['RUNNING', 'PENDING']);
    yard.advance(1);
    expect([stateOf(slow), stateOf(waiting), stateOf(patient)]).toEqual(['TIMED_OUT', 'TIMED_OUT', 'PENDING']);
    yard.advance(30_000);
    expect(stateOf(patient)).toBe('TIMED_OUT');
  });
});
