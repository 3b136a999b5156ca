/** What a benchmark found, and what it was to find. */
import type { Site } from './site.ts';
import type { Summary } from './statistics.ts';

export type Figures = Readonly<Record<string, number>>;

export interface Target {
  readonly what: string;
  readonly value: number;
  readonly limit: number;
  readonly isMet: boolean;
}

export interface Findings {
  readonly figures: Figures;
  readonly targets: readonly Target[];
}

/** `smoke`: so small that it only shows that it runs. */
export type Bench = (site: Site, smoke: boolean) => Promise<Findings>;

export function atMost(what: string, value: number, limit: number): Target {
  return { what: `${what} ≤ ${limit}`, value, limit, isMet: value <= limit };
}

export function atLeast(what: string, value: number, limit: number): Target {
  return { what: `${what} ≥ ${limit}`, value, limit, isMet: value >= limit };
}

/** A latency as three figures. */
export function latencyFigures(who: string, { p50, p99, p999 }: Summary, unit = 'ms'): Figures {
  return { [`${who} p50 ${unit}`]: p50, [`${who} p99 ${unit}`]: p99, [`${who} p99.9 ${unit}`]: p999 };
}

export function printFindings(name: string, { figures, targets }: Findings, smoke: boolean): void {
  console.log(`\n${name}${smoke ? ' (smoke round: it runs; too small to mean anything)' : ''}`);
  for (const [figure, value] of Object.entries(figures)) console.log(`  ${figure.padEnd(44)} ${write(value)}`);
  if (smoke) return;
  for (const { what, value, isMet } of targets) {
    console.log(`  target: ${what.padEnd(36)} ${write(value)}  ${isMet ? 'met' : 'MISSED'}`);
  }
}

/** A whole number with its thousands apart. */
export function grouped(count: number): string {
  return count.toLocaleString('en-US').replaceAll(',', ' ');
}

function write(value: number): string {
  return value >= 1_000 ? grouped(Math.round(value)) : value.toFixed(3);
}
