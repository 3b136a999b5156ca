/** A token bucket: so many per second, with one second's worth in reserve. Pure. */
export interface Pace {
  /** 0: go ahead; else how long to wait before the same may come again, milliseconds. */
  take(count: number, nowMs: number): number;
}

export function createPace(perSecond: number, nowMs: number): Pace {
  let tokens = perSecond;
  let filledMs = nowMs;
  return {
    take(count, now) {
      tokens = Math.min(perSecond, tokens + ((now - filledMs) * perSecond) / 1000);
      filledMs = now;
      // More than a second's worth at once goes through on a full bucket, or it never could.
      const needed = Math.min(count, perSecond);
      if (tokens >= needed) {
        tokens -= count;
        return 0;
      }
      return Math.ceil(((needed - tokens) * 1000) / perSecond);
    },
  };
}
