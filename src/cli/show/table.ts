/** Tables for people: columns apart by two blanks, no lines, no colours of its own. */
import Table from 'cli-table3';
import { bold } from './colour.ts';

const BLANK_CHARS = {
  top: '',
  'top-mid': '',
  'top-left': '',
  'top-right': '',
  bottom: '',
  'bottom-mid': '',
  'bottom-left': '',
  'bottom-right': '',
  left: '',
  'left-mid': '',
  mid: '',
  'mid-mid': '',
  right: '',
  'right-mid': '',
  middle: '  ',
};

const STYLE = { 'padding-left': 0, 'padding-right': 0, head: [], border: [], compact: true };

export function table(head: readonly string[], rows: readonly (readonly string[])[], colours: boolean): string {
  const drawn = new Table({ head: head.map((title) => bold(title, colours)), chars: BLANK_CHARS, style: STYLE });
  drawn.push(...rows.map((row) => [...row]));
  return lines(drawn.toString());
}

/** Names and values below each other; what is empty is left out. */
export function facts(pairs: readonly (readonly [name: string, value: string])[], colours: boolean): string {
  const drawn = new Table({ chars: BLANK_CHARS, style: STYLE });
  drawn.push(...pairs.filter(([, value]) => value !== '').map(([name, value]) => [bold(name, colours), value]));
  return lines(drawn.toString());
}

/** The last column is padded too, which helps nobody. */
function lines(text: string): string {
  return `${text.replace(/[ \t]+$/gm, '')}\n`;
}
