/** `key=value` options that may be given several times. */
import { InvalidArgumentError } from 'commander';

export type Entries = Readonly<Record<string, string>>;

export function addEntry(text: string, before: Entries = {}): Entries {
  const at = text.indexOf('=');
  if (at < 1) throw new InvalidArgumentError('It must be key=value.');
  const key = text.slice(0, at);
  // An entry of this name would set the object's prototype and be lost.
  if (key === '__proto__') throw new InvalidArgumentError(`${key} is not a usable key.`);
  return { ...before, [key]: text.slice(at + 1) };
}
