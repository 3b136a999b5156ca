/** Milliseconds inside, Timestamp and Duration on the wire. */
import { type Duration, durationFromMs, durationMs, type Timestamp, timestampFromMs } from '@bufbuild/protobuf/wkt';

/** Never later than it was: what is asked for from its own time on is found. */
export function timestamp(ms: number): Timestamp {
  return timestampFromMs(Math.floor(ms));
}

/** Seconds of the first and last moment a Timestamp may name, the years 1 to 9999; the store holds those, and not all beyond. */
const SECONDS_MIN = -62_135_596_800n;
const SECONDS_MAX = 253_402_300_799n;

export function isPossibleTime({ seconds }: Timestamp): boolean {
  return seconds >= SECONDS_MIN && seconds <= SECONDS_MAX;
}

/** For a message under construction: nothing when there is no time. */
export function optionalTime<K extends string>(field: K, ms: number | null): { [P in K]?: Timestamp } {
  return ms === null ? {} : ({ [field]: timestamp(ms) } as { [P in K]: Timestamp });
}

export function duration(ms: number): Duration {
  return durationFromMs(ms);
}

export function durationOrNull(value: Duration | undefined): number | null {
  return value === undefined ? null : durationMs(value);
}
