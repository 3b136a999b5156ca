/** What many rows say in the same words is kept once: most runs of a long queue have the same definition. */
import { type RunDefinition, readDefinition } from './run_definition.ts';

export interface Texts {
  /** The JSON as a value, the same one for equal texts; nobody may change it. */
  parsed(json: string): unknown;
  definition(json: string): RunDefinition;
  /** The same text, in memory once. */
  shared(text: string): string;
}

/** With more different ones than this, remembering them helps nobody. */
const TEXTS_MAX = 10_000;

export function createTexts(): Texts {
  const parsed = remembering((json) => JSON.parse(json) as unknown);
  return { parsed, definition: remembering(readDefinition), shared: remembering((text) => text) };
}

function remembering<T>(read: (text: string) => T): (text: string) => T {
  const known = new Map<string, T>();
  return (text) => {
    let value = known.get(text);
    if (value === undefined) {
      if (known.size === TEXTS_MAX) known.clear();
      value = read(text);
      known.set(text, value);
    }
    return value;
  };
}
