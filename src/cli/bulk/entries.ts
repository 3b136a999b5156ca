/** What a file of inputs holds, one entry a run, without ever holding the file. */
import { UsageError } from '../failure.ts';
import { ArraySplitter } from './array.ts';
import { LineSplitter } from './lines.ts';

export const FORMATS = ['array', 'lines', 'text'] as const;
/** A JSON array of inputs, an input as JSON on each line, or lines that are the inputs, as strings. */
export type Format = (typeof FORMATS)[number];

/** Longer ones are refused here: no server takes such a message, and what is held of the file stays small. */
const ENTRY_CHARACTERS_MAX = 8 * 1024 * 1024;

/** A comma or a line break. */
const SEPARATOR_BYTES = 1;

const BY_ENDING: readonly (readonly [ending: string, format: Format])[] = [
  ['.jsonl', 'lines'],
  ['.ndjson', 'lines'],
  ['.txt', 'text'],
];

export interface Entry {
  /** 1, 2, 3 …; blank lines do not count. */
  readonly number: number;
  /** The input, as exact JSON. */
  readonly inputJson: string;
  /** What it took of the file, with what is between it and the next, in about. */
  readonly bytes: number;
}

export interface Splitter {
  /** Characters of an entry whose end has not come yet. */
  readonly waiting: number;
  push(text: string): Iterable<string>;
  end(): Iterable<string>;
}

/**
 * The entries of `chunks`, which are UTF-8, in order. Without a format the name's ending says it, else the first
 * character: `[` an array, `{` or `"` JSON lines, anything else text. Throws a UsageError that names the entry.
 */
export async function* entriesOf(
  name: string,
  chunks: AsyncIterable<Uint8Array>,
  format?: Format,
): AsyncGenerator<Entry, void> {
  let known = format ?? BY_ENDING.find(([ending]) => name.endsWith(ending))?.[1];
  let splitter: Splitter | undefined;
  let number = 0;
  function* entries(texts: Iterable<string>): Generator<Entry, void> {
    for (const text of texts) {
      if (known !== 'array' && text.trim() === '') continue;
      number += 1;
      const bytes = Buffer.byteLength(text) + SEPARATOR_BYTES;
      yield { number, inputJson: known === 'text' ? JSON.stringify(text) : json(text, number), bytes };
    }
  }
  let blank = '';
  for await (const text of decoded(chunks)) {
    if (splitter === undefined) {
      blank += text;
      known ??= formatOf(blank);
      if (known === undefined) continue;
      splitter = known === 'array' ? new ArraySplitter() : new LineSplitter();
      yield* entries(splitter.push(blank));
    } else yield* entries(splitter.push(text));
    if (splitter.waiting > ENTRY_CHARACTERS_MAX) {
      throw new UsageError(`entry ${number + 1} has more than ${ENTRY_CHARACTERS_MAX} characters`);
    }
  }
  if (splitter !== undefined) yield* entries(splitter.end());
}

/** undefined: nothing but space so far. */
function formatOf(start: string): Format | undefined {
  const first = start.trimStart().charAt(0);
  if (first === '') return undefined;
  if (first === '[') return 'array';
  return first === '{' || first === '"' ? 'lines' : 'text';
}

function json(text: string, number: number): string {
  const exact = text.trim();
  try {
    JSON.parse(exact);
    return exact;
  } catch (error) {
    throw new UsageError(`entry ${number} is not JSON: ${(error as Error).message}`);
  }
}

async function* decoded(chunks: AsyncIterable<Uint8Array>): AsyncGenerator<string, void> {
  const decoder = new TextDecoder('utf-8', { fatal: true });
  try {
    for await (const chunk of chunks) yield decoder.decode(chunk, { stream: true });
    yield decoder.decode();
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code !== 'ERR_ENCODING_INVALID_ENCODED_DATA') throw error;
    throw new UsageError('it is not UTF-8 text');
  }
}
