/** One text for every way to write the same JSON, and for no two that differ. */
import { isDeepStrictEqual } from 'node:util';
import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { canonicalJson, equalKeyText } from '../../src/domain/equal.ts';

/** Some way to write this value: other white space, order of keys, escapes and spellings of numbers. */
function written(value: unknown, random: () => number): string {
  const space = () => ['', ' ', '\n', '\t \r'][Math.floor(random() * 4)] ?? '';
  if (Array.isArray(value)) return `[${space()}${value.map((item) => written(item, random)).join(`${space()},`)}]`;
  if (typeof value === 'object' && value !== null) {
    const entries = Object.entries(value).sort(() => random() - 0.5);
    const parts = entries.map(
      ([key, item]) => `${space()}${spelled(key, random)}${space()}:${space()}${written(item, random)}${space()}`,
    );
    return `${space()}{${parts.join(',')}}${space()}`;
  }
  if (typeof value === 'string') return spelled(value, random);
  if (typeof value === 'number') return spelledNumber(value, random);
  return JSON.stringify(value);
}

function spelled(text: string, random: () => number): string {
  const units = Array.from({ length: text.length }, (_, index) => {
    const escaped = `\\u${text.charCodeAt(index).toString(16).padStart(4, '0')}`;
    const plain = JSON.stringify(text[index]).slice(1, -1);
    return random() < 0.3 ? escaped : plain;
  });
  return `"${units.join('')}"`;
}

function spelledNumber(value: number, random: () => number): string {
  const text = JSON.stringify(value);
  if (random() < 0.4) return text;
  const [mantissa = '', power = '0'] = text.split('e');
  const more = mantissa.includes('.') ? `${mantissa}00` : `${mantissa}.0`;
  return random() < 0.5
    ? `${more}e${power}`
    : `${more}E${power.startsWith('-') ? power : `+${power.replace('+', '')}`}`;
}

/** With keys that a plain object can hold in any order. */
const json = fc
  .jsonValue({ maxDepth: 4 })
  .filter((value) => !JSON.stringify(value).includes('__proto__'))
  .map((value) => JSON.parse(JSON.stringify(value)) as unknown);

const randomness = fc.infiniteStream(fc.double({ min: 0, max: 0.999, noNaN: true })).map((stream) => () => {
  const next = stream.next();
  return next.done ? 0 : next.value;
});

describe('canonical JSON', () => {
  it('is the same however a value is written', () => {
    fc.assert(
      fc.property(json, randomness, (value, random) => {
        expect(canonicalJson(written(value, random))).toBe(canonicalJson(JSON.stringify(value)));
      }),
    );
  });

  it('differs when the value differs', () => {
    fc.assert(
      fc.property(json, json, (one, other) => {
        const isSame = canonicalJson(JSON.stringify(one)) === canonicalJson(JSON.stringify(other));
        expect(isSame).toBe(isDeepStrictEqual(one, other));
      }),
    );
  });

  it('keeps every digit of a number', () => {
    const digits = fc.stringMatching(/^[1-9]\d{0,40}$/);
    fc.assert(
      fc.property(digits, digits, fc.nat({ max: 30 }), (one, other, zeros) => {
        expect(canonicalJson(one) === canonicalJson(other)).toBe(one === other);
        const tail = '0'.repeat(zeros);
        const spellings = [`${one}${tail}`, `${one}e${zeros}`, `${one}${tail}.00`, `0.${one}e+${one.length + zeros}`];
        expect(new Set(spellings.map((text) => canonicalJson(text))).size).toBe(1);
      }),
    );
  });

  it.each([
    ['9007199254740993', '9007199254740992'],
    ['0.1', '0.10000000000000001'],
    ['1e400', '1e401'],
    ['-1', '1'],
    ['"1"', '1'],
    ['[]', '{}'],
    ['[[1],2]', '[[1,2]]'],
    ['{"a":1}', '{"a":[1]}'],
    ['{"a":{"b":1},"c":2}', '{"a":{"b":1,"c":2}}'],
    ['"\\ud800"', '"\\ufffd"'],
    ['1e1000000000000000001', '1e1000000000000000002'],
  ])('tells %s from %s', (one, other) => {
    expect(canonicalJson(one)).not.toBe(canonicalJson(other));
  });

  it.each([
    ['0', '-0.0e5'],
    ['1e2', ' 100 '],
    ['{"a":1,"a":2}', '{"a":2}'],
    ['{"\\u0061":[ ],"b":{ }}', '{"b":{},"a":[]}'],
    ['"\\/\\b\\u00e9"', '"/\\u0008é"'],
    ['{"__proto__":1,"b":2}', '{"b":2,"__proto__":1}'],
  ])('takes %s for %s', (one, other) => {
    expect(canonicalJson(one)).toBe(canonicalJson(other));
  });

  it('leaves out top-level keys only', () => {
    const exclude = new Set(['time', 'missing']);
    const of = (text: string) => canonicalJson(text, exclude);
    expect(of('{"time":1,"file":{"time":2}}')).toBe(of('{"file":{"time":2},"t\\u0069me":3}'));
    expect(of('{"time":1,"file":{"time":2}}')).not.toBe(of('{"time":1,"file":{"time":3}}'));
    expect(of('[{"time":1}]')).not.toBe(of('[{"time":2}]'));
  });

  it('takes a megabyte of anything in its stride', () => {
    const long = 1_000_000;
    for (const text of [`1e${'9'.repeat(long)}`, `1${'0'.repeat(long)}1`, `[${'0.0,'.repeat(long / 4)}1]`]) {
      const from = performance.now();
      canonicalJson(text);
      expect(performance.now() - from).toBeLessThan(2_000);
    }
  });
});

it('gives each key of a namespace a text of its own, whatever the names hold', () => {
  const part = fc.string({ unit: fc.constantFrom('a', '\n', '"', ',', '0'), maxLength: 4 });
  const key = fc.record({ target: part, version: fc.nat({ max: 2 }), contentHash: part });
  fc.assert(
    fc.property(part, part, key, key, (here, there, one, other) => {
      const isSame = equalKeyText(here, one) === equalKeyText(there, other);
      expect(isSame).toBe(here === there && JSON.stringify(one) === JSON.stringify(other));
    }),
  );
});
