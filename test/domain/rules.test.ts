/** Small rules: retry, priority, text, feasibility. */
import fc from 'fast-check';
import { describe, expect, it, test } from 'vitest';
import type { Demand } from '../../src/domain/demand.ts';
import { failedClauses, isOpen, suits, type WorkerFacts } from '../../src/domain/feasibility.ts';
import { comparePlaces, PRIORITY_DEFAULT, type QueuePlace } from '../../src/domain/priority.ts';
import { REASONS } from '../../src/domain/reasons.ts';
import { isRefusal, refuse, refuseField, refuseLimit } from '../../src/domain/refusal.ts';
import { mayLoseMore, RETRY_DEFAULT, retryDelayMs } from '../../src/domain/retry.ts';
import { compareText, hasNul, utf8Bytes } from '../../src/domain/text.ts';
import { desire } from '../support/engine.ts';

describe('retry', () => {
  const policy = { ...RETRY_DEFAULT, attemptsMax: 5, initialBackoffMs: 100, backoffFactor: 3, backoffMsMax: 1_000 };

  it('multiplies up to the maximum, and stops with the attempts', () => {
    expect([1, 2, 3, 4, 5, 6].map((failures) => retryDelayMs(policy, failures, true))).toEqual([
      100,
      300,
      900,
      1_000,
      null,
      null,
    ]);
  });

  it('stops at once when the failure says so, and by default after the first', () => {
    expect(retryDelayMs(policy, 1, false)).toBeNull();
    expect(retryDelayMs(RETRY_DEFAULT, 1, true)).toBeNull();
  });

  it('is a number however many failures there were', () => {
    fc.assert(
      fc.property(
        fc.integer({ min: 1, max: 100_000 }),
        fc.constantFrom(0, 1, 100),
        fc.constantFrom(1, 2, 10),
        (failures, initial, factor) => {
          const delay = retryDelayMs(
            { ...policy, attemptsMax: 1_000_000, initialBackoffMs: initial, backoffFactor: factor },
            failures,
            true,
          );
          expect(delay).toBeGreaterThanOrEqual(0);
          expect(delay).toBeLessThanOrEqual(1_000);
          if (initial === 0) expect(delay).toBe(0);
        },
      ),
    );
  });

  test.each([
    [5, 5, true],
    [5, 6, false],
    [0, 1, false],
    [-1, 1_000_000, true],
  ])('with %i losses allowed, the loss number %i may be borne: %s', (workerLossesMax, losses, may) => {
    expect(mayLoseMore({ ...policy, workerLossesMax }, losses)).toBe(may);
  });
});

describe('order', () => {
  it('goes by priority, then by who was ready first', () => {
    const places: QueuePlace[] = [
      { priority: 1, readySequence: 1 },
      { priority: 2, readySequence: 4 },
      { priority: 4, readySequence: 5 },
      { priority: 2, readySequence: 2 },
      { priority: 3, readySequence: 3 },
    ];
    expect(places.sort(comparePlaces).map((place) => place.readySequence)).toEqual([5, 3, 2, 4, 1]);
    expect(PRIORITY_DEFAULT).toBe(2);
  });
});

describe('text', () => {
  it('counts bytes as an encoder does', () => {
    fc.assert(
      fc.property(fc.string({ unit: 'binary' }), (text) => {
        expect(utf8Bytes(text)).toBe(Buffer.byteLength(text, 'utf8'));
      }),
    );
    expect(['', 'a', 'é', '€', '😀', '\ud800', '\ud800x', '\udc00\ud800'].map(utf8Bytes)).toEqual([
      0, 1, 2, 3, 4, 3, 4, 6,
    ]);
  });

  it('orders by code units', () => {
    expect(['b', 'a', 'B', 'é', 'aa', ''].sort(compareText)).toEqual(['', 'B', 'a', 'aa', 'b', 'é']);
    expect(compareText('a', 'a')).toBe(0);
  });

  it('finds U+0000', () => {
    expect([hasNul('a\u0000'), hasNul('a0')]).toEqual([true, false]);
  });
});

describe('refusals', () => {
  it('are told from results', () => {
    expect(isRefusal(refuse('INTERNAL', 'no'))).toBe(true);
    expect([null, undefined, 'refused', {}, []].some(isRefusal)).toBe(false);
  });

  it('carry field, value and limit', () => {
    expect(refuseField('INVALID_FIELD', 'name', 'is bad')).toEqual({
      refused: 'INVALID_FIELD',
      message: 'name: is bad',
      metadata: { field: 'name' },
      fields: [{ field: 'name', description: 'is bad' }],
    });
    expect(refuseLimit('tags', 65, 64, 'tags').message).toBe('tags: has 65 tags, the limit is 64');
  });

  it('have reasons in UPPER_SNAKE', () => {
    expect(Object.keys(REASONS).filter((reason) => !/^[A-Z]+(_[A-Z]+)*$/.test(reason))).toEqual([]);
  });
});

describe('feasibility', () => {
  const worker: WorkerFacts = {
    workerId: 'worker-1',
    name: 'alpha',
    namespace: 'default',
    tags: new Set(['gpu']),
    labels: new Map<string, string | number>([
      ['memory', 128],
      ['zone', 'a'],
    ]),
    actions: new Set(['build']),
    slots: 2,
    slotsUsed: 0,
    devices: null,
    devicesInUse: { gpuIds: new Set(), cpus: 0 },
    draining: false,
    notReadyReason: null,
  };
  const demand: Demand = {
    namespace: 'default',
    action: 'build',
    runsOn: ['gpu'],
    desired: [desire('zone', 'a')],
    pin: null,
    device: null,
  };

  it('holds when every clause does', () => {
    expect(suits(worker, demand, 'LEGACY')).toBe(true);
    expect(isOpen(worker)).toBe(true);
    expect(failedClauses(worker, demand, 'LEGACY', false)).toEqual([]);
  });

  test.each<[string, Partial<WorkerFacts>, Partial<Demand>]>([
    ['action', { actions: new Set(['train']) }, {}],
    ['namespace', {}, { namespace: 'other' }],
    ['tags', {}, { runsOn: ['a100'] }],
    ['label', {}, { desired: [desire('memory', 256, { comparator: 'GREATER_THAN' })] }],
    ['the HARD pin of another', {}, { pin: { workerId: 'worker-2', workerName: 'beta', hard: true } }],
    ['a required label of an untagged worker', { tags: new Set() }, { desired: [desire('zone', 'b')] }],
  ])('fails for %s', (_what, facts, asks) => {
    expect(suits({ ...worker, ...facts }, { ...demand, ...asks }, 'LEGACY')).toBe(false);
  });

  it('never fails for an optional label', () => {
    expect(
      suits(worker, { ...demand, desired: [desire('zone', 'b', { required: false, weight: -100 })] }, 'LEGACY'),
    ).toBe(true);
  });

  it('never fails for a SOFT pin, nor for its own', () => {
    for (const pin of [
      { workerId: 'worker-2', workerName: 'beta', hard: false },
      { workerId: 'worker-1', workerName: 'alpha', hard: true },
    ]) {
      expect(suits(worker, { ...demand, pin }, 'LEGACY')).toBe(true);
      expect(failedClauses(worker, { ...demand, pin }, 'LEGACY', false)).toEqual([]);
    }
  });

  it('shows a HARD pin with both workers, also when they share a name', () => {
    const pin = { workerId: 'worker-2', workerName: 'beta', hard: true };
    expect(failedClauses(worker, { ...demand, pin }, 'LEGACY', false)).toEqual([
      { clause: 'STICKY', key: '', has: 'alpha', needs: 'beta' },
    ]);
    expect(failedClauses(worker, { ...demand, pin: { ...pin, workerName: 'alpha' } }, 'LEGACY', false)).toEqual([
      { clause: 'STICKY', key: '', has: 'another worker named alpha', needs: 'alpha' },
    ]);
  });

  it('lists every clause that fails, with both values', () => {
    const facts = {
      ...worker,
      actions: new Set(['train']),
      slotsUsed: 2,
      draining: true,
      notReadyReason: 'DISCONNECTED',
    };
    const desired = [
      desire('memory', 256, { comparator: 'GREATER_THAN' }),
      desire('zone', null, { comparator: 'NOT_IN', values: ['a', 'b'] }),
      desire('disk', null, { comparator: 'EXISTS' }),
    ];
    expect(failedClauses(facts, { ...demand, runsOn: ['a100', 'gpu'], desired }, 'LEGACY', true)).toEqual([
      { clause: 'ACTION', key: '', has: 'train', needs: 'build' },
      { clause: 'RUNS_ON', key: '', has: 'gpu', needs: 'a100, gpu' },
      { clause: 'LABEL', key: 'memory', has: '128', needs: '> 256' },
      { clause: 'LABEL', key: 'zone', has: '"a"', needs: 'not in ("a", "b")' },
      { clause: 'LABEL', key: 'disk', has: 'no such label', needs: 'any value' },
      { clause: 'SLOT', key: '', has: '2 of 2 in use', needs: 'a free slot' },
      { clause: 'DRAINING', key: '', has: 'draining', needs: 'not draining' },
      { clause: 'NOT_READY', key: '', has: 'DISCONNECTED', needs: 'a live, ready session' },
      {
        clause: 'RETURNED_BEFORE',
        key: '',
        has: 'returned or did not accept this step',
        needs: 'a change of its own, or some time',
      },
    ]);
  });

  it('agrees with placement about every worker', () => {
    const facts = fc.record({
      tags: fc.constantFrom(new Set<string>(), new Set(['gpu'])),
      labels: fc.constantFrom(new Map(), new Map([['memory', 128]])),
      actions: fc.constantFrom(new Set<string>(), new Set(['build'])),
      slotsUsed: fc.integer({ min: 0, max: 3 }),
      draining: fc.boolean(),
      notReadyReason: fc.constantFrom(null, 'BACK_PRESSURE'),
    });
    fc.assert(
      fc.property(
        facts,
        fc.constantFrom<'LEGACY' | 'STRICT'>('LEGACY', 'STRICT'),
        fc.constantFrom(127, 128),
        fc.constantFrom(null, 'worker-1', 'worker-2'),
        (some, mode, memory, pinned) => {
          const one = { ...worker, ...some };
          const pin = pinned === null ? null : { workerId: pinned, workerName: pinned, hard: true };
          const asks = { ...demand, pin, desired: [desire('memory', memory, { comparator: 'GREATER_THAN_OR_EQUAL' })] };
          expect(failedClauses(one, asks, mode, false).length === 0).toBe(suits(one, asks, mode) && isOpen(one));
        },
      ),
    );
  });
});
