import fc from 'fast-check';
import { describe, expect, it, test } from 'vitest';
import { DEFAULT_LIMITS } from '../../src/domain/limits.ts';
import { type MatchMode, parseTags, sameTags, tagsAllow, tagsCover } from '../../src/domain/tags.ts';

const WORKERS = { none: [], gpu: ['gpu'], full: ['gpu', 'a100', 'bob'], cpu: ['cpu'] };
const RUNS_ON = { anything: [], gpu: ['gpu'], a100: ['gpu', 'a100'] };

function allowed(mode: MatchMode) {
  const rows = Object.entries(WORKERS).map(([name, tags]) => {
    const takes = Object.entries(RUNS_ON).filter(([, runsOn]) => tagsAllow(runsOn, new Set(tags), mode));
    return [name, takes.map(([runsOn]) => runsOn)];
  });
  return Object.fromEntries(rows);
}

describe('who may take what', () => {
  it('LEGACY: no tags takes everything', () => {
    expect(allowed('LEGACY')).toEqual({
      none: ['anything', 'gpu', 'a100'],
      gpu: ['anything', 'gpu'],
      full: ['anything', 'gpu', 'a100'],
      cpu: ['anything'],
    });
  });

  it('STRICT: no tags takes only what asks for none', () => {
    expect(allowed('STRICT')).toEqual({
      none: ['anything'],
      gpu: ['anything', 'gpu'],
      full: ['anything', 'gpu', 'a100'],
      cpu: ['anything'],
    });
  });

  it('only the tags asked for decide, and the modes differ for workers without tags alone', () => {
    const tagList = fc.uniqueArray(fc.constantFrom('gpu', 'a100', 'cpu', 'bob'));
    fc.assert(
      fc.property(tagList, tagList, (runsOn, tags) => {
        const covered = runsOn.every((tag) => tags.includes(tag));
        expect(tagsCover(runsOn, new Set(tags))).toBe(covered);
        expect(tagsAllow(runsOn, new Set(tags), 'STRICT')).toBe(covered);
        expect(tagsAllow(runsOn, new Set(tags), 'LEGACY')).toBe(covered || tags.length === 0);
      }),
    );
  });

  it('compares case', () => {
    expect(tagsAllow(['GPU'], new Set(['gpu']), 'LEGACY')).toBe(false);
    expect(parseTags('tags', ['gpu', 'GPU'], 64, DEFAULT_LIMITS)).toEqual(['GPU', 'gpu']);
  });
});

describe('parseTags', () => {
  it('gives the same set for every order and for duplicates', () => {
    fc.assert(
      fc.property(fc.array(fc.constantFrom('gpu', 'a100', 'bob', 'é', 'GPU'), { minLength: 1 }), (tags) => {
        const parsed = parseTags('runs_on', tags, 32, DEFAULT_LIMITS) as string[];
        expect(parseTags('runs_on', [...tags, ...tags].reverse(), 32, DEFAULT_LIMITS)).toEqual(parsed);
        expect(new Set(parsed)).toEqual(new Set(tags));
        expect(parsed).toHaveLength(new Set(tags).size);
      }),
    );
  });

  it('counts after duplicates have collapsed', () => {
    const tags = Array.from({ length: 40 }, (_, index) => `tag-${index % 32}`);
    expect(parseTags('runs_on', tags, 32, DEFAULT_LIMITS)).toHaveLength(32);
    expect(parseTags('runs_on', [...tags, 'one more'], 32, DEFAULT_LIMITS)).toMatchObject({
      refused: 'LIMIT_EXCEEDED',
      metadata: { field: 'runs_on', actual: '33', limit: '32' },
    });
  });

  test.each([
    ['an empty tag', '', 'INVALID_FIELD'],
    ['U+0000', 'a\u0000', 'INVALID_FIELD'],
    ['more than 256 bytes', 'é'.repeat(129), 'LIMIT_EXCEEDED'],
  ])('refuses %s', (_what, tag, reason) => {
    expect(parseTags('tags', ['gpu', tag], 64, DEFAULT_LIMITS)).toMatchObject({
      refused: reason,
      metadata: { field: 'tags' },
    });
  });
});

test('sameTags compares sets in their normal form', () => {
  expect(sameTags(['a', 'b'], ['a', 'b'])).toBe(true);
  expect(sameTags([], [])).toBe(true);
  expect(sameTags(['a'], ['a', 'b'])).toBe(false);
  expect(sameTags(['a', 'c'], ['a', 'b'])).toBe(false);
});
