/** `npm run simulate -- [--seeds 1000] [--from 1] [--seed N]`: with --seed, that one, with its trace. */
import { parseArgs } from 'node:util';
import { type Report, simulate } from './simulation.ts';

const { values } = parseArgs({
  options: {
    seeds: { type: 'string', default: '500' },
    from: { type: 'string', default: '1' },
    seed: { type: 'string' },
  },
});

const HOUR_MS = 3_600_000;
const write = (text: string) => process.stdout.write(`${text}\n`);

async function one(seed: number): Promise<Report> {
  const report = await simulate(seed, true);
  for (const line of report.lines) write(line);
  write(`\nseed ${seed}: trace ${report.hash}, ${report.events} events, ${report.runs} runs`);
  return report;
}

// Thrown where nobody could catch it, in a microtask of the code under test.
let running = 0;
process.on('uncaughtException', (error) => {
  write(`\nSEED ${running} FAILED: ${error.stack}`);
  process.exit(1);
});

async function many(from: number, count: number): Promise<Report[]> {
  const reports: Report[] = [];
  for (let seed = from; seed < from + count; seed++) {
    running = seed;
    const report = await simulate(seed);
    reports.push(report);
    if (report.failure !== null) break;
  }
  return reports;
}

function summarize(reports: readonly Report[], tookMs: number): void {
  const sum = (of: (report: Report) => number) => reports.reduce((total, report) => total + of(report), 0);
  const faults = new Map<string, number>();
  for (const report of reports) {
    for (const [name, count] of report.faults) faults.set(name, (faults.get(name) ?? 0) + count);
  }
  write(
    `${reports.length} seeds in ${(tookMs / 1000).toFixed(1)} s; ${(sum((one) => one.simulatedMs) / HOUR_MS).toFixed(1)} simulated hours`,
  );
  write(
    `${sum(({ runs }) => runs)} runs, ${sum(({ executions }) => executions)} executions, ${sum(({ successes }) => successes)} successes, ${sum(({ scheduleTimeouts }) => scheduleTimeouts)} schedule timeouts`,
  );
  write(`${[...faults.values()].reduce((a, b) => a + b, 0)} faults:`);
  for (const [name, count] of [...faults].sort(([a], [b]) => (a < b ? -1 : 1))) write(`  ${name.padEnd(26)} ${count}`);
}

const beganMs = performance.now();
const reports =
  values.seed === undefined ? await many(Number(values.from), Number(values.seeds)) : [await one(Number(values.seed))];
const failed = reports.find(({ failure }) => failure !== null);
summarize(reports, performance.now() - beganMs);
if (failed === undefined) {
  write('lost 0, double-accepted 0, every promise kept');
} else {
  write(`\nSEED ${failed.seed} FAILED after ${(failed.simulatedMs / 1000).toFixed(1)} s: ${failed.failure}`);
  write(`replay it with: npm run simulate -- --seed ${failed.seed}`);
  process.exitCode = 1;
}
