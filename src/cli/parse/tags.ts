/** Options that take one or more values to a flag. */
import { InvalidArgumentError } from 'commander';

export const addTag = adding('a tag');
export const addRunId = adding('the id of a run');

/** Adds one value. A flag right behind this one would otherwise become its value, and be lost as a flag without a word. */
function adding(what: string): (text: string, before?: readonly string[]) => readonly string[] {
  return (text, before = []) => {
    if (text.startsWith('--')) throw new InvalidArgumentError(`${what} is missing before ${text}.`);
    return [...before, text];
  };
}
