import fc from 'fast-check';
import { describe, expect, it, test } from 'vitest';
import {
  type DesiredLabel,
  type DesiredLabelDraft,
  type Labels,
  type LabelValue,
  labelMatches,
  mergeLabels,
  parseDesiredLabel,
} from '../../src/domain/labels.ts';
import { DEFAULT_LIMITS } from '../../src/domain/limits.ts';
import { isRefusal, type Refusal } from '../../src/domain/refusal.ts';

type Comparator = DesiredLabel['comparator'];

const COMPARATORS: Comparator[] = [
  'EQUAL',
  'NOT_EQUAL',
  'GREATER_THAN',
  'GREATER_THAN_OR_EQUAL',
  'LESS_THAN',
  'LESS_THAN_OR_EQUAL',
  'IN',
  'NOT_IN',
  'EXISTS',
  'NOT_EXISTS',
];

function matches(
  has: LabelValue | undefined,
  comparator: Comparator,
  needs: LabelValue | LabelValue[] | null,
): boolean {
  const labels: Labels = has === undefined ? new Map() : new Map([['memory', has]]);
  const operands = Array.isArray(needs) ? { value: null, values: needs } : { value: needs, values: [] };
  return labelMatches(labels, { key: 'memory', comparator, ...operands, required: true, weight: 100 });
}

describe('each comparator at and around its boundary', () => {
  // [comparator, what is needed, what the worker may have, what it may not]
  const CASES: [Comparator, LabelValue | LabelValue[] | null, LabelValue[], LabelValue[]][] = [
    ['EQUAL', 256, [256, 256.0], [255.999, 256.001, 0, -256, '256']],
    ['EQUAL', 'a100', ['a100'], ['A100', 'a100 ', '', 100]],
    ['EQUAL', '', [''], [' ', 0]],
    ['EQUAL', 0, [0, -0], ['', '0', 1e-300]],
    ['NOT_EQUAL', 256, [255.999, 256.001, -256], [256, '255']],
    ['NOT_EQUAL', 'a100', ['A100', ''], ['a100', 100]],
    ['GREATER_THAN', 256, [256.001, 257, 1e300], [256, 255.999, -1e300, '257']],
    ['GREATER_THAN_OR_EQUAL', 256, [256, 256.001], [255.999, '256']],
    ['LESS_THAN', 256, [255.999, -1e300], [256, 256.001, '255']],
    ['LESS_THAN_OR_EQUAL', 256, [256, 255.999], [256.001, '256']],
    ['GREATER_THAN', -1, [0, -0.999], [-1, -2]],
    ['IN', ['x', 'y'], ['x', 'y'], ['z', 'X', '', 1]],
    ['IN', [1, 2], [1, 2], [1.5, 3, '1']],
    ['IN', [7], [7], [8, '7']],
    ['NOT_IN', ['x', 'y'], ['z', 'X', ''], ['x', 'y', 1]],
    ['NOT_IN', [1, 2], [1.5, 3], [1, 2, '3']],
    ['EXISTS', null, ['', 'x', 0, -1], []],
    ['NOT_EXISTS', null, [], ['', 'x', 0, -1]],
  ];

  test.each(CASES)('%s %j is met by %j and not by %j', (comparator, needs, met, unmet) => {
    expect(met.filter((has) => !matches(has, comparator, needs))).toEqual([]);
    expect(unmet.filter((has) => matches(has, comparator, needs))).toEqual([]);
  });

  it('never matches a missing key, except NOT_EXISTS', () => {
    const matching = COMPARATORS.filter((comparator) =>
      matches(undefined, comparator, comparator.endsWith('IN') ? [1] : 1),
    );
    expect(matching).toEqual(['NOT_EXISTS']);
  });

  it('reads the key it names, and no other', () => {
    const labels: Labels = new Map<string, LabelValue>([
      ['disk', 256],
      ['Memory', 256],
    ]);
    expect(
      labelMatches(labels, { key: 'memory', comparator: 'EQUAL', value: 256, values: [], required: true, weight: 1 }),
    ).toBe(false);
  });

  it('lets several desired labels of one key make a range', () => {
    const inside = [255, 256, 257, 1023, 1024].filter(
      (has) => matches(has, 'GREATER_THAN', 256) && matches(has, 'LESS_THAN', 1024),
    );
    expect(inside).toEqual([257, 1023]);
  });
});

describe('comparators belong together', () => {
  const anyNumber = fc.double({ noNaN: true, noDefaultInfinity: true });
  const anyValue = fc.oneof(anyNumber, fc.string());

  it('a comparator and its opposite split the values of the right type', () => {
    const opposites: [Comparator, Comparator][] = [
      ['EQUAL', 'NOT_EQUAL'],
      ['GREATER_THAN', 'LESS_THAN_OR_EQUAL'],
      ['LESS_THAN', 'GREATER_THAN_OR_EQUAL'],
    ];
    fc.assert(
      fc.property(anyNumber, anyNumber, fc.constantFrom(...opposites), (has, needs, [one, other]) => {
        expect(matches(has, one, needs)).toBe(!matches(has, other, needs));
      }),
    );
  });

  it('another type satisfies neither a comparator nor its opposite', () => {
    fc.assert(
      fc.property(fc.string(), anyNumber, (text, number) => {
        const typed = COMPARATORS.filter((comparator) => !comparator.endsWith('EXISTS'));
        const operand = (comparator: Comparator, value: LabelValue) => (comparator.endsWith('IN') ? [value] : value);
        expect(typed.filter((comparator) => matches(text, comparator, operand(comparator, number)))).toEqual([]);
        expect(typed.filter((comparator) => matches(number, comparator, operand(comparator, text)))).toEqual([]);
      }),
    );
  });

  it('IN and NOT_IN say what a list of EQUAL and NOT_EQUAL would', () => {
    fc.assert(
      fc.property(
        fc.oneof(fc.integer({ min: 0, max: 5 }), fc.constantFrom('0', '1')),
        fc.array(fc.integer({ min: 0, max: 5 }), { minLength: 1 }),
        (has, list) => {
          expect(matches(has, 'IN', list)).toBe(list.some((value) => matches(has, 'EQUAL', value)));
          expect(matches(has, 'NOT_IN', list)).toBe(list.every((value) => matches(has, 'NOT_EQUAL', value)));
        },
      ),
    );
  });

  it('EXISTS holds for every value, NOT_EXISTS for none', () => {
    fc.assert(
      fc.property(anyValue, (has) => {
        expect([matches(has, 'EXISTS', null), matches(has, 'NOT_EXISTS', null)]).toEqual([true, false]);
      }),
    );
  });
});

function refusal(value: unknown): Refusal {
  if (!isRefusal(value)) throw new Error('it was not refused');
  return value;
}

describe('mergeLabels', () => {
  const merge = (
    labels: Record<string, LabelValue>,
    patch: Record<string, LabelValue | null>,
    limits = DEFAULT_LIMITS,
  ) => mergeLabels('labels', new Map(Object.entries(labels)), new Map(Object.entries(patch)), limits);

  it('merges key by key, and null removes', () => {
    expect(merge({ a: 1, b: 'x', c: 3 }, { b: 'y', c: null, d: 4, never: null })).toEqual(
      new Map<string, LabelValue>([
        ['a', 1],
        ['b', 'y'],
        ['d', 4],
      ]),
    );
  });

  it('leaves the set it was given alone', () => {
    const before = new Map<string, LabelValue>([['a', 1]]);
    mergeLabels('labels', before, new Map([['a', null]]), DEFAULT_LIMITS);
    expect(before).toEqual(new Map([['a', 1]]));
  });

  it('counts the merged set, not the patch', () => {
    const limits = { ...DEFAULT_LIMITS, labelsPerWorkerMax: 2 };
    expect(merge({ a: 1, b: 2 }, { c: 3, a: null }, limits)).toEqual(
      new Map([
        ['b', 2],
        ['c', 3],
      ]),
    );
    const refused = refusal(merge({ a: 1, b: 2 }, { c: 3 }, limits));
    expect(refused).toMatchObject({
      refused: 'LIMIT_EXCEEDED',
      metadata: { field: 'labels', actual: '3', limit: '2' },
    });
    expect(refused.message).toContain('3 labels, the limit is 2');
  });

  it.each<[string, Record<string, LabelValue | null>, string, string]>([
    ['NaN', { load: Number.NaN }, 'INVALID_LABEL', 'labels["load"]: NaN is not a finite number'],
    [
      'infinity',
      { load: Number.NEGATIVE_INFINITY },
      'INVALID_LABEL',
      'labels["load"]: -Infinity is not a finite number',
    ],
    ['an empty key', { '': 1 }, 'INVALID_LABEL', 'the key is empty'],
    ['an empty key to be removed', { '': null }, 'INVALID_LABEL', 'the key is empty'],
    ['U+0000 in a key', { 'a\u0000b': 1 }, 'INVALID_LABEL', 'U+0000'],
    ['U+0000 in a value', { a: '\u0000' }, 'INVALID_LABEL', 'labels["a"]: the value holds U+0000'],
    ['a long value', { disk: 'é'.repeat(129) }, 'LIMIT_EXCEEDED', 'labels["disk"]: has 258 bytes, the limit is 256'],
    ['a long key', { ['k'.repeat(129)]: 1 }, 'LIMIT_EXCEEDED', 'has 129 bytes in its key, the limit is 128'],
  ])('refuses %s, naming key, value and limit', (_what, patch, reason, message) => {
    const refused = refusal(merge({ a: 1 }, patch));
    expect(refused.refused).toBe(reason);
    expect(refused.message).toContain(message);
    expect(refused.message.length).toBeLessThan(200);
  });

  it('takes what is exactly at the limits', () => {
    const key = 'k'.repeat(128);
    const value = 'v'.repeat(256);
    const many = Object.fromEntries(Array.from({ length: 64 }, (_, index) => [`key-${index}`, index]));
    expect(merge({}, { [key]: value })).toEqual(new Map([[key, value]]));
    expect(isRefusal(merge({}, many))).toBe(false);
    expect(isRefusal(merge(many, { another: 1 }))).toBe(true);
  });
});

describe('parseDesiredLabel', () => {
  const parse = (draft: Partial<DesiredLabelDraft>) =>
    parseDesiredLabel(
      'desired_labels[2]',
      { key: 'memory', comparator: 'EQUAL', values: [], ...draft },
      DEFAULT_LIMITS,
    );

  it('fills in the defaults: required, weight 100', () => {
    expect(parse({ value: 1 })).toEqual({
      key: 'memory',
      comparator: 'EQUAL',
      value: 1,
      values: [],
      required: true,
      weight: 100,
    });
    expect(parse({ comparator: 'IN', values: ['a'], required: false, weight: -5 })).toMatchObject({
      value: null,
      required: false,
      weight: -5,
    });
  });

  it.each<[string, Partial<DesiredLabelDraft>, string]>([
    [
      'an order comparator on a string',
      { comparator: 'GREATER_THAN', value: '256' },
      'compares numbers, value is the string "256"',
    ],
    ['the other order comparators on a string', { comparator: 'LESS_THAN_OR_EQUAL', value: '' }, 'compares numbers'],
    ['a value that is neither string nor number', { value: null }, 'string or a finite number'],
    ['NaN', { value: Number.NaN }, 'NaN is not a finite number'],
    ['no value', {}, 'needs a value'],
    ['values where value belongs', { value: 1, values: [1] }, 'takes value, not values'],
    ['value where values belong', { comparator: 'IN', value: 1, values: [1] }, 'takes values, not value'],
    ['an empty list', { comparator: 'NOT_IN' }, '1 to 64 values'],
    ['a mixed list', { comparator: 'IN', values: [1, '1'] }, 'of one type'],
    ['a list with something else in it', { comparator: 'IN', values: [1, null] }, 'strings or finite numbers'],
    ['infinity in a list', { comparator: 'IN', values: [1, Number.POSITIVE_INFINITY] }, 'not a finite number'],
    ['a value for EXISTS', { comparator: 'EXISTS', value: 1 }, 'neither value nor values'],
    ['values for NOT_EXISTS', { comparator: 'NOT_EXISTS', values: [1] }, 'neither value nor values'],
    ['an empty key', { key: '', value: 1 }, 'the key is empty'],
  ])('refuses %s, naming field and key', (_what, draft, message) => {
    const refused = refusal(parse(draft));
    expect(refused.refused).toBe('INVALID_LABEL');
    expect(refused.message).toContain(message);
    expect(refused.message).toContain(`desired_labels[2] (key "${draft.key ?? 'memory'}")`);
    expect(refused.fields).toHaveLength(1);
  });

  it('refuses the 65th value and takes the 64th', () => {
    const values = Array.from({ length: 64 }, (_, index) => index);
    expect(parse({ comparator: 'IN', values })).toMatchObject({ values });
    expect(refusal(parse({ comparator: 'IN', values: [...values, 64] }))).toMatchObject({
      refused: 'LIMIT_EXCEEDED',
      metadata: { actual: '65', limit: '64' },
    });
  });
});
