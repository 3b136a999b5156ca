/** Percentiles of measured times. */

export interface Summary {
  readonly p50: number;
  readonly p99: number;
  readonly p999: number;
}

function percentile(sorted: readonly number[], share: number): number {
  return sorted[Math.min(sorted.length - 1, Math.floor(sorted.length * share))] ?? Number.NaN;
}

const inOrder = (values: readonly number[]) => [...values].sort((a, b) => a - b);

export function summarise(values: readonly number[]): Summary {
  const sorted = inOrder(values);
  return { p50: percentile(sorted, 0.5), p99: percentile(sorted, 0.99), p999: percentile(sorted, 0.999) };
}

export function median(values: readonly number[]): number {
  return percentile(inOrder(values), 0.5);
}

/** Each figure of a latency: the median of what it was in the rounds. */
export function medianOfRounds(rounds: readonly (readonly number[])[]): Summary {
  const summaries = rounds.map(summarise);
  const of = (figure: keyof Summary) => median(summaries.map((summary) => summary[figure]));
  return { p50: of('p50'), p99: of('p99'), p999: of('p999') };
}
