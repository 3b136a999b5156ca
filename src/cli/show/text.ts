/** Small texts for people. */
import type { JsonObject } from '@bufbuild/protobuf';
import { type Timestamp, timestampMs } from '@bufbuild/protobuf/wkt';

const SECOND_MS = 1_000;
const MINUTE_MS = 60 * SECOND_MS;
const HOUR_MS = 60 * MINUTE_MS;
const DAY_MS = 24 * HOUR_MS;
/** Below this a tenth of a second matters. */
const TENTHS_MS_MAX = 10 * SECOND_MS;

/**
 * Text of others, made harmless: what a worker logs must not move the cursor of whoever reads it. Line breaks and tabs
 * stay.
 */
export function printable(text: string): string {
  return text.replace(/[\u0000-\u0008\u000b-\u001f\u007f-\u009f]/g, '\ufffd');
}

/** On one line, at most so many characters. */
export function brief(text: string, charactersMax: number): string {
  const line = printable(text.replace(/\s+/g, ' ').trim());
  const characters = [...line];
  return characters.length <= charactersMax ? line : `${characters.slice(0, charactersMax - 1).join('')}…`;
}

/** 350ms, 4.2s, 12s, 3m, 5h, 9d. */
export function shortDuration(ms: number): string {
  if (ms < 0) return '0ms';
  if (ms < SECOND_MS) return `${Math.round(ms)}ms`;
  if (ms < TENTHS_MS_MAX) return `${(Math.floor(ms / 100) / 10).toFixed(1)}s`;
  if (ms < MINUTE_MS) return `${Math.floor(ms / SECOND_MS)}s`;
  if (ms < HOUR_MS) return `${Math.floor(ms / MINUTE_MS)}m`;
  if (ms < DAY_MS) return `${Math.floor(ms / HOUR_MS)}h`;
  return `${Math.floor(ms / DAY_MS)}d`;
}

/** How long ago; empty for a time that is not set. A clock that differs from the server's makes it no less than 0. */
export function age(time: Timestamp | undefined, nowMs: number): string {
  return time === undefined ? '' : shortDuration(nowMs - timestampMs(time));
}

/** From one time to the other; empty when one of them is not set. */
export function between(from: Timestamp | undefined, to: Timestamp | undefined): string {
  return from === undefined || to === undefined ? '' : shortDuration(timestampMs(to) - timestampMs(from));
}

export function labelsText(labels: JsonObject | undefined): string {
  return Object.entries(labels ?? {})
    .map(([key, value]) => `${key}=${value}`)
    .join(' ');
}

/** `40 % loading: weights`, with what there is of it. */
export function progressText(fraction: number | undefined, phase: string, text: string): string {
  const share = fraction === undefined ? '' : `${Math.floor(fraction * 100)} %`;
  return [share, [phase, text].filter((part) => part !== '').join(': ')].filter((part) => part !== '').join(' ');
}
