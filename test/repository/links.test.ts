import { execFileSync } from 'node:child_process';
import { existsSync, readFileSync } from 'node:fs';
import { dirname, join } from 'node:path';
import { describe, expect, it } from 'vitest';

const LINK = /\]\((?!https?:|mailto:)([^)#\s]+)(#[^)\s]*)?\)/g;

const documents = execFileSync('git', ['ls-files', '*.md', ':!third_party'], { encoding: 'utf8' }).trim().split('\n');

describe('the links of the documents', () => {
  it.each(documents)('%s leads to files that are there', (document) => {
    const links = [...readFileSync(document, 'utf8').matchAll(LINK)].map(([, path = '']) => path);
    expect(links.filter((path) => !existsSync(join(dirname(document), path)))).toEqual([]);
  });

  it('the README leads to every guide, and each guide to its program', () => {
    const guides = documents.filter((document) => document.startsWith('docs/from-'));
    expect(guides).toHaveLength(4);
    const readme = readFileSync('README.md', 'utf8');
    for (const guide of guides) {
      expect(readme).toContain(`(${guide})`);
      expect(readFileSync(guide, 'utf8')).toMatch(/\(\.\.\/examples\/[a-z-]+\/main\.ts\)/);
    }
  });
});
