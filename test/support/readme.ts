import { readFileSync } from 'node:fs';

/** The n-th code block of the README in that language ('' = without one), word for word. */
export function readmeBlock(language: string, index: number): string {
  const blocks = [...readFileSync('README.md', 'utf8').matchAll(/^```(\w*)\n([\s\S]*?)^```/gm)];
  const found = blocks.filter(([, name]) => name === language)[index]?.[2];
  if (found === undefined) throw new Error(`README.md has no block ${index} in "${language}"`);
  return found;
}
