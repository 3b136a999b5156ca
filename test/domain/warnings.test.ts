/** Warnings of workflows and runs, and what conditions on one label leave together. */
import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { anyLabel, implies, isEmptyRange, rangesOf } from '../../src/domain/label_range.ts';
import { type DesiredLabel, type LabelValue, labelMatches } from '../../src/domain/labels.ts';
import { warningsFor } from '../../src/domain/warnings.ts';

type Options = Parameters<typeof warningsFor>[1];
type Step = Parameters<typeof warningsFor>[0][number];

const PLAIN: Options = { sticky: 'NONE', runsOn: [], desired: [], pinned: false, isServed: () => true };
const HARD: Options = { ...PLAIN, sticky: 'HARD' };

/** A required condition. */
function desire(key: string, value: LabelValue | null, rest: Partial<DesiredLabel> = {}): DesiredLabel {
  return { key, value, comparator: 'EQUAL', values: [], required: true, weight: 100, ...rest };
}

function step(name: string, rest: Partial<Step> = {}): Step {
  return { name, action: 'work', needs: [], runsOn: [], desired: [], ...rest };
}

function told(steps: readonly Step[], options: Partial<Options> = {}): string[] {
  return warningsFor(steps, { ...PLAIN, ...options }).map(({ reason, message }) => `${reason} ${message}`);
}

describe('labels that contradict each other', () => {
  const memory = (comparator: DesiredLabel['comparator'], value: number) => desire('memory', value, { comparator });
  const among = (...values: LabelValue[]) => desire('zone', null, { comparator: 'IN', values });
  const notAmong = (...values: LabelValue[]) => desire('zone', null, { comparator: 'NOT_IN', values });
  const present = desire('zone', null, { comparator: 'EXISTS' });
  const absent = desire('zone', null, { comparator: 'NOT_EXISTS' });

  it.each<[string, DesiredLabel[]]>([
    ['two values', [desire('model', 'llama'), desire('model', 'mistral')]],
    ['a string and a number', [desire('model', '1'), desire('model', 1)]],
    ['above and below', [memory('GREATER_THAN', 256), memory('LESS_THAN', 128)]],
    ['above and not above', [memory('GREATER_THAN', 256), memory('LESS_THAN_OR_EQUAL', 256)]],
    [
      'one number, left out',
      [memory('GREATER_THAN_OR_EQUAL', 1), memory('LESS_THAN_OR_EQUAL', 1), memory('NOT_EQUAL', 1)],
    ],
    ['an order and a string', [memory('GREATER_THAN', 256), desire('memory', 'much')]],
    ['lists without a common value', [among('eu', 'us'), among('asia')]],
    ['a list and what it must not be', [among('eu', 'us'), notAmong('us', 'eu')]],
    ['types that differ', [notAmong('eu'), notAmong(1)]],
    ['there and not there', [present, absent]],
    ['a value and not there', [among('eu'), absent]],
  ])('%s', (_name, desired) => {
    for (const conditions of [desired, desired.toReversed()]) {
      expect(told([step('fit', { desired: conditions })])).toEqual([
        expect.stringMatching(/^CONTRADICTORY_LABELS step "fit" asks for label (zone|memory|model) /),
      ]);
    }
  });

  it('names both conditions, and the step', () => {
    const desired = [memory('GREATER_THAN', 256)];
    const steps = [step('fetch'), step('fit', { desired: [memory('LESS_THAN', 128)], needs: ['fetch'] })];
    expect(told(steps, { desired })).toEqual([
      'CONTRADICTORY_LABELS step "fit" asks for label memory > 256, label memory < 128, which no worker can ever have together',
    ]);
  });

  it('what the run alone makes impossible is said once', () => {
    const desired = [present, absent];
    expect(told([step('a'), step('b', { desired: [present] })], { desired })).toEqual([
      'CONTRADICTORY_LABELS the run asks for label zone any value, label zone no value, which no worker can ever have together',
    ]);
  });

  it('a wish contradicts nothing, and different keys do not contradict each other', () => {
    const wish = desire('model', 'mistral', { required: false });
    expect(told([step('fit', { desired: [desire('model', 'llama'), wish, desire('kind', 'mistral')] })])).toEqual([]);
  });
});

describe('steps that a HARD run keeps together', () => {
  const gpu = desire('gpu', 'a100');

  it('warns of every kind of thing that the first step does not ask for', () => {
    const later = step('fit', { action: 'fit', needs: ['fetch'], runsOn: ['big'], desired: [gpu] });
    expect(told([step('fetch'), later], HARD)).toEqual([
      'STICKY_MISMATCH step "fit" asks for action "fit", tag "big", label gpu = "a100", which step "fetch" does not ask ' +
        'for: sticky HARD keeps both on one worker, and it may not have that',
    ]);
    expect(told([step('fetch'), later], { sticky: 'SOFT' })).toEqual([]);
  });

  it('what the first step or the run asks for as well is no surprise', () => {
    const later = step('fit', { needs: ['fetch'], runsOn: ['big'], desired: [gpu] });
    expect(told([step('fetch', { runsOn: ['big', 'red'], desired: [gpu] }), later], HARD)).toEqual([]);
    expect(told([step('fetch'), later], { ...HARD, runsOn: ['big'], desired: [gpu] })).toEqual([]);
  });

  it('a stricter condition of the first step covers a looser one', () => {
    const above = (value: number) => desire('memory', value, { comparator: 'GREATER_THAN' });
    const later = (value: number) => step('fit', { needs: ['fetch'], desired: [above(value)] });
    expect(told([step('fetch', { desired: [above(512)] }), later(256)], HARD)).toEqual([]);
    expect(told([step('fetch', { desired: [above(256)] }), later(512)], HARD)).toHaveLength(1);
  });

  it('two first steps are kept together too', () => {
    const steps = [step('left', { runsOn: ['red'] }), step('right')];
    expect(told(steps, HARD)).toEqual([expect.stringContaining('step "left" asks for tag "red", which step "right"')]);
  });

  it('stays short, however much is wrong', () => {
    const tags = Array.from({ length: 32 }, (_, index) => `tag-${index}`);
    const many = Array.from({ length: 1_000 }, (_, index) => step(`s${index}`, { needs: ['first'], runsOn: tags }));
    const warnings = told([step('first'), ...many], HARD);
    expect(warnings).toHaveLength(10);
    expect(warnings[0]).toContain('tag "tag-0", tag "tag-1", tag "tag-2", tag "tag-3" and 28 more,');
  });
});

describe('other warnings', () => {
  it('an action that nobody serves is named once', () => {
    const steps = [step('a', { action: 'paint' }), step('b', { action: 'paint' }), step('c')];
    expect(told(steps, { isServed: (action) => action !== 'paint' })).toEqual([
      expect.stringMatching(/^NO_WORKER_SERVES_ACTION .*"paint"/),
    ]);
  });

  it('a pin on a run that is not sticky', () => {
    expect(told([step('a')], { pinned: true })).toEqual([expect.stringMatching(/^PIN_WITHOUT_STICKY /)]);
    expect(told([step('a')], { ...HARD, pinned: true })).toEqual([]);
  });
});

describe('a range of labels', () => {
  const VALUES: LabelValue[] = [0, 1, 2, 3, 'a', 'b'];
  /** Everything that can make a difference: each value, what lies between and beyond, another string, and nothing. */
  const WITNESSES: (LabelValue | null)[] = [...VALUES, -1, 0.5, 1.5, 2.5, 4, 'other', null];
  const value = fc.constantFrom(...VALUES);
  const number = fc.constantFrom(0, 1, 2, 3);
  const lists = fc.oneof(
    fc.array(number, { minLength: 1, maxLength: 3 }),
    fc.array(fc.constantFrom('a', 'b'), { minLength: 1, maxLength: 2 }),
  );
  const condition: fc.Arbitrary<DesiredLabel> = fc.oneof(
    fc.tuple(value, fc.constantFrom('EQUAL', 'NOT_EQUAL')).map(([is, comparator]) => desire('k', is, { comparator })),
    fc
      .tuple(number, fc.constantFrom('GREATER_THAN', 'GREATER_THAN_OR_EQUAL', 'LESS_THAN', 'LESS_THAN_OR_EQUAL'))
      .map(([is, comparator]) => desire('k', is, { comparator })),
    fc
      .tuple(lists, fc.constantFrom('IN', 'NOT_IN'))
      .map(([values, comparator]) => desire('k', null, { comparator, values })),
    fc.constantFrom('EXISTS' as const, 'NOT_EXISTS' as const).map((comparator) => desire('k', null, { comparator })),
  );
  const meets = (witness: LabelValue | null, wanted: DesiredLabel) =>
    labelMatches(new Map(witness === null ? [] : [['k', witness]]), wanted);

  it('leaves out a bound that is named as not wanted', () => {
    const left = [desire('k', 1, { comparator: 'GREATER_THAN_OR_EQUAL' }), desire('k', 1, { comparator: 'NOT_EQUAL' })];
    const range = rangesOf(left).get('k') ?? anyLabel();
    expect(implies(range, desire('k', 1, { comparator: 'GREATER_THAN' }))).toBe(true);
    expect(implies(range, desire('k', 2, { comparator: 'GREATER_THAN' }))).toBe(false);
  });

  it('agrees with every label a worker could have', () => {
    fc.assert(
      fc.property(fc.array(condition, { maxLength: 5 }), condition, (conditions, asked) => {
        const range = rangesOf(conditions).get('k') ?? anyLabel();
        const left = WITNESSES.filter((witness) => conditions.every((wanted) => meets(witness, wanted)));
        expect(isEmptyRange(range)).toBe(left.length === 0);
        expect(implies(range, asked)).toBe(left.every((witness) => meets(witness, asked)));
      }),
      { numRuns: 5_000 },
    );
  });
});
