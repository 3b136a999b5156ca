/** Milliseconds inside, Timestamp and Duration on the wire. */
import type { MessageInitShape } from '@bufbuild/protobuf';
import {
  type Duration,
  durationFromMs,
  durationMs,
  type Timestamp,
  type TimestampSchema,
} from '@bufbuild/protobuf/wkt';

const MS_PER_SECOND = 1_000;
const NANOS_PER_MS = 1_000_000;

/** What a message under construction takes for a Timestamp: making one takes longer than writing it. */
type Time = MessageInitShape<typeof TimestampSchema>;

/** Never later than it was: what is asked for from its own time on is found. */
export function timestamp(ms: number): Time {
  const wholeMs = Math.floor(ms);
  const seconds = Math.floor(wholeMs / MS_PER_SECOND);
  return { seconds: BigInt(seconds), nanos: (wholeMs - seconds * MS_PER_SECOND) * NANOS_PER_MS };
}

/** Seconds of the first and last moment a Timestamp may name, the years 1 to 9999; the store holds those, and not all beyond. */
const SECONDS_MIN = -62_135_596_800n;
const SECONDS_MAX = 253_402_300_799n;

export function isPossibleTime({ seconds }: Timestamp): boolean {
  return seconds >= SECONDS_MIN && seconds <= SECONDS_MAX;
}

/** For a message under construction: nothing when there is no time. */
export function optionalTime<K extends string>(field: K, ms: number | null): { [P in K]?: Time } {
  return ms === null ? {} : ({ [field]: timestamp(ms) } as { [P in K]: Time });
}

/** The same for a message that is made often: a literal with a spread in it costs more than all its other fields. */
export function timeOrNone(ms: number | null): Time | undefined {
  return ms === null ? undefined : timestamp(ms);
}

export function duration(ms: number): Duration {
  return durationFromMs(ms);
}

export function durationOrNull(value: Duration | undefined): number | null {
  return value === undefined ? null : durationMs(value);
}
