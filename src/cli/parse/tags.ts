/** Tags, one or more to a flag. */
import { InvalidArgumentError } from 'commander';

/** Adds one tag. A flag right behind this one would otherwise become its tag, and be lost as a flag without a word. */
export function addTag(tag: string, before: readonly string[] = []): readonly string[] {
  if (tag.startsWith('--')) throw new InvalidArgumentError(`a tag is missing before ${tag}.`);
  return [...before, tag];
}
