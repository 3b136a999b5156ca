/** Reports of an invalid input: who is offered the step next, what runs again, and who takes what comes of it. */
import { describe, expect, it } from 'vitest';
import type { Effect, Offer } from '../../src/engine/effects.ts';
import { type Client, createYard, type WorkflowStep, type Yard } from '../support/engine.ts';

const PIPELINE: WorkflowStep[] = [
  { name: 'fetch' },
  { name: 'clean', needs: ['fetch'] },
  { name: 'train', needs: ['clean'] },
];
const REPORTS = 5;
/** After the fourth report: a second, doubled three times. */
const PAUSE_AFTER_RESTART_MS = 8_000;

function start(steps: WorkflowStep[]) {
  // Some of what is offered is left alone for a while.
  const yard = createYard({ times: { acceptTimeoutMs: 3_600_000 } });
  yard.workflow('flow', steps);
  const worker = yard.hello({ name: 'alpha', slots: 4 });
  const runId = yard.submit({ workflow: 'flow' });
  return { yard, worker, runId, ...hands(yard, worker, runId) };
}

function hands(yard: Yard, worker: Client, runId: string) {
  const finish = (step: string, outputJson = '1') => {
    worker.accept(`${runId}/${step}`);
    worker.succeed(`${runId}/${step}`, outputJson);
  };
  /** Accepts and reports so many times, and waits out each pause. */
  const report = (step: string, times: number, stepName = '') => {
    for (let count = 1; count <= times; count++) {
      outwait(yard, `${runId}/${step}`);
      worker.accept(`${runId}/${step}`);
      worker.reportInvalid(`${runId}/${step}`, stepName);
    }
  };
  return { finish, report };
}

function outwait(yard: Yard, address: string): void {
  const { blockedOn, readyMs } = yard.step(address);
  if (blockedOn === 'BACKING_OFF') yard.advance((readyMs ?? 0) - yard.nowMs);
}

const offersOf = (effects: readonly Effect[]): Offer[] =>
  effects.flatMap((effect) => (effect.kind === 'run_step' ? [effect.offer] : []));

describe('a report that the input is invalid', () => {
  it('ends the attempt without using one up, and offers the step again after a pause that doubles up to its limit', () => {
    const { yard, worker, runId, finish } = start([
      { name: 'fetch' },
      { name: 'clean', needs: ['fetch'], maxInvalidReports: 9 },
    ]);
    finish('fetch');
    const pauses: number[] = [];
    for (let count = 1; count <= 8; count++) {
      worker.accept(`${runId}/clean`);
      worker.reportInvalid(`${runId}/clean`);
      const step = yard.step(`${runId}/clean`);
      expect(step).toMatchObject({ state: 'BLOCKED', blockedOn: 'BACKING_OFF', failures: 0, losses: 0 });
      expect(step.invalidInput?.reports).toBe(count);
      pauses.push((step.readyMs ?? 0) - yard.nowMs);
      yard.advance(pauses[count - 1] ?? 0);
      expect(step.state).toBe('ASSIGNED');
      expect(step.assignment?.number).toBe(count + 1);
    }
    expect(pauses).toEqual([1_000, 2_000, 4_000, 8_000, 16_000, 32_000, 60_000, 60_000]);
    const attempts = yard.store.attempts.filter(({ step_name }) => step_name === 'clean');
    expect(attempts.map(({ number, outcome, fact }) => [number, outcome, fact])).toEqual(
      pauses.map((_, index) => [index + 1, 'INPUT_INVALID', 'input_invalid']),
    );
    expect(JSON.parse(attempts[0]?.failure ?? '')).toMatchObject({
      reason: 'INPUT_INVALID',
      message: 'not an archive',
    });
  });

  it('is acknowledged again when it comes twice, and refused before the acceptance', () => {
    const { yard, worker, runId, finish } = start(PIPELINE);
    finish('fetch');
    const { connection } = worker;
    const assignmentId = yard.assignmentId(`${runId}/clean`);
    const report = { kind: 'report_input_invalid', connection, assignmentId, stepName: '', reason: '' } as const;
    expect(yard.refuse(report).refused).toBe('STEP_STATE');
    worker.accept(`${runId}/clean`);
    yard.take(report);
    yard.take(report);
    expect(yard.changes).toEqual([]);
    expect(yard.step(`${runId}/clean`).invalidInput?.reports).toBe(1);
    expect(yard.refuse({ kind: 'succeed_step', connection, assignmentId, outputJson: '1' }).refused).toBe(
      'STALE_ASSIGNMENT',
    );
  });

  it('prefers another worker, and takes the reporter when nobody else can', () => {
    const { yard, worker, runId, finish } = start(PIPELINE);
    finish('fetch');
    worker.accept(`${runId}/clean`);
    worker.reportInvalid(`${runId}/clean`);
    // Fuller than the reporter, and pinned to nothing: it is preferred all the same.
    const other = yard.hello({ name: 'beta', slots: 2 });
    yard.submit();
    const busy = yard.submit();
    expect([yard.holder(busy)]).toEqual(['alpha']);
    yard.advance(1_000);
    expect(yard.holder(`${runId}/clean`)).toBe('beta');
    other.accept(`${runId}/clean`);
    other.reportInvalid(`${runId}/clean`);
    other.goodbye();
    yard.advance(2_000);
    expect(yard.holder(`${runId}/clean`)).toBe('alpha');
  });

  it('names one of the needs when there are several', () => {
    const { yard, worker, runId, finish, report } = start([
      { name: 'left' },
      { name: 'right' },
      { name: 'join', needs: ['left', 'right'] },
    ]);
    finish('left');
    finish('right');
    worker.accept(`${runId}/join`);
    const fact = { connection: worker.connection, assignmentId: yard.assignmentId(`${runId}/join`), reason: '' };
    for (const stepName of ['', 'other']) {
      const refusal = yard.refuse({ kind: 'report_input_invalid', ...fact, stepName });
      expect(refusal).toMatchObject({ refused: 'INVALID_FIELD' });
      expect(refusal.message).toContain('"left", "right"');
    }
    report('join', REPORTS, 'right');
    expect(yard.step(`${runId}/right`)).toMatchObject({ generation: 2, state: 'ASSIGNED' });
    expect(yard.step(`${runId}/left`)).toMatchObject({ generation: 1, state: 'SUCCEEDED' });
    expect(yard.step(`${runId}/join`)).toMatchObject({ state: 'BLOCKED', blockedOn: 'NEEDS', openNeeds: 1 });
    finish('right', '2');
    expect(offersOf(yard.effects)[0]?.input).toEqual({
      from: 'STEPS',
      stepNames: ['left', 'right'],
      generations: new Map([['right', 2]]),
    });
  });

  it('of a cancelled step only ends it', () => {
    const { yard, worker, runId, finish } = start(PIPELINE);
    finish('fetch');
    worker.accept(`${runId}/clean`);
    yard.take({ kind: 'cancel_run', namespace: 'default', runId, mode: 'ANY', reason: '', stepName: '' });
    worker.reportInvalid(`${runId}/clean`);
    expect(yard.run(runId).state).toBe('CANCELLED');
  });

  it('of a first step opens it again, however often it comes', () => {
    const { yard, runId, report, finish } = start([{ name: 'fetch' }, { name: 'clean', needs: ['fetch'] }]);
    report('fetch', 12);
    expect(yard.step(`${runId}/fetch`)).toMatchObject({ generation: 1, blockedOn: 'BACKING_OFF' });
    expect(yard.run(runId)).toMatchObject({ state: 'RUNNING', stepBacks: 0 });
    outwait(yard, `${runId}/fetch`);
    finish('fetch');
    expect(yard.step(`${runId}/clean`).state).toBe('ASSIGNED');
  });

  it('survives a restart: the count, the pause and who reported', () => {
    const { yard, runId, finish, report } = start(PIPELINE);
    finish('fetch');
    report('clean', 2);
    const next = createYard({ rows: yard.store.liveRows(), nowMs: yard.nowMs, times: { reconnectGraceMs: 0 } });
    expect(next.step(`${runId}/clean`)).toMatchObject({ state: 'BLOCKED', blockedOn: 'BACKING_OFF' });
    expect(next.step(`${runId}/clean`).invalidInput?.reports).toBe(2);
    next.hello({ name: 'alpha', slots: 4 });
    next.hello({ name: 'beta', slots: 1 });
    next.submit();
    next.advance(2_000);
    expect(next.holder(`${runId}/clean`)).toBe('beta');
  });
});

describe('the report that was one too many', () => {
  it('has the step that made the input run again on its own original input, with fresh budgets', () => {
    const { yard, worker, runId, finish, report } = start([
      { name: 'fetch' },
      { name: 'clean', needs: ['fetch'], retry: { attemptsMax: 2, initialBackoffMs: 0 } as never },
      { name: 'train', needs: ['clean'] },
    ]);
    finish('fetch', '"raw"');
    worker.accept(`${runId}/clean`);
    worker.fail(`${runId}/clean`);
    finish('clean', '"first"');
    const succeeded = yard.step(`${runId}/clean`).assignment?.assignmentId;
    report('train', REPORTS);
    const clean = yard.step(`${runId}/clean`);
    expect(clean).toMatchObject({ state: 'ASSIGNED', generation: 2, failures: 0, endMs: null });
    expect(clean.assignment?.number).toBe(3);
    const [offer] = offersOf(yard.effects);
    expect(offer).toMatchObject({ stepName: 'clean', input: { from: 'STEP', stepName: 'fetch' } });
    expect(offer?.input).not.toHaveProperty('generations');
    expect(yard.step(`${runId}/train`)).toMatchObject({ state: 'BLOCKED', blockedOn: 'NEEDS' });
    expect(yard.step(`${runId}/train`).invalidInput?.reports).toBe(0);
    expect(yard.run(runId)).toMatchObject({ state: 'RUNNING', stepBacks: 1 });
    // The success that was superseded stays an attempt of the step.
    expect(yard.store.attempts.find(({ assignment_id }) => assignment_id === succeeded)).toMatchObject({
      outcome: 'SUCCEEDED',
      fact: 'succeeded',
      number: 2,
    });
    finish('clean', '"second"');
    expect(offersOf(yard.effects)[0]?.input).toEqual({
      from: 'STEP',
      stepName: 'clean',
      generations: new Map([['clean', 2]]),
    });
    expect(yard.store.stepOutputs).toEqual([{ run_id: runId, step_name: 'clean', generation: 2, output: '"second"' }]);
    expect(yard.store.steps.get(`${runId}\nclean`)?.output).toBe('"first"');
    finish('train');
    expect(yard.run(runId).state).toBe('SUCCEEDED');
  });

  it('counts as many as the step says, by any reporters', () => {
    const { yard, worker, runId, finish } = start([{ name: 'a' }, { name: 'b', needs: ['a'], maxInvalidReports: 2 }]);
    finish('a');
    worker.accept(`${runId}/b`);
    worker.reportInvalid(`${runId}/b`);
    const other = yard.hello({ name: 'beta' });
    yard.advance(1_000);
    other.accept(`${runId}/b`);
    other.reportInvalid(`${runId}/b`);
    expect(yard.step(`${runId}/a`).generation).toBe(2);
  });

  it('leaves the other dependents what they were given, whether they had started or not', () => {
    const { yard, runId, finish, report } = start([
      { name: 'source' },
      { name: 'gate' },
      { name: 'picky', needs: ['source'] },
      { name: 'content', needs: ['source'] },
      { name: 'late', needs: ['source', 'gate'] },
    ]);
    finish('source');
    report('picky', REPORTS);
    expect(yard.step(`${runId}/source`)).toMatchObject({ generation: 2, state: 'ASSIGNED' });
    expect(yard.step(`${runId}/content`).state).toBe('ASSIGNED');
    finish('gate');
    // It starts on the first output, though another one is on its way.
    const [offer] = offersOf(yard.effects);
    expect(offer).toMatchObject({ stepName: 'late' });
    expect(offer?.input).not.toHaveProperty('generations');
    finish('content');
    finish('late');
    finish('source');
    finish('picky');
    expect(yard.run(runId).state).toBe('SUCCEEDED');
    expect(yard.step(`${runId}/content`).generation).toBe(1);
  });

  it('shares what is made again already with another that reported', () => {
    const { yard, runId, finish, report } = start([
      { name: 'source' },
      { name: 'one', needs: ['source'] },
      { name: 'two', needs: ['source'] },
    ]);
    finish('source');
    report('one', REPORTS);
    report('two', REPORTS);
    expect(yard.step(`${runId}/source`)).toMatchObject({ generation: 2, state: 'ASSIGNED' });
    finish('source', '"again"');
    const inputs = offersOf(yard.effects).map(({ stepName, input }) => [stepName, 'generations' in input]);
    expect(inputs).toEqual([
      ['one', true],
      ['two', true],
    ]);
  });

  it('goes further back when the step before reports its input too', () => {
    const { yard, runId, finish, report } = start(PIPELINE);
    finish('fetch');
    finish('clean');
    report('train', REPORTS);
    report('clean', REPORTS);
    expect(yard.step(`${runId}/fetch`)).toMatchObject({ generation: 2, state: 'ASSIGNED' });
    expect(yard.step(`${runId}/clean`)).toMatchObject({ generation: 2, blockedOn: 'NEEDS' });
    finish('fetch', '"better"');
    expect(offersOf(yard.effects)[0]?.input).toMatchObject({ generations: new Map([['fetch', 2]]) });
    finish('clean');
    expect(offersOf(yard.effects)[0]).toMatchObject({
      stepName: 'train',
      input: { generations: new Map([['clean', 2]]) },
    });
    expect(yard.run(runId).stepBacks).toBe(2);
  });

  it('skips who waits for the new output when that fails, and nobody else', () => {
    const { yard, worker, runId, finish, report } = start([
      { name: 'source' },
      { name: 'gate' },
      { name: 'picky', needs: ['source'] },
      { name: 'late', needs: ['source', 'gate'] },
    ]);
    finish('source');
    report('picky', REPORTS);
    worker.accept(`${runId}/source`);
    worker.fail(`${runId}/source`);
    expect(yard.step(`${runId}/picky`).state).toBe('SKIPPED');
    expect(yard.step(`${runId}/late`).state).toBe('BLOCKED');
    finish('gate');
    finish('late');
    expect(yard.run(runId)).toMatchObject({ state: 'FAILED', failure: { reason: 'APPLICATION' } });
  });

  it('survives a restart in the middle', () => {
    const { yard, worker, runId, finish, report } = start(PIPELINE);
    finish('fetch', '"raw"');
    finish('clean', '"first"');
    report('train', REPORTS);
    worker.accept(`${runId}/clean`);
    const next = createYard({ rows: yard.store.liveRows(), nowMs: yard.nowMs });
    expect(next.step(`${runId}/clean`)).toMatchObject({ generation: 2, state: 'RUNNING' });
    expect(next.step(`${runId}/train`)).toMatchObject({ blockedOn: 'NEEDS', openNeeds: 1 });
    expect(next.run(runId).stepBacks).toBe(1);
    const held = [yard.assignmentId(`${runId}/clean`)];
    const again = next.hello({
      workerId: worker.workerId,
      slots: 4,
      resume: { sessionHash: worker.sessionHash, heldAssignmentIds: held },
    });
    again.succeed(`${runId}/clean`, '"second"');
    expect(offersOf(next.effects)[0]).toMatchObject({
      stepName: 'train',
      input: { generations: new Map([['clean', 2]]) },
    });
    expect(next.step(`${runId}/train`).openNeeds).toBe(0);
  });

  it('is remembered over a restart by who succeeded before it', () => {
    const { yard, worker, runId, finish, report } = start(PIPELINE);
    finish('fetch');
    finish('clean');
    const assignmentId = yard.step(`${runId}/clean`).assignment?.assignmentId;
    report('train', REPORTS - 1);
    const next = createYard({ rows: yard.store.liveRows(), nowMs: yard.nowMs });
    next.hello({ workerId: worker.workerId, slots: 4 });
    next.advance(PAUSE_AFTER_RESTART_MS);
    const client = [...next.engine.state.workers.values()][0];
    const connection = client?.connection ?? 0;
    const ofTrain = { connection, assignmentId: next.assignmentId(`${runId}/train`) };
    next.take({ kind: 'accept_step', ...ofTrain });
    next.take({ kind: 'report_input_invalid', ...ofTrain, stepName: '', reason: '' });
    expect(next.step(`${runId}/clean`)).toMatchObject({ generation: 2, state: 'ASSIGNED' });
    expect(next.store.attempts.at(0)).toMatchObject({ outcome: 'INPUT_INVALID' });
    expect(next.store.attempts.at(1)).toMatchObject({
      assignment_id: assignmentId,
      outcome: 'SUCCEEDED',
      worker_name: 'alpha',
      number: 1,
    });
  });

  it('fails the run after ten steps back, and stops what of it still runs', () => {
    const { yard, worker, runId, finish, report } = start([
      { name: 'a' },
      { name: 'b', needs: ['a'] },
      { name: 'c', needs: ['b'] },
      { name: 'aside' },
      { name: 'after', needs: ['aside'] },
    ]);
    worker.accept(`${runId}/aside`);
    finish('a');
    for (let back = 1; back <= 10; back++) {
      report('b', REPORTS);
      expect(yard.step(`${runId}/a`).generation).toBe(back + 1);
      finish('a', String(back));
    }
    report('b', REPORTS);
    expect(yard.step(`${runId}/b`)).toMatchObject({ state: 'FAILED', failure: { reason: 'INVALID_DATA' } });
    expect(yard.step(`${runId}/b`).failure?.message).toMatch(/"a".*10 steps back.*not an archive/);
    expect(yard.step(`${runId}/c`).state).toBe('SKIPPED');
    expect(yard.step(`${runId}/after`).state).toBe('SKIPPED');
    expect(yard.run(runId).state).toBe('RUNNING');
    const [cancel] = yard.effects.filter(({ kind }) => kind === 'cancel_step');
    expect(cancel).toMatchObject({ assignmentId: yard.assignmentId(`${runId}/aside`) });
    yard.take({
      kind: 'confirm_cancel',
      connection: worker.connection,
      assignmentId: yard.assignmentId(`${runId}/aside`),
    });
    expect(yard.run(runId)).toMatchObject({ state: 'FAILED', failure: { reason: 'INVALID_DATA' } });
    // A retry begins anew.
    yard.take({
      kind: 'retry_run',
      namespace: 'default',
      runId,
      keepPin: false,
      stored: null,
      storedDependencies: new Map(),
    } as never);
    expect(yard.run(runId).stepBacks).toBe(0);
    expect(yard.step(`${runId}/b`)).toMatchObject({ state: 'ASSIGNED' });
    expect(yard.step(`${runId}/b`).invalidInput?.reports).toBe(0);
    finish('b');
    finish('c');
    finish('aside');
    finish('after');
    expect(yard.run(runId).state).toBe('SUCCEEDED');
  });

  it('counts every completion on the leaderboard, later generations too, and takes none back', () => {
    const { yard, runId, finish, report } = start(PIPELINE);
    finish('fetch');
    finish('clean');
    report('train', REPORTS);
    finish('clean');
    finish('train');
    expect(yard.run(runId).state).toBe('SUCCEEDED');
    expect(yard.store.liveRows().leaderboard).toMatchObject([{ namespace: 'default', completed_count: 4 }]);
    expect(yard.store.liveRows().stepTotals).toMatchObject([
      { workflow: 'flow', action: 'build', succeeded: 3, failed: 0 },
    ]);
  });
});
