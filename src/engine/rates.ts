/** How often something happened lately: a ring of counts, each of a short while. */

/** What "lately" means. */
export const RATE_WINDOW_MS = 5 * 60_000;
const SLICE_MS = 10_000;
const SLICES = RATE_WINDOW_MS / SLICE_MS;
/** A rate over less time than this would only be noise. */
const SPAN_MS_MIN = SLICE_MS;

export interface Rate {
  /** By slice of time, round and round; made with the first count. */
  counts: number[];
  /** Number of the newest slice that was counted in. */
  newest: number;
}

export function createRate(): Rate {
  return { counts: [], newest: 0 };
}

export function addToRate(rate: Rate, nowMs: number): void {
  moveTo(rate, sliceAt(nowMs));
  rate.counts[rate.newest % SLICES] = (rate.counts[rate.newest % SLICES] ?? 0) + 1;
}

/** A second, over the window or, when counting began within it, since `sinceMs`. */
export function perSecond(rate: Rate, nowMs: number, sinceMs: number): number {
  if (rate.counts.length === 0) return 0;
  moveTo(rate, sliceAt(nowMs));
  const count = rate.counts.reduce((sum, one) => sum + one, 0);
  // The newest slice has only begun: the others and what has passed of it are what was counted in.
  const fromMs = Math.max(sinceMs, (rate.newest - SLICES + 1) * SLICE_MS);
  return (count * 1_000) / Math.max(SPAN_MS_MIN, nowMs - fromMs);
}

function sliceAt(nowMs: number): number {
  return Math.floor(nowMs / SLICE_MS);
}

/** Empties the slices that have passed without a count. */
function moveTo(rate: Rate, slice: number): void {
  if (rate.counts.length === 0) {
    rate.counts = new Array(SLICES).fill(0);
    rate.newest = slice;
  }
  const from = Math.max(rate.newest + 1, slice - SLICES + 1);
  for (let passed = from; passed <= slice; passed++) rate.counts[passed % SLICES] = 0;
  rate.newest = Math.max(rate.newest, slice);
}
