/** Labels, as a person writes them on the command line and a command into a file. */
import type { LabelPatch, LabelValue } from '../../worker/index.ts';

const LABEL = /^\s*([^=]*[^=\s])\s*=\s*(.*?)\s*$/s;
const NUMBER = /^-?(0|[1-9]\d*)(\.\d+)?([eE][+-]?\d+)?$/;

/** Throws an Error for a person. `memory=512` is a number, `model=llama` and `version="12"` are texts, `model=` removes. */
export function parseLabel(text: string): LabelPatch {
  const [, key, value = ''] = LABEL.exec(text) ?? [];
  if (key !== undefined) return { [key]: labelValue(value) };
  throw new Error(
    `${JSON.stringify(text)} is no label; write key=value, and key="12" for a text that looks like a number`,
  );
}

function labelValue(text: string): LabelValue | null {
  if (text === '') return null;
  if (NUMBER.test(text) && Number.isFinite(Number(text))) return Number(text);
  return text.startsWith('"') ? quoted(text) : text;
}

function quoted(text: string): string {
  try {
    return String(JSON.parse(text));
  } catch {
    throw new Error(`${text} begins with a quotation mark and is no text in quotation marks`);
  }
}
