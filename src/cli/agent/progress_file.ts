/** `YARDMASTER_PROGRESS`: the last line of the file is the progress of the step. */
import type { Progress } from '../../worker/index.ts';
import { WatchedFile } from './watched_file.ts';

const FRACTION = /^(0(?:\.\d+)?|1(?:\.0+)?|0?\.\d+)(?:\s+(.*))?$/s;
const PERCENT = /^(\d{1,2}(?:\.\d+)?|100)%(?:\s+(.*))?$/s;

/** `0.5 training epoch 3`, `50% training epoch 3`, `{"fraction": 0.5, "text": "…", "phase": "…"}`, or any other text. */
export function parseProgress(line: string): Progress {
  const text = line.trim();
  const [, fraction, after] = FRACTION.exec(text) ?? [];
  if (fraction !== undefined) return withText(Number(fraction), after);
  const [, percent, rest] = PERCENT.exec(text) ?? [];
  if (percent !== undefined) return withText(Number(percent) / 100, rest);
  return (text.startsWith('{') ? fromJson(text) : undefined) ?? { text };
}

function withText(fraction: number, text: string | undefined): Progress {
  return text === undefined ? { fraction } : { fraction, text };
}

function fromJson(line: string): Progress | undefined {
  try {
    const { fraction, text, phase } = JSON.parse(line) as Record<string, unknown>;
    return {
      ...(typeof fraction === 'number' ? { fraction } : {}),
      ...(typeof text === 'string' ? { text } : {}),
      ...(typeof phase === 'string' ? { phase } : {}),
    };
  } catch {
    return undefined;
  }
}

export class ProgressFile {
  readonly #file: WatchedFile;
  readonly #report: (progress: Progress) => void;
  #reported = '';

  constructor(path: string, report: (progress: Progress) => void) {
    this.#file = new WatchedFile(path);
    this.#report = report;
  }

  async look(last: boolean): Promise<void> {
    const line = (await this.#file.look(last))?.at(-1);
    // The same words again are a sign of life while the command runs, and nothing new afterwards.
    if (line === undefined || (last && line === this.#reported)) return;
    this.#reported = line;
    this.#report(parseProgress(line));
  }
}
