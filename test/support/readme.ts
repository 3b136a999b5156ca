import { readFileSync } from 'node:fs';

/** The n-th code block of a README in that language ('' = without one), word for word. */
export function readmeBlock(language: string, index: number, file = 'README.md'): string {
  const blocks = [...readFileSync(file, 'utf8').matchAll(/^```(\w*)\n([\s\S]*?)^```/gm)];
  const found = blocks.filter(([, name]) => name === language)[index]?.[2];
  if (found === undefined) throw new Error(`${file} has no block ${index} in "${language}"`);
  return found;
}
