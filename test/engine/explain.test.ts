/** Why a step waits: each verdict, what is recorded, and that it agrees with who gets what. */
import fc from 'fast-check';
import { beforeEach, describe, expect, it } from 'vitest';
import {
  compareSeen,
  createSurvey,
  type Explanation,
  type SeenReport,
  survey,
  waitingExplanation,
} from '../../src/domain/explain.ts';
import { failedClauses } from '../../src/domain/feasibility.ts';
import { compareRanks, rankOf } from '../../src/domain/rank.ts';
import { waitingVerdict } from '../../src/domain/verdict.ts';
import type { ExplainedStep } from '../../src/engine/commands.ts';
import { explainWaiting } from '../../src/engine/explain.ts';
import { demandOf } from '../../src/engine/pins.ts';
import type { StepRecord } from '../../src/engine/state.ts';
import { createTurn } from '../../src/engine/turn.ts';
import { countingIds, createYard, desire, type RunOptions, type Yard } from '../support/engine.ts';

let yard: Yard;
beforeEach(() => {
  yard = createYard();
});

type Waiting = Extract<ExplainedStep, { readonly demand: unknown }>;

function stepOf(address: string): Waiting {
  const [runId = '', stepName = yard.step(runId).definition.name] = address.split('/');
  const step = yard.take({ kind: 'explain_step', runId, stepName });
  if (step === null || !('demand' in step)) throw new Error(`${address} does not wait`);
  return step;
}

/** As the server puts it together: slice by slice, of so many workers. */
function explain(address: string, limit = 2): Explanation {
  const [runId = '', stepName = yard.step(runId).definition.name] = address.split('/');
  const { standing, demand } = stepOf(address);
  const found = createSurvey<SeenReport>();
  const seen: SeenReport[] = [];
  for (let after: number | null = 0; after !== null; ) {
    const { reports, next }: { reports: readonly SeenReport[]; next: number | null } = yard.take({
      kind: 'explain_slice',
      runId,
      stepName,
      demand,
      after,
      limit,
    });
    expect(reports.length).toBeLessThanOrEqual(limit);
    for (const report of reports) survey(found, report);
    seen.push(...reports);
    after = next;
  }
  return waitingExplanation(standing, demand, found, found.best, seen.sort(compareSeen));
}

const memoryAbove = (value: number) => desire('memory', value, { comparator: 'GREATER_THAN' });

describe('the verdict', () => {
  it('is NO_SUCH_ACTION, UNSATISFIABLE_NOW, DRAINING, NOT_READY, BUSY, whichever says most', () => {
    const run = yard.submit({ desired: [memoryAbove(256)] });
    expect(explain(run)).toMatchObject({ verdict: 'NO_SUCH_ACTION', workersTotal: 0 });
    const alpha = yard.hello({ name: 'alpha', labels: { memory: 128 } });
    expect(explain(run)).toMatchObject({
      verdict: 'UNSATISFIABLE_NOW',
      summary: 'no worker for "build" has memory > 256: the nearest, "alpha", has 128',
      counts: [{ clause: 'LABEL', workersFailing: 1 }],
      workers: [
        {
          workerId: alpha.workerId,
          workerName: 'alpha',
          failed: [{ clause: 'LABEL', key: 'memory', has: '128', needs: '> 256' }],
          rank: null,
        },
      ],
      workersTotal: 1,
    });
    yard.take({ kind: 'drain_worker', namespace: 'default', workerId: alpha.workerId, reason: '' });
    alpha.upsert({ memory: 512 });
    expect(explain(run).verdict).toBe('DRAINING');
    alpha.goodbye();
    yard.take({ kind: 'resume_worker', namespace: 'default', workerId: alpha.workerId });
    expect(explain(run).verdict).toBe('NOT_READY');
    const other = yard.submit({ desired: [memoryAbove(256)], priority: 4 });
    yard.hello({ name: 'alpha', slots: 1 });
    expect(yard.holder(other)).toBe('alpha');
    expect(explain(run).verdict).toBe('BUSY');
  });

  it('is BLOCKED_BY with the steps and runs it waits for', () => {
    yard.workflow('flow', [{ name: 'a' }, { name: 'b' }, { name: 'c', needs: ['a', 'b'] }]);
    const run = yard.submit({ workflow: 'flow' });
    const after = yard.submit({ dependsOn: [run] });
    expect(explain(`${run}/c`)).toMatchObject({
      verdict: 'BLOCKED_BY',
      summary: 'waits for steps "a", "b" to succeed',
      scheduleDeadlineMs: null,
      aheadInNamespace: 0,
    });
    expect(explain(after)).toMatchObject({ verdict: 'BLOCKED_BY', summary: `waits for run "${run}" to succeed` });
    const alpha = yard.hello({ name: 'alpha' });
    alpha.accept(`${run}/a`);
    alpha.succeed(`${run}/a`);
    expect(explain(`${run}/c`).summary).toBe('waits for step "b" to succeed');
  });

  it('is BLOCKED_BY, and shows all the same that no worker will have what it asks for', () => {
    yard.workflow('flow', [{ name: 'a' }, { name: 'b', needs: ['a'], desired: [memoryAbove(256)] }]);
    const run = yard.submit({ workflow: 'flow' });
    yard.hello({ name: 'alpha', labels: { memory: 128 }, slots: 2 });
    expect(explain(`${run}/b`)).toMatchObject({
      verdict: 'BLOCKED_BY',
      workers: [{ failed: [{ clause: 'LABEL', has: '128', needs: '> 256' }] }],
    });
  });

  it('is HELD with the key and who is in the way', () => {
    const alpha = yard.hello({ name: 'alpha', slots: 4 });
    const concurrency = { key: 'gpu', limit: 1 };
    const [first, second, third] = [1, 2, 3].map(() => yard.submit({ concurrency })) as [string, string, string];
    alpha.accept(first);
    expect(explain(second)).toMatchObject({
      verdict: 'HELD',
      summary: 'held by concurrency key "gpu": 1 of 1 runs are live, and it is the first to go',
      scheduleDeadlineMs: null,
    });
    expect(explain(third).summary).toContain('1 held steps go before it');
  });

  it('is BACKING_OFF until it tries again', () => {
    const alpha = yard.hello({ name: 'alpha' });
    const run = yard.submit({ retry: { attemptsMax: 3, initialBackoffMs: 4_000 } });
    alpha.accept(run);
    alpha.fail(run);
    yard.advance(1_500);
    expect(explain(run)).toMatchObject({
      verdict: 'BACKING_OFF',
      summary: 'failed 1 of at most 3 times; the next attempt is in 2.5 s',
      asOfMs: yard.nowMs,
    });
  });

  it('is STICKY_WORKER_AWAY while the pinned worker is not connected, whatever the others could do', () => {
    const alpha = yard.hello({ name: 'alpha' });
    yard.hello({ name: 'beta' });
    const run = yard.submit({ sticky: 'HARD', pinToWorkerId: alpha.workerId });
    expect(yard.holder(run)).toBe('alpha');
    alpha.goodbye();
    expect(explain(run)).toMatchObject({
      verdict: 'STICKY_WORKER_AWAY',
      summary: 'the run is pinned (HARD) to "alpha", which is not connected',
    });
    const again = yard.hello({ name: 'alpha', slots: 1 });
    expect(yard.holder(run)).toBe('alpha');
    const next = yard.submit({ sticky: 'HARD', pinToWorkerId: again.workerId });
    expect(explain(next)).toMatchObject({
      verdict: 'BUSY',
      summary: 'the run is pinned (HARD) to "alpha", which has no free slot (1 of 1 in use)',
      counts: [
        { clause: 'STICKY', workersFailing: 1 },
        { clause: 'SLOT', workersFailing: 1 },
      ],
    });
  });

  it('is BUSY of a step that was returned, until the pause is over', () => {
    const alpha = yard.hello({ name: 'alpha' });
    const run = yard.submit();
    alpha.giveBack(run);
    expect(explain(run)).toMatchObject({ verdict: 'BUSY', workers: [{ failed: [{ clause: 'RETURNED_BEFORE' }] }] });
    // Another step that asks for the same was never returned: it is not kept from anybody.
    const other = yard.submit();
    expect(yard.holder(other)).toBe('alpha');
  });

  it('is ASSIGNED with the rank that decided, and says when it was not accepted yet', () => {
    const alpha = yard.hello({ name: 'alpha', labels: { memory: 512 } });
    yard.hello({ name: 'beta' });
    const run = yard.submit({ desired: [desire('memory', 512, { required: false, weight: 70 })] });
    const assigned = () => {
      const step = yard.take({ kind: 'explain_step', runId: run, stepName: 'step' });
      if (step === null || !('placed' in step)) throw new Error('nobody has it');
      return step;
    };
    expect(assigned()).toMatchObject({ state: 'ASSIGNED', isRecorded: true });
    const summary = 'given to "alpha", before "beta" and 1 in all: its highest weight is 70, not 0';
    expect(assigned().placed).toMatchObject({
      verdict: 'ASSIGNED',
      summary: `${summary}; it has not accepted yet`,
      scheduleDeadlineMs: yard.nowMs + yard.times.scheduleTimeoutMs,
      workers: [
        { workerName: 'alpha', failed: [], rank: { highestWeight: 70, weightSum: 70, lastAssignMs: null } },
        { workerName: 'beta', failed: [], rank: { highestWeight: 0 } },
      ],
      workersTotal: 2,
    });
    alpha.accept(run);
    expect(assigned().placed).toMatchObject({ summary, scheduleDeadlineMs: null });
  });

  it('of an ended step is for the store to tell', () => {
    const alpha = yard.hello({ name: 'alpha' });
    const run = yard.submit();
    alpha.accept(run);
    alpha.succeed(run);
    expect(yard.take({ kind: 'explain_run', namespace: 'default', runId: run })).toEqual([
      { name: 'step', ended: true },
    ]);
    expect(yard.take({ kind: 'explain_step', runId: run, stepName: 'step' })).toBeNull();
    expect(yard.refuse({ kind: 'explain_run', namespace: 'default', runId: 'none' }).refused).toBe('RUN_NOT_FOUND');
    yard.take({ kind: 'put_namespace', name: 'other', matchMode: null, retentionMs: null, scheduleTimeoutMs: null });
    expect(yard.refuse({ kind: 'explain_run', namespace: 'other', runId: run }).refused).toBe('RUN_NOT_FOUND');
  });
});

describe('the place in the queue', () => {
  it('counts what goes first, in the demand and in the namespace', () => {
    yard.take({ kind: 'put_namespace', name: 'other', matchMode: null, retentionMs: null, scheduleTimeoutMs: null });
    yard.submit({ namespace: 'other' });
    yard.submit();
    yard.submit({ action: 'paint' });
    const run = yard.submit({ scheduleTimeoutMs: 5_000 });
    yard.submit();
    const urgent = yard.submit({ action: 'paint', priority: 4 });
    expect(explain(run)).toMatchObject({
      aheadInDemand: 1,
      aheadInNamespace: 3,
      scheduleDeadlineMs: yard.nowMs + 5_000,
    });
    expect(explain(urgent)).toMatchObject({ aheadInDemand: 0, aheadInNamespace: 0 });
  });
});

describe('what is recorded with a timeout', () => {
  const recorded = (runId: string) => yard.step(runId).failure?.explanation;

  it('is why nobody took it, as of that moment', () => {
    yard.hello({ name: 'alpha', labels: { memory: 128 } });
    const run = yard.submit({ desired: [memoryAbove(256)], scheduleTimeoutMs: 1_000 });
    const later = yard.submit({ desired: [memoryAbove(256)], scheduleTimeoutMs: 1_000 });
    yard.advance(1_000);
    expect(recorded(run)).toMatchObject({
      verdict: 'UNSATISFIABLE_NOW',
      summary: 'no worker for "build" has memory > 256: the nearest, "alpha", has 128',
      workers: [{ workerName: 'alpha', failed: [{ clause: 'LABEL', key: 'memory', has: '128', needs: '> 256' }] }],
      scheduleDeadlineMs: yard.nowMs,
      asOfMs: yard.nowMs,
    });
    // Of the same demand and in the same turn: found once.
    expect(recorded(later)?.workers).toBe(recorded(run)?.workers);
  });

  it('is of the step alone when it was returned', () => {
    const alpha = yard.hello({ name: 'alpha' });
    const run = yard.submit({ scheduleTimeoutMs: 500 });
    alpha.giveBack(run);
    yard.advance(500);
    expect(recorded(run)).toMatchObject({ verdict: 'BUSY', counts: [{ clause: 'RETURNED_BEFORE' }] });
  });

  it('names who had it and did not accept', () => {
    yard.hello({ name: 'alpha' });
    const run = yard.submit({ scheduleTimeoutMs: 500 });
    yard.advance(500);
    expect(recorded(run)).toMatchObject({ verdict: 'ASSIGNED', workers: [{ workerName: 'alpha' }] });
    expect(recorded(run)?.summary).toContain('not accepted');
  });

  it('holds the ten nearest of ten thousand workers', () => {
    for (let count = 0; count < 10_000; count++) {
      const labels = count % 1_000 === 999 ? { memory: 512 } : { memory: 1 };
      yard.hello({ name: `worker-${count}`, labels, slots: 0 });
    }
    const run = yard.submit({ desired: [memoryAbove(256)], scheduleTimeoutMs: 1_000 });
    yard.advance(1_000);
    const { workers = [], counts, workersTotal } = recorded(run) ?? {};
    expect(workers.map(({ workerName }) => workerName)).toEqual(
      Array.from({ length: 10 }, (_, index) => `worker-${index * 1_000 + 999}`),
    );
    expect(counts).toEqual([
      { clause: 'SLOT', workersFailing: 10_000 },
      { clause: 'LABEL', workersFailing: 9_990 },
    ]);
    expect(workersTotal).toBe(10_000);
  });
});

/** Small choices, so that fits, near misses and ties are all frequent. */
const ACTIONS = ['build', 'paint'];
const TAGS = ['cpu', 'gpu'];
const workerArbitrary = fc.record({
  actions: fc.subarray(ACTIONS),
  tags: fc.subarray(TAGS),
  labels: fc.dictionary(fc.constantFrom('memory', 'zone'), fc.integer({ min: 1, max: 3 })),
  slots: fc.integer({ min: 0, max: 2 }),
  condition: fc.constantFrom('ready', 'ready', 'ready', 'draining', 'away', 'pressed', 'elsewhere'),
});
const runArbitrary = fc.record({
  action: fc.constantFrom(...ACTIONS),
  runsOn: fc.subarray(TAGS),
  wishes: fc.array(
    fc.record({
      key: fc.constantFrom('memory', 'zone'),
      value: fc.integer({ min: 1, max: 3 }),
      comparator: fc.constantFrom('EQUAL' as const, 'GREATER_THAN' as const, 'NOT_EQUAL' as const),
      required: fc.boolean(),
      weight: fc.constantFrom(-10, 50, 100),
    }),
    { maxLength: 2 },
  ),
  sticky: fc.constantFrom('NONE' as const, 'SOFT' as const, 'HARD' as const),
  pinnedTo: fc.option(fc.nat({ max: 3 }), { nil: null }),
  returned: fc.boolean(),
});
const fleetArbitrary = fc.record({
  strict: fc.boolean(),
  workers: fc.array(workerArbitrary, { maxLength: 5 }),
  runs: fc.array(runArbitrary, { minLength: 1, maxLength: 6 }),
});

type Fleet = typeof fleetArbitrary extends fc.Arbitrary<infer F> ? F : never;

function build({ strict, workers }: Fleet) {
  yard = createYard();
  const matchMode = strict ? 'STRICT' : 'LEGACY';
  yard.take({ kind: 'put_namespace', name: 'default', matchMode, retentionMs: null, scheduleTimeoutMs: null });
  yard.take({ kind: 'put_namespace', name: 'other', matchMode: null, retentionMs: null, scheduleTimeoutMs: null });
  return workers.map(({ condition, ...hello }, index) => {
    const namespace = condition === 'elsewhere' ? 'other' : 'default';
    const client = yard.hello({ ...hello, namespace, name: `worker-${index}` });
    if (condition === 'draining') yard.take({ kind: 'drain_worker', namespace, workerId: client.workerId, reason: '' });
    if (condition === 'away') client.goodbye();
    if (condition === 'pressed') yard.take({ kind: 'set_back_pressure', connection: client.connection, on: true });
    return client;
  });
}

function optionsOf(run: Fleet['runs'][number], workerIds: readonly string[]): RunOptions {
  const pinned = run.sticky === 'NONE' || run.pinnedTo === null ? undefined : workerIds[run.pinnedTo];
  return {
    action: run.action,
    runsOn: run.runsOn,
    desired: run.wishes.map(({ key, value, ...wish }) => desire(key, value, wish)),
    sticky: run.sticky,
    ...(pinned === undefined ? {} : { pinToWorkerId: pinned }),
  };
}

/** Who may take a step that asks for this, best first: from the clauses, before the engine decides. */
function fittingFor(options: RunOptions): string[] {
  const probe = createYard();
  // The same demand, made by the engine's own rule from the same run.
  const { state } = yard.engine;
  const draft = probe.step(probe.submit({ ...options, pinToWorkerId: '' }));
  const { namespace, runsOn, desired } = draft.run;
  const pinned = { sticky: options.sticky ?? 'NONE', pinnedWorkerId: options.pinToWorkerId ?? null } as const;
  const run = { namespace, runsOn, desired, ...pinned };
  const { spec } = demandOf(state, run, draft.definition);
  const mode = state.namespaces.get('default')?.matchMode ?? 'LEGACY';
  return [...state.workers.values()]
    .filter((worker) => worker.namespace === 'default' && failedClauses(worker, spec, mode, false).length === 0)
    .sort((a, b) => compareRanks(rankOf(a, spec), rankOf(b, spec)))
    .map(({ name }) => name);
}

function waitingSteps(): StepRecord[] {
  return [...yard.engine.state.runs.values()].flatMap(({ steps }) => steps).filter(({ queued }) => queued);
}

/** No waiting step has a worker without a failed clause, and the verdict follows from the clauses. */
function checkWaiting(step: StepRecord): string {
  const { state } = yard.engine;
  const explanation = explain(step.run.runId);
  const { spec, namespace } = step.demand;
  expect(explanation.workers.filter(({ failed }) => failed.length === 0)).toEqual([]);
  for (const { clause, workersFailing } of explanation.counts) {
    const failing = explanation.workers.filter(({ failed }) => failed.some((one) => one.clause === clause));
    expect(failing).toHaveLength(workersFailing);
  }
  const pinned = spec.pin?.hard ? state.workers.get(spec.pin.workerId) : null;
  const expected =
    pinned === null || (pinned !== undefined && pinned.connection !== null)
      ? waitingVerdict(spec, namespace.matchMode, state.workers.values())
      : 'STICKY_WORKER_AWAY';
  expect(explanation.verdict).toBe(expected);
  // What would be recorded now is the same, found in one go.
  const recorded = explainWaiting(state, createTurn(yard.nowMs, countingIds()), step);
  expect(recorded).toEqual({ ...explanation, workers: explanation.workers.map(reportOnly) });
  return explanation.verdict;
}

function reportOnly({ workerId, workerName, failed, rank }: Explanation['workers'][number]) {
  return { workerId, workerName, failed, rank };
}

describe('Y4: the explanation agrees with placement', () => {
  it('on a thousand random fleets', () => {
    const seen = new Map<string, number>();
    fc.assert(
      fc.property(fleetArbitrary, (fleet) => {
        const clients = build(fleet);
        const workerIds = clients
          .filter(({ opened }) => opened.worker.namespace === 'default')
          .map(({ workerId }) => workerId);
        for (const run of fleet.runs) {
          const options = optionsOf(run, workerIds);
          const fitting = fittingFor(options);
          const runId = yard.submit(options);
          expect(yard.holder(runId)).toBe(fitting[0] ?? null);
          const why = yard.step(runId).assignment?.why;
          if (fitting.length > 0) {
            expect(why?.workers.map(({ workerName }) => workerName)).toEqual(fitting.slice(0, 4));
            expect(why?.workersTotal).toBe(fitting.length);
          }
          const holder = clients.find(({ name }) => name === yard.holder(runId));
          if (run.returned && holder !== undefined) holder.giveBack(runId);
        }
        for (const step of waitingSteps()) {
          const verdict = checkWaiting(step);
          seen.set(verdict, (seen.get(verdict) ?? 0) + 1);
        }
      }),
      { numRuns: 1_000 },
    );
    // A test of verdicts that never come would say little.
    for (const verdict of [
      'STICKY_WORKER_AWAY',
      'NO_SUCH_ACTION',
      'UNSATISFIABLE_NOW',
      'DRAINING',
      'NOT_READY',
      'BUSY',
    ])
      expect([verdict, (seen.get(verdict) ?? 0) > 10]).toEqual([verdict, true]);
  });
});
