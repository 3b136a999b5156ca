import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { batchesOf } from '../../src/cli/bulk/batches.ts';
import { type Entry, entriesOf, type Format } from '../../src/cli/bulk/entries.ts';

async function* pieces(text: string, size: number): AsyncGenerator<Uint8Array, void> {
  const bytes = Buffer.from(text);
  for (let from = 0; from < bytes.length; from += size) yield bytes.subarray(from, from + size);
}

async function inputs(name: string, text: string, { size = 7, format }: { size?: number; format?: Format } = {}) {
  const found: string[] = [];
  for await (const { inputJson, number } of entriesOf(name, pieces(text, size), format)) {
    found.push(inputJson);
    expect(number).toBe(found.length);
  }
  return found;
}

const LOCAL = fc.json({ maxDepth: 3 });

describe('the entries of a file', () => {
  it('an array in pieces of any size gives its elements as they were written', async () => {
    await fc.assert(
      fc.asyncProperty(fc.array(LOCAL, { maxLength: 8 }), fc.integer({ min: 1, max: 40 }), async (elements, size) => {
        expect(await inputs('a.json', `\n [ ${elements.join(' ,\r\n')}\t] \n`, { size })).toEqual(
          elements.length === 0 ? [] : elements,
        );
      }),
      { numRuns: 300 },
    );
  });

  it('lines in pieces of any size give their JSON, without those that are blank', async () => {
    await fc.assert(
      fc.asyncProperty(fc.array(LOCAL, { maxLength: 8 }), fc.integer({ min: 1, max: 40 }), async (elements, size) => {
        expect(await inputs('a.jsonl', elements.join('\r\n\n'), { size })).toEqual(elements);
      }),
      { numRuns: 300 },
    );
  });

  it('keeps digits, order of keys and characters of several bytes', async () => {
    const odd = '{"b":9007199254740993,"a":"é😀]\\"[,"}';
    for (const size of [1, 2, 3, 5, 1000]) {
      expect(await inputs('a.json', `[${odd},[],"]",{}]`, { size })).toEqual([odd, '[]', '"]"', '{}']);
      expect(await inputs('a.txt', 'é😀\nzwei "drei"\r\n', { size })).toEqual(['"é😀"', '"zwei \\"drei\\""']);
    }
  });

  it.each([
    ['x.jsonl', '[1]\n[2]\n', ['[1]', '[2]']],
    ['x.ndjson', '1\n2', ['1', '2']],
    ['x.txt', '[1]\n  {\n\n', ['"[1]"', '"  {"']],
    ['x.json', '[1,2]', ['1', '2']],
    ['-', '  \n [1,\n2]', ['1', '2']],
    ['-', '\n{"a":1}\n{"a":2}', ['{"a":1}', '{"a":2}']],
    ['-', 'one\ntwo', ['"one"', '"two"']],
    ['-', '\ufeffone\n', ['"one"']],
    ['-', '', []],
    ['x.json', ' \n ', []],
    ['x.json', '[ ]', []],
  ])('%s with %j', async (name, text, expected) => {
    expect(await inputs(name, text)).toEqual(expected);
  });

  it('the format that is given goes before the name', async () => {
    expect(await inputs('x.txt', '{"a":1}', { format: 'lines' })).toEqual(['{"a":1}']);
    expect(await inputs('x.json', '[1,2]', { format: 'text' })).toEqual(['"[1,2]"']);
  });

  it.each([
    ['x.jsonl', '{"a":1}\n{"a":\n', 'entry 2 is not JSON'],
    ['x.json', '[1,,2]', 'entry 2 is not JSON'],
    ['x.json', '[1,]', 'entry 2 is not JSON'],
    ['x.json', '[{"a":1]]', 'entry 1 is not JSON'],
    ['x.json', '[1', 'its ] is missing'],
    ['x.json', '[1] x', 'something follows'],
  ])('refuses %s with %j', async (name, text, message) => {
    await expect(inputs(name, text)).rejects.toThrow(message);
  });

  it('refuses an array that is none, bytes that are no text, and an entry without an end', async () => {
    await expect(inputs('-', '{}', { format: 'array' })).rejects.toThrow('does not begin with [');
    async function* broken() {
      yield Buffer.from([0x61, 0xff, 0x61]);
    }
    const read = async (chunks: AsyncIterable<Uint8Array>) => {
      for await (const _entry of entriesOf('x.txt', chunks)) throw new Error('there is an entry');
    };
    await expect(read(broken())).rejects.toThrow('not UTF-8');
    async function* endless() {
      for (;;) yield Buffer.alloc(1024 * 1024, 'x');
    }
    await expect(read(endless())).rejects.toThrow('entry 1 has more than');
  });
});

describe('batches', () => {
  async function* entries(lengths: readonly number[]): AsyncGenerator<Entry, void> {
    for (const [index, length] of lengths.entries())
      yield { number: index + 1, inputJson: 'x'.repeat(length), bytes: length };
  }

  async function sizes(lengths: readonly number[], runsMax: number, bytesMax: number) {
    const found: number[] = [];
    for await (const batch of batchesOf(entries(lengths), { runsMax, bytesMax, runBytes: 10 }))
      found.push(batch.length);
    return found;
  }

  it('are bounded by runs and by bytes, and one that is too large goes alone', async () => {
    expect(await sizes([], 3, 100)).toEqual([]);
    expect(await sizes([0, 0, 0, 0, 0, 0, 0], 3, 100)).toEqual([3, 3, 1]);
    expect(await sizes([40, 40, 40], 3, 100)).toEqual([2, 1]);
    expect(await sizes([1, 500, 1, 1], 3, 100)).toEqual([1, 1, 2]);
  });

  it('read no further than they have to: what is held does not grow with the file', async () => {
    const line = `"${'x'.repeat(1_000)}"\n`;
    let read = 0;
    async function* endless(): AsyncGenerator<Uint8Array, void> {
      for (;;) {
        read += 64;
        yield Buffer.from(line.repeat(64));
      }
    }
    const limits = { runsMax: 1_000, bytesMax: 100_000, runBytes: 10 };
    let taken = 0;
    for await (const batch of batchesOf(entriesOf('endless.jsonl', endless()), limits)) {
      taken += batch.length;
      expect(read - taken).toBeLessThanOrEqual(65);
      if (taken > 5_000) break;
    }
  });
});
