/** `npm run chaos -- [--minutes 2] [--runs 5000] [--seed N] [--keep]`: real processes, killed and stopped at random. */
import { chmodSync, mkdtempSync, realpathSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { parseArgs } from 'node:util';
import { type RoundReport, round } from './round.ts';

const { values } = parseArgs({
  options: {
    minutes: { type: 'string', default: '2' },
    runs: { type: 'string', default: '5000' },
    seed: { type: 'string' },
    keep: { type: 'boolean', default: false },
  },
});

const SEEDS = 1_000_000;
const SHOWN_MAX = 20;
/** Starting, settling and stopping; whoever takes longer hangs. */
const BESIDES_MS_MAX = 300_000;

const minutes = numberOf('--minutes', values.minutes);
const runs = numberOf('--runs', values.runs);
const seed = values.seed === undefined ? Math.floor(Math.random() * SEEDS) : numberOf('--seed', values.seed);
const write = (text: string) => process.stdout.write(`${text}\n`);

function numberOf(flag: string, text: string): number {
  const number = Number(text);
  if (text !== '' && Number.isFinite(number) && number >= 0) return number;
  process.stderr.write(`${flag}: "${text}" is not a number\n`);
  process.exit(2);
}

/** PostgreSQL's user has to get there, also when we are root. */
function newFolder(): string {
  const folder = mkdtempSync(join(tmpdir(), 'yardmaster-chaos-'));
  chmodSync(folder, 0o755);
  return folder;
}

function printReport({ faults, repeats, findings, rows, ...report }: RoundReport): void {
  const outcomes = countBy(rows.attempts.map(({ outcome }) => outcome));
  write(`\n${[...faults.values()].reduce((a, b) => a + b, 0)} faults:`);
  for (const [name, count] of [...faults].sort(([a], [b]) => (a < b ? -1 : 1))) write(`  ${name.padEnd(30)} ${count}`);
  write(
    `${rows.runs.length} runs, ${rows.steps.length} steps, ${report.executions} executions; ended without success: ${listOf(outcomes)}`,
  );
  write(`${report.takeovers} takeovers, ${rows.epoch} epochs, ${report.workerProcesses} worker processes`);
  write(`calls repeated by the submitter: ${listOf(repeats)}`);
  write(`${findings.lines} log lines; all ended ${(report.settledMs / 1_000).toFixed(1)} s after the faults`);
}

function countBy(names: readonly string[]): Map<string, number> {
  const counts = new Map<string, number>();
  for (const name of names) counts.set(name, (counts.get(name) ?? 0) + 1);
  return counts;
}

function listOf(counts: ReadonlyMap<string, number>): string {
  return counts.size === 0 ? 'none' : [...counts].map(([name, count]) => `${count} ${name}`).join(', ');
}

function printProblems(what: string, problems: readonly string[]): void {
  for (const problem of problems.slice(0, SHOWN_MAX)) write(`  ${what}: ${problem}`);
  if (problems.length > SHOWN_MAX) write(`  ${what}: … and ${problems.length - SHOWN_MAX} more`);
}

function judge({ findings, violations }: RoundReport): boolean {
  const others = [...violations, ...findings.violations];
  printProblems('lost', findings.lost);
  printProblems('accepted twice', findings.doubleAccepted);
  printProblems('wrong', others);
  const counts = `lost ${findings.lost.length}, double-accepted ${findings.doubleAccepted.length}`;
  write(`${counts}, ${others.length === 0 ? 'every journal agrees' : `${others.length} other violations`}`);
  return findings.lost.length + findings.doubleAccepted.length + others.length === 0;
}

function removeFolder(folder: string): void {
  // Where PostgreSQL's user could not get to it, the data is elsewhere, and a link leads there.
  rmSync(realpathSync(join(folder, 'data')), { recursive: true, force: true });
  rmSync(folder, { recursive: true, force: true });
}

async function main(): Promise<number> {
  const folder = newFolder();
  const over = new AbortController();
  for (const signal of ['SIGINT', 'SIGTERM'] as const) process.once(signal, () => over.abort(new Error(signal)));
  setTimeout(() => over.abort(new Error('it takes too long')), minutes * 60_000 + BESIDES_MS_MAX).unref();
  write(`seed ${seed}: ${minutes} min, ${runs} runs; logs, journals and data in ${folder}`);
  try {
    const options = { seed, forMs: minutes * 60_000, runs, folder, signal: over.signal, say: write };
    const report = await round(options);
    printReport(report);
    if (judge(report)) {
      if (!values.keep) removeFolder(folder);
      return 0;
    }
  } catch (error) {
    write(`\nthe round could not be brought to its end: ${error instanceof Error ? error.stack : String(error)}`);
  }
  write(`\nSEED ${seed} FAILED. What is needed to look into it is in ${folder}: timeline.txt, *.log, *.jsonl, data`);
  write(`the same faults again: npm run chaos -- --minutes ${minutes} --runs ${runs} --seed ${seed}`);
  return 1;
}

process.exitCode = await main();
// A connection that was lost without a word may still be held open by one side.
process.exit();
