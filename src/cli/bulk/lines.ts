/** The lines of a text that arrives piece by piece. */
import type { Splitter } from './entries.ts';

export class LineSplitter implements Splitter {
  #line = '';

  get waiting(): number {
    return this.#line.length;
  }

  *push(text: string): Generator<string, void> {
    const lines = text.split('\n');
    const rest = lines.pop() ?? '';
    for (const line of lines) {
      yield withoutReturn(this.#line + line);
      this.#line = '';
    }
    this.#line += rest;
  }

  *end(): Generator<string, void> {
    if (this.#line !== '') yield withoutReturn(this.#line);
  }
}

function withoutReturn(line: string): string {
  return line.endsWith('\r') ? line.slice(0, -1) : line;
}
