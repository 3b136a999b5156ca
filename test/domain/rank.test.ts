import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import type { DesiredLabel } from '../../src/domain/labels.ts';
import { compareRanks, type Rank, type RankedWorker, rankOf } from '../../src/domain/rank.ts';
import type { Pin } from '../../src/domain/sticky.ts';

interface Options {
  labels?: string[];
  tags?: string[];
  used?: number;
  slots?: number;
  last?: number;
  number?: number;
}

function worker({ labels = [], tags = [], used = 0, slots = 4, last = 0, number = 1 }: Options = {}): RankedWorker {
  return {
    workerId: `worker-${number}`,
    name: `worker ${number}`,
    namespace: 'default',
    tags: new Set(tags),
    labels: new Map(labels.map((key) => [key, 1])),
    actions: new Set(['build']),
    slots,
    slotsUsed: used,
    devices: null,
    devicesInUse: { gpuIds: new Set(), cpus: 0 },
    draining: false,
    notReadyReason: null,
    lastAssignSequence: last,
    lastAssignMs: null,
    workerNumber: number,
  };
}

function optional(key: string, weight: number): DesiredLabel {
  return { key, comparator: 'EXISTS', value: null, values: [], required: false, weight };
}

/** Names of the workers, best first. */
function order(
  workers: Record<string, RankedWorker>,
  desired: DesiredLabel[],
  runsOn: string[] = [],
  pin: Pin | null = null,
): string[] {
  const demand = { namespace: 'default', action: 'build', runsOn, desired, pin, device: null };
  const ranked = Object.entries(workers).map(([name, one]) => ({ name, rank: rankOf(one, demand) }));
  return ranked.sort((a, b) => compareRanks(a.rank, b.rank)).map(({ name }) => name);
}

describe('rank', () => {
  const desired = [
    optional('big', 90),
    optional('a', 60),
    optional('b', 60),
    optional('bad', -50),
    optional('worse', -80),
  ];

  it('prefers the highest single weight to a higher sum', () => {
    expect(
      order({ sum: worker({ labels: ['a', 'b'] }), single: worker({ labels: ['big'], number: 2 }) }, desired),
    ).toEqual(['single', 'sum']);
  });

  it('prefers the worker of a SOFT pin to any weight', () => {
    const workers = { weighty: worker({ labels: ['big'] }), pinned: worker({ used: 3, last: 9, number: 2 }) };
    const pin = { workerId: 'worker-2', workerName: 'worker 2', hard: false };
    expect(order(workers, desired, [], pin)).toEqual(['pinned', 'weighty']);
    expect(order(workers, desired, [], { ...pin, workerId: 'worker-3' })).toEqual(['weighty', 'pinned']);
  });

  it('breaks a tie of the highest by the sum', () => {
    expect(
      order({ one: worker({ labels: ['big'] }), two: worker({ labels: ['big', 'a'], number: 2 }) }, desired),
    ).toEqual(['two', 'one']);
  });

  it('lets negative weights push down only', () => {
    const workers = {
      worse: worker({ labels: ['worse'], number: 1 }),
      bad: worker({ labels: ['bad'], number: 2 }),
      none: worker({ number: 3 }),
      mixed: worker({ labels: ['a', 'worse'], number: 4 }),
      good: worker({ labels: ['a'], number: 5 }),
    };
    expect(order(workers, desired)).toEqual(['good', 'mixed', 'none', 'bad', 'worse']);
  });

  it('compares the highest single weight also where all are negative', () => {
    const weights = [optional('slight', -10), optional('heavy', -60), optional('middling', -20)];
    const workers = { one: worker({ labels: ['middling'] }), two: worker({ labels: ['slight', 'heavy'], number: 2 }) };
    expect(order(workers, weights)).toEqual(['two', 'one']);
  });

  it('ignores the weights of required labels', () => {
    const required = { ...optional('big', 1000), required: true };
    expect(order({ has: worker({ labels: ['big'], number: 2 }), hasNot: worker() }, [required])).toEqual([
      'hasNot',
      'has',
    ]);
  });

  it('puts tags that cover before the worker without tags', () => {
    const workers = { wildcard: worker(), tagged: worker({ tags: ['gpu', 'a100'], used: 3, last: 9, number: 2 }) };
    expect(order(workers, [], ['gpu'])).toEqual(['tagged', 'wildcard']);
    expect(order(workers, [])).toEqual(['wildcard', 'tagged']);
  });

  it('then takes the lowest share of slots in use, not the lowest number', () => {
    const workers = { three: worker({ used: 3, slots: 12 }), one: worker({ used: 1, slots: 2, number: 2 }) };
    expect(order(workers, [])).toEqual(['three', 'one']);
  });

  it('then the one whose last assignment is longest ago; never is longest', () => {
    const workers = {
      late: worker({ last: 7 }),
      early: worker({ last: 3, number: 2 }),
      never: worker({ last: 0, number: 3 }),
    };
    expect(order(workers, [])).toEqual(['never', 'early', 'late']);
  });

  it('orders any ranks totally', () => {
    const rank: fc.Arbitrary<Rank> = fc.record({
      sticky: fc.boolean(),
      unbiased: fc.boolean(),
      deviceAskedFor: fc.boolean(),
      highestWeight: fc.integer({ min: -2, max: 2 }),
      weightSum: fc.integer({ min: -2, max: 2 }),
      tagsCover: fc.boolean(),
      slotsShareUsed: fc.constantFrom(0, 0.5, 1),
      lastAssignSequence: fc.integer({ min: 0, max: 2 }),
      lastAssignMs: fc.constant(null),
      workerNumber: fc.integer({ min: 1, max: 3 }),
    });
    const sign = (a: Rank, b: Rank) => Math.sign(compareRanks(a, b));
    fc.assert(
      fc.property(rank, rank, rank, (a, b, c) => {
        expect(sign(a, b) + sign(b, a)).toBe(0);
        if (sign(a, b) <= 0 && sign(b, c) <= 0) expect(sign(a, c)).toBeLessThanOrEqual(0);
      }),
    );
  });
});
