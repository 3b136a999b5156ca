import { describe, expect, it, test } from 'vitest';
import type { Demand } from '../../src/domain/demand.ts';
import {
  boundedExplanation,
  compareSeen,
  createSurvey,
  distanceOf,
  type Explanation,
  keepNearest,
  placedExplanation,
  RECORDED_BYTES_MAX,
  RECORDED_MISSES_MAX,
  RECORDED_RANKED_MAX,
  type SeenReport,
  type Standing,
  survey,
  waitingExplanation,
} from '../../src/domain/explain.ts';
import { failedClauses } from '../../src/domain/feasibility.ts';
import { type Rank, type RankedWorker, rankOf } from '../../src/domain/rank.ts';
import { utf8Bytes } from '../../src/domain/text.ts';
import { waitingVerdict } from '../../src/domain/verdict.ts';
import { desire } from '../support/engine.ts';

const NOW_MS = 1_000;
const STANDING: Standing = {
  verdict: null,
  summary: '',
  aheadInDemand: 0,
  aheadInNamespace: 0,
  scheduleDeadlineMs: null,
  asOfMs: NOW_MS,
};

const demand: Demand = { namespace: 'default', action: 'train', runsOn: [], desired: [], pin: null, device: null };
const bigMemory = desire('memory', 256, { comparator: 'GREATER_THAN' });

let lastNumber = 0;
function worker(name: string, facts: Partial<RankedWorker> = {}): RankedWorker {
  lastNumber += 1;
  return {
    workerId: `id-${name}`,
    name,
    namespace: 'default',
    tags: new Set(['cpu']),
    labels: new Map([['memory', 128]]),
    actions: new Set(['train']),
    slots: 2,
    slotsUsed: 0,
    devices: null,
    devicesInUse: { gpuIds: new Set(), cpus: 0 },
    draining: false,
    notReadyReason: null,
    lastAssignSequence: 0,
    lastAssignMs: null,
    workerNumber: lastNumber,
    ...facts,
  };
}

function seen(one: RankedWorker, asked: Demand, returnedBefore = false): SeenReport {
  const failed = failedClauses(one, asked, 'LEGACY', returnedBefore);
  const rank = failed.length === 0 ? rankOf(one, asked) : null;
  const { workerId, name: workerName, workerNumber } = one;
  return { workerId, workerName, failed, rank, distance: distanceOf(failed), workerNumber };
}

function explain(workers: readonly RankedWorker[], asks: Partial<Demand> = {}, returned: string[] = []): Explanation {
  const asked = { ...demand, ...asks };
  const found = createSurvey<SeenReport>();
  const reports = workers.map((one) => seen(one, asked, returned.includes(one.name)));
  for (const report of reports) survey(found, report);
  return waitingExplanation(STANDING, asked, found, found.best, reports.sort(compareSeen));
}

const full = { slotsUsed: 2 };

describe('the summary says what to change', () => {
  test.each<[string, string, RankedWorker[], Partial<Demand>]>([
    ['NO_SUCH_ACTION', 'no worker is registered in namespace "default"', [], {}],
    [
      'NO_SUCH_ACTION',
      'no registered worker lists action "train"',
      [worker('alpha', { actions: new Set(['paint']) })],
      {},
    ],
    [
      'UNSATISFIABLE_NOW',
      'no worker for "train" has memory > 256: the nearest, "alpha", has 128',
      [worker('draining', { draining: true }), worker('alpha')],
      { desired: [bigMemory] },
    ],
    [
      'UNSATISFIABLE_NOW',
      'no worker for "train" has a label gpu: the nearest, "alpha", has no such label',
      [worker('alpha')],
      { desired: [desire('gpu', null, { comparator: 'EXISTS' })] },
    ],
    [
      'UNSATISFIABLE_NOW',
      'no worker for "train" has the tags a100, gpu: the nearest, "alpha", has cpu',
      [worker('alpha')],
      { runsOn: ['a100', 'gpu'] },
    ],
    [
      'UNSATISFIABLE_NOW',
      'no worker for "train" meets all conditions: the nearest, "alpha", has memory 128 (needs > 256)',
      [worker('alpha', { tags: new Set(['gpu']) }), worker('beta', { labels: new Map() })],
      { desired: [bigMemory], runsOn: ['gpu'] },
    ],
    [
      'DRAINING',
      'every worker that matches is draining: "alpha" is draining, and 1 more',
      [worker('alpha', { draining: true }), worker('beta', { draining: true, ...full })],
      {},
    ],
    [
      'NOT_READY',
      'no worker that matches is ready: "alpha" is DISCONNECTED',
      [worker('beta', { draining: true }), worker('alpha', { notReadyReason: 'DISCONNECTED' })],
      {},
    ],
    [
      'BUSY',
      'every worker that matches and is ready is busy: "alpha" has no free slot (2 of 2 in use)',
      [worker('alpha', full), worker('beta', { notReadyReason: 'BACK_PRESSURE' })],
      {},
    ],
    [
      'UNSATISFIABLE_NOW',
      'the run is pinned (HARD) to "alpha", which has memory 128 (needs > 256)',
      [worker('idle', { labels: new Map([['memory', 512]]) }), worker('alpha')],
      { desired: [bigMemory], pin: { workerId: 'id-alpha', workerName: 'alpha', hard: true } },
    ],
    [
      'UNSATISFIABLE_NOW',
      'the run is pinned (HARD) to "alpha", which does not list action "train"',
      [worker('idle'), worker('alpha', { actions: new Set() })],
      { pin: { workerId: 'id-alpha', workerName: 'alpha', hard: true } },
    ],
  ])('%s: %s', (verdict, summary, workers, asks) => {
    expect(explain(workers, asks)).toMatchObject({ verdict, summary });
    expect(waitingVerdict({ ...demand, ...asks }, 'LEGACY', workers)).toBe(verdict);
  });

  it('of a step that every free worker gave back', () => {
    expect(explain([worker('alpha')], {}, ['alpha']).summary).toBe(
      'every worker that matches and is ready is busy: "alpha" returned or did not accept this step',
    );
  });

  it('and names only some of many conditions, shortened', () => {
    const desired = Array.from({ length: 9 }, (_, index) => desire(`key-${index}`, 'v'.repeat(250)));
    const { summary } = explain([worker('alpha')], { desired });
    expect(summary).toContain('and fails 6 more');
    expect(summary.length).toBeLessThan(500);
  });

  it('which a verdict of its own goes before', () => {
    const held: Standing = { ...STANDING, verdict: 'HELD', summary: 'held by a key', aheadInDemand: 3 };
    const found = createSurvey<SeenReport>();
    survey(found, seen(worker('alpha', full), demand));
    expect(waitingExplanation(held, demand, found, found.best, [])).toMatchObject({
      verdict: 'HELD',
      summary: 'held by a key',
      aheadInDemand: 3,
      counts: [{ clause: 'SLOT', workersFailing: 1 }],
      workersTotal: 1,
    });
  });
});

describe('the reports', () => {
  it('come nearest miss first: fewer clauses, then what passes by itself, STICKY, LABEL, RUNS_ON, ACTION', () => {
    const small = new Map([['memory', 128]]);
    const large = new Map([['memory', 512]]);
    const pinned = worker('pinned', { labels: large, draining: true, notReadyReason: 'BACK_PRESSURE' });
    const asks = {
      runsOn: ['cpu'],
      desired: [bigMemory],
      pin: { workerId: 'id-pinned', workerName: 'pinned', hard: true },
    };
    const workers = [
      worker('action', { actions: new Set(), labels: large }),
      worker('tags', { tags: new Set(['gpu']), labels: large }),
      worker('label', { labels: small }),
      worker('sticky', { labels: large }),
      worker('sticky-too', { labels: large }),
      pinned,
      worker('three', { labels: small, tags: new Set(['gpu']) }),
    ];
    expect(explain(workers, asks).workers.map(({ workerName }) => workerName)).toEqual([
      'sticky',
      'sticky-too',
      'pinned',
      'label',
      'tags',
      'action',
      'three',
    ]);
  });

  it('of workers that fit come first, by their rank', () => {
    const busy = worker('busy', { slotsUsed: 1 });
    const { workers } = explain([worker('full', full), busy, worker('idle')]);
    expect(workers.map(({ workerName, rank }) => [workerName, rank?.slotsShareUsed])).toEqual([
      ['idle', 0],
      ['busy', 0.5],
      ['full', undefined],
    ]);
  });

  it('are counted by clause, a worker once for each', () => {
    const desired = [bigMemory, desire('zone', 'a')];
    const { counts, workersTotal } = explain([worker('alpha'), worker('beta', full), worker('gamma')], { desired });
    expect(workersTotal).toBe(3);
    expect(counts).toEqual([
      { clause: 'LABEL', workersFailing: 3 },
      { clause: 'SLOT', workersFailing: 1 },
    ]);
  });

  it('kept while scanning are the nearest, in order', () => {
    const asked = { ...demand, desired: [bigMemory] };
    const all = Array.from({ length: 50 }, (_, index) =>
      seen(worker(`w${index}`, index % 7 === 0 ? full : { labels: new Map([['memory', 512]]), ...full }), asked),
    );
    const nearest: SeenReport[] = [];
    for (const one of all) keepNearest(nearest, one, 10);
    expect(nearest).toEqual([...all].sort(compareSeen).slice(0, 10));
  });
});

describe('why a worker got the step', () => {
  const one = (name: string, rank: Partial<Rank> = {}) => ({
    worker: { workerId: `id-${name}`, name },
    rank: { ...rankOf(worker(name), demand), workerNumber: 1, ...rank },
  });

  it('is that it was the only one', () => {
    expect(placedExplanation([one('alpha')], 1, NOW_MS)).toMatchObject({
      verdict: 'ASSIGNED',
      summary: 'given to "alpha", the only worker that could take it',
      workers: [{ workerId: 'id-alpha', workerName: 'alpha', failed: [], rank: { workerNumber: 1 } }],
      workersTotal: 1,
      asOfMs: NOW_MS,
    });
  });

  test.each<[string, Partial<Rank>, Partial<Rank>]>([
    ['the run is pinned to it', { sticky: true }, { highestWeight: 5 }],
    ['it has the device asked for', {}, { deviceAskedFor: false, highestWeight: 5 }],
    ['its highest weight is 100, not 60', { highestWeight: 100 }, { highestWeight: 60, weightSum: 120 }],
    ['its weights sum up to 30, not 0', { weightSum: 30 }, { slotsShareUsed: 0.5 }],
    ['its tags cover runs_on', {}, { tagsCover: false }],
    ['it has the smaller share of its slots in use', {}, { slotsShareUsed: 0.5 }],
    ['its last assignment is longer ago', { lastAssignSequence: 1 }, { lastAssignSequence: 2 }],
    ['it was registered earlier', {}, {}],
  ])('is the first criterion that decides: %s', (reason, winner, second) => {
    const ranked = [one('alpha', winner), one('beta', second), one('gamma')];
    expect(placedExplanation(ranked, 9, NOW_MS).summary).toBe(
      `given to "alpha", before "beta" and 8 in all: ${reason}`,
    );
  });
});

describe('what is recorded', () => {
  const desired = Array.from({ length: 60 }, (_, index) => desire(`key-${index}`, `${'ä'.repeat(120)}${index}`));
  const sizeOf = (explanation: Explanation) => utf8Bytes(JSON.stringify(explanation));

  it('stays as it is while it is small', () => {
    const explanation = explain([worker('alpha'), worker('beta')], { desired: [bigMemory] });
    expect(boundedExplanation(explanation)).toEqual(explanation);
  });

  it('holds so many misses, and of a placed step the winner and the runners-up', () => {
    const many = Array.from({ length: 40 }, (_, index) => worker(`w${index}`, full));
    expect(boundedExplanation(explain(many)).workers).toHaveLength(RECORDED_MISSES_MAX);
    const ranked = many.map((one) => ({ worker: one, rank: rankOf(one, demand) }));
    expect(boundedExplanation(placedExplanation(ranked, 40, NOW_MS)).workers).toHaveLength(RECORDED_RANKED_MAX);
  });

  it('shortens long values before it drops a worker', () => {
    const tags = new Set(Array.from({ length: 64 }, (_, index) => `${'t'.repeat(200)}${index}`));
    const many = Array.from({ length: 12 }, (_, index) => worker(`w${index}`, { tags }));
    const bounded = boundedExplanation(explain(many, { runsOn: ['gpu'] }));
    expect(bounded.workers).toHaveLength(RECORDED_MISSES_MAX);
    expect(bounded.workers[0]?.failed[0]?.has).toMatch(/^t+…$/);
    expect(sizeOf(bounded)).toBeLessThanOrEqual(RECORDED_BYTES_MAX);
  });

  it('is never larger than the limit, whatever is asked for', () => {
    const many = Array.from({ length: 12 }, (_, index) => worker(`w${index}`));
    const bounded = boundedExplanation(explain(many, { desired }));
    expect(sizeOf(bounded)).toBeLessThanOrEqual(RECORDED_BYTES_MAX);
    expect(bounded.workers.length).toBeLessThan(RECORDED_MISSES_MAX);
    expect(bounded).toMatchObject({
      verdict: 'UNSATISFIABLE_NOW',
      counts: [{ clause: 'LABEL', workersFailing: 12 }],
      workersTotal: 12,
    });
  });
});
