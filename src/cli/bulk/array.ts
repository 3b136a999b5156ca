/** The elements of a JSON array that arrives piece by piece, each as the exact text it was written as. */
import { UsageError } from '../failure.ts';
import type { Splitter } from './entries.ts';

const SPACE = /^[ \t\r\n]*$/;

/** Only finds where an element ends; whether it is JSON is for the parser to say. */
export class ArraySplitter implements Splitter {
  #place: 'before' | 'inside' | 'after' = 'before';
  /** What was read of the element under way. */
  #element = '';
  #depth = 0;
  #inString = false;
  #isEscaped = false;
  #found = 0;

  get waiting(): number {
    return this.#element.length;
  }

  *push(text: string): Generator<string, void> {
    let from = 0;
    for (let index = 0; index < text.length; index += 1) {
      const character = text.charAt(index);
      if (this.#place !== 'inside') {
        this.#outside(character);
        from = index + 1;
      } else if (this.#ends(character)) {
        yield* this.#take(text.slice(from, index), character === ']');
        from = index + 1;
      }
    }
    if (this.#place === 'inside') this.#element += text.slice(from);
  }

  end(): readonly string[] {
    if (this.#place === 'before') throw new UsageError('the JSON array does not begin with [');
    if (this.#place === 'inside') throw new UsageError('the JSON array does not end: its ] is missing');
    return [];
  }

  #outside(character: string): void {
    if (this.#place === 'before' && character === '[') this.#place = 'inside';
    else if (!SPACE.test(character)) {
      throw new UsageError(
        this.#place === 'before'
          ? 'the JSON array does not begin with ['
          : 'something follows the end of the JSON array',
      );
    }
  }

  /** The character is a comma between elements, or the end of the array. */
  #ends(character: string): boolean {
    if (this.#inString) {
      if (this.#isEscaped) this.#isEscaped = false;
      else if (character === '\\') this.#isEscaped = true;
      else if (character === '"') this.#inString = false;
      return false;
    }
    if (character === '"') this.#inString = true;
    else if (character === '[' || character === '{') this.#depth += 1;
    else if (this.#depth === 0) return character === ',' || character === ']';
    else if (character === ']' || character === '}') this.#depth -= 1;
    return false;
  }

  *#take(rest: string, isLast: boolean): Generator<string, void> {
    const element = this.#element + rest;
    this.#element = '';
    if (isLast) this.#place = 'after';
    const isEmptyArray = isLast && this.#found === 0 && SPACE.test(element);
    if (isEmptyArray) return;
    this.#found += 1;
    yield element.trim();
  }
}
