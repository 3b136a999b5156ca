/** The end of what a command has printed, for the message of its failure. */
import { cutToCharacters } from '../../worker/text.ts';

const LINES_MAX = 20;
const LINE_CHARACTERS_MAX = 500;
/** An error message travels with at most 8 KiB; a character takes at most three bytes per unit of UTF-16. */
const CHARACTERS_MAX = 2_400;

export class LastLines {
  #lines: string[] = [];

  add(line: string): void {
    this.#lines.push(cutToCharacters(line, LINE_CHARACTERS_MAX));
    if (this.#lines.length > LINES_MAX) this.#lines.shift();
  }

  get isEmpty(): boolean {
    return this.#lines.every((line) => line.trim() === '');
  }

  /** Oldest first; of too much text the end is kept. */
  text(): string {
    const kept: string[] = [];
    let characters = 0;
    for (const line of this.#lines.toReversed()) {
      characters += line.length + 1;
      if (characters > CHARACTERS_MAX) break;
      kept.unshift(line);
    }
    return kept.join('\n');
  }
}
