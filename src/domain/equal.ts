/** When two inputs are the same: one text for every way to write the same JSON. */
import { compareText } from './text.ts';

/** What equal runs are found by, within their namespace. */
export interface EqualKey {
  /** `action:NAME` or `workflow:NAME`: what carries it out. */
  readonly target: string;
  /** Of the workflow; 0: an action. */
  readonly version: number;
  /** Digest of the canonical input, or whatever the caller gave in its place. */
  readonly contentHash: string;
}

/** `workflow`: its name; null: the run is of none, and has one step of this action. */
export function equalTarget(workflow: string | null, action: string): string {
  return workflow === null ? `action:${action}` : `workflow:${workflow}`;
}

/** The same for equal requests of one namespace, and for no others, whatever their names hold. */
export function equalKeyText(namespace: string, { target, version, contentHash }: EqualKey): string {
  return JSON.stringify([namespace, target, version, contentHash]);
}

/**
 * Well-formed JSON in one spelling: keys in order, the last of several like ones, no white space, strings and numbers
 * written in one way. Numbers keep every digit: 9007199254740993 is not 9007199254740992. `exclude` are keys of the
 * object itself, not of what it holds. What it makes is for comparing; it is not what a JSON printer would print.
 */
export function canonicalJson(text: string, exclude: ReadonlySet<string> = NONE): string {
  return readValue({ text, at: 0 }, exclude);
}

const NONE: ReadonlySet<string> = new Set();

interface Reader {
  readonly text: string;
  at: number;
}

function readValue(reader: Reader, exclude: ReadonlySet<string>): string {
  skipSpace(reader);
  const first = reader.text[reader.at];
  if (first === '{') return readObject(reader, exclude);
  if (first === '[') return readList(reader);
  if (first === '"') return JSON.stringify(readString(reader));
  const word = readWord(reader);
  return word === 'true' || word === 'false' || word === 'null' ? word : canonicalNumber(word);
}

function readObject(reader: Reader, exclude: ReadonlySet<string>): string {
  const entries = new Map<string, string>();
  reader.at += 1;
  for (skipSpace(reader); !takes(reader, '}'); takes(reader, ',')) {
    skipSpace(reader);
    const key = readString(reader);
    skipSpace(reader);
    takes(reader, ':');
    const value = readValue(reader, NONE);
    if (!exclude.has(key)) entries.set(key, value);
    skipSpace(reader);
  }
  const sorted = [...entries].sort(([a], [b]) => compareText(a, b));
  return `{${sorted.map(([key, value]) => `${JSON.stringify(key)}:${value}`).join(',')}}`;
}

function readList(reader: Reader): string {
  const items: string[] = [];
  reader.at += 1;
  for (skipSpace(reader); !takes(reader, ']'); takes(reader, ',')) {
    items.push(readValue(reader, NONE));
    skipSpace(reader);
  }
  return `[${items.join(',')}]`;
}

/** The string as it is meant: every escape is resolved, so that `"\u0061"` is `"a"`. */
function readString(reader: Reader): string {
  const from = reader.at;
  for (reader.at += 1; reader.text[reader.at] !== '"'; reader.at += 1) {
    if (reader.at >= reader.text.length) throw new Error('not JSON: a string does not end');
    if (reader.text[reader.at] === '\\') reader.at += 1;
  }
  reader.at += 1;
  return JSON.parse(reader.text.slice(from, reader.at));
}

const WORD = /[^,\]} \t\n\r]+/y;

function readWord(reader: Reader): string {
  WORD.lastIndex = reader.at;
  const word = WORD.exec(reader.text)?.[0];
  if (word === undefined) throw new Error('not JSON: a value is missing');
  reader.at += word.length;
  return word;
}

function skipSpace(reader: Reader): void {
  while (SPACES.has(reader.text[reader.at] ?? '')) reader.at += 1;
}

const SPACES = new Set([' ', '\t', '\n', '\r']);

function takes(reader: Reader, mark: string): boolean {
  if (reader.text[reader.at] !== mark) return false;
  reader.at += 1;
  return true;
}

const NUMBER = /^(-?)(\d+)(?:\.(\d+))?(?:[eE]([+-]?\d+))?$/;
/** Digits of a power of ten that are added up without loss. Longer ones are kept as they are written. */
const POWER_LENGTH_MAX = 15;

/** Its significant digits and a power of ten, `123e-2`; 1, 1.0 and 10e-1 are `1e0`, and both zeros are `0`. */
function canonicalNumber(text: string): string {
  const parts = NUMBER.exec(text);
  if (parts === null) throw new Error('not JSON: a value is neither a word of it nor a number');
  const [, sign = '', whole = '', fraction = '', power = '0'] = parts;
  const digits = whole + fraction;
  const from = firstSignificant(digits);
  const to = lastSignificant(digits);
  if (from > to) return '0';
  if (power.length > POWER_LENGTH_MAX) return text;
  const exponent = Number(power) + digits.length - 1 - to - fraction.length;
  return `${sign}${digits.slice(from, to + 1)}e${exponent}`;
}

// Loops, as an expression that looks for trailing zeros takes quadratic time over long rows of them.
function firstSignificant(digits: string): number {
  let index = 0;
  while (digits[index] === '0') index += 1;
  return index;
}

function lastSignificant(digits: string): number {
  let index = digits.length - 1;
  while (digits[index] === '0') index -= 1;
  return index;
}
