/** Durations as people write them: `500ms`, `30s`, `1h30m`. */
import type { Duration } from '@bufbuild/protobuf/wkt';
import { durationFromMs } from '@bufbuild/protobuf/wkt';
import { InvalidArgumentError } from 'commander';

const SECOND_MS = 1_000;
const MINUTE_MS = 60 * SECOND_MS;
const HOUR_MS = 60 * MINUTE_MS;
const DAY_MS = 24 * HOUR_MS;

/** In the order in which they have to stand, largest first. */
const UNITS: readonly (readonly [unit: string, ms: number])[] = [
  ['d', DAY_MS],
  ['h', HOUR_MS],
  ['m', MINUTE_MS],
  ['s', SECOND_MS],
  ['ms', 1],
];

const DURATION = new RegExp(`^${UNITS.map(([unit]) => `(?:(\\d+(?:\\.\\d+)?)${unit})?`).join('')}$`);
/** What google.protobuf.Duration holds: about 10 000 years. */
const DURATION_MS_MAX = 315_576_000_000 * SECOND_MS;

/** For an option whose value is a duration. */
export function parseDuration(text: string): Duration {
  return durationFromMs(durationMs(text));
}

function durationMs(text: string): number {
  if (text === '0') return 0;
  const found = DURATION.exec(text);
  if (text === '' || found === null) {
    throw new InvalidArgumentError('It must be a duration like 500ms, 30s, 5m or 1h30m.');
  }
  const ms = UNITS.reduce((sum, [, unitMs], index) => sum + Number(found[index + 1] ?? 0) * unitMs, 0);
  if (ms > DURATION_MS_MAX) throw new InvalidArgumentError('It must be at most 10000 years.');
  return Math.round(ms);
}
