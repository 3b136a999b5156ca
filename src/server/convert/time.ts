/** Milliseconds inside, Timestamp and Duration on the wire. */
import { type Duration, durationFromMs, durationMs, type Timestamp, timestampFromMs } from '@bufbuild/protobuf/wkt';

export function timestamp(ms: number): Timestamp {
  return timestampFromMs(Math.round(ms));
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
