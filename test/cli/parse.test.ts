import { toJson } from '@bufbuild/protobuf';
import { durationMs } from '@bufbuild/protobuf/wkt';
import { describe, expect, it } from 'vitest';
import { DesiredLabelSchema } from '../../gen/yardmaster/v1/run_pb.ts';
import { parseDuration } from '../../src/cli/parse/duration.ts';
import { addEntry } from '../../src/cli/parse/entries.ts';
import { addLabel, addWish } from '../../src/cli/parse/label.ts';
import { brief, printable, shortDuration } from '../../src/cli/show/text.ts';

describe('durations', () => {
  it.each([
    ['500ms', 500],
    ['30s', 30_000],
    ['5m', 300_000],
    ['1h30m', 5_400_000],
    ['1d', 86_400_000],
    ['1.5s', 1_500],
    ['1m500ms', 60_500],
    ['0', 0],
    ['0s', 0],
  ])('%s', (text, ms) => {
    expect(durationMs(parseDuration(text))).toBe(ms);
  });

  it.each(['', '5', '-5s', '5 s', '30m1h', '1x', 's', '5sec', '99999999999d'])('refuses "%s"', (text) => {
    expect(() => parseDuration(text)).toThrow(/must be/);
  });
});

describe('conditions on labels', () => {
  const read = (text: string) => toJson(DesiredLabelSchema, addLabel(text)[0] as never);

  it.each([
    ['memory>256', { key: 'memory', comparator: 'COMPARATOR_GREATER_THAN', value: 256 }],
    ['memory >= 1.5e3', { key: 'memory', comparator: 'COMPARATOR_GREATER_THAN_OR_EQUAL', value: 1500 }],
    ['load<-0.5', { key: 'load', comparator: 'COMPARATOR_LESS_THAN', value: -0.5 }],
    ['load<=0', { key: 'load', comparator: 'COMPARATOR_LESS_THAN_OR_EQUAL', value: 0 }],
    ['model=mistral', { key: 'model', comparator: 'COMPARATOR_EQUAL', value: 'mistral' }],
    ['model==mistral', { key: 'model', comparator: 'COMPARATOR_EQUAL', value: 'mistral' }],
    ['model!=a=b', { key: 'model', comparator: 'COMPARATOR_NOT_EQUAL', value: 'a=b' }],
    ['id="7"', { key: 'id', comparator: 'COMPARATOR_EQUAL', value: '7' }],
    ['id=007', { key: 'id', comparator: 'COMPARATOR_EQUAL', value: '007' }],
    ['note=in a, b', { key: 'note', comparator: 'COMPARATOR_EQUAL', value: 'in a, b' }],
    ['name=""', { key: 'name', comparator: 'COMPARATOR_EQUAL', value: '' }],
    ['zone in eu,us', { key: 'zone', comparator: 'COMPARATOR_IN', values: ['eu', 'us'] }],
    ['size in 1, 2', { key: 'size', comparator: 'COMPARATOR_IN', values: [1, 2] }],
    ['zone not in "a,b",c', { key: 'zone', comparator: 'COMPARATOR_NOT_IN', values: ['a,b', 'c'] }],
    ['gpu exists', { key: 'gpu', comparator: 'COMPARATOR_EXISTS' }],
    ['!spot', { key: 'spot', comparator: 'COMPARATOR_NOT_EXISTS' }],
    ['!in', { key: 'in', comparator: 'COMPARATOR_NOT_EXISTS' }],
  ])('%s', (text, expected) => {
    expect(read(text)).toEqual({ ...expected, required: true });
  });

  it.each([
    ['memory', /must be a condition/],
    ['memory=', /must be a condition/],
    ['=5', /must be a condition/],
    ['two words=5', /must be a condition/],
    ['memory>much', /Only numbers have an order/],
    ['memory>"5"', /Only numbers have an order/],
    ['memory>1e999', /too large/],
    ['name="x', /not a quoted string/],
    ['zone in ,', /list is empty/],
  ])('refuses %s', (text, message) => {
    expect(() => addLabel(text)).toThrow(message);
  });

  it('are collected, and a wish has a weight behind its last colon', () => {
    expect(addLabel('b=2', addLabel('a=1')).map(({ key }) => key)).toEqual(['a', 'b']);
    const wish = (text: string) => toJson(DesiredLabelSchema, addWish(text)[0] as never);
    const equal = { key: 'model', comparator: 'COMPARATOR_EQUAL', required: false };
    expect(wish('model=mistral:50')).toEqual({ ...equal, value: 'mistral', weight: 50 });
    expect(wish('model=mistral')).toEqual({ ...equal, value: 'mistral' });
    expect(wish('model=7:-3')).toEqual({ ...equal, value: 7, weight: -3 });
    expect(wish('model="a:80"')).toEqual({ ...equal, value: 'a:80' });
    expect(wish('model="a:80":5')).toEqual({ ...equal, value: 'a:80', weight: 5 });
    expect(() => addWish('model=a:9999999999')).toThrow(/weight must be/);
  });
});

describe('entries', () => {
  it('are split at the first equals sign', () => {
    expect(addEntry('b=', addEntry('a=1=2'))).toEqual({ a: '1=2', b: '' });
  });

  it.each(['a', '=b', '__proto__=x'])('refuses %s', (text) => {
    expect(() => addEntry(text)).toThrow();
  });
});

describe('texts for people', () => {
  it('show durations shortly', () => {
    const shown = [-5, 12, 4_250, 59_999, 60_000, 7_200_000, 200_000_000].map(shortDuration);
    expect(shown).toEqual(['0ms', '12ms', '4.2s', '59s', '1m', '2h', '2d']);
  });

  it('let nothing move the cursor', () => {
    expect(printable('a\u001b[2Jb\tc\nd\u009b')).toBe('a\ufffd[2Jb\tc\nd\ufffd');
    expect(brief('one\n two  three', 9)).toBe('one two …');
  });
});
