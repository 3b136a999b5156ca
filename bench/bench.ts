/** `npm run bench -- NAME… [--json FILE] [--smoke] [--profile FOLDER]`. Without a name: every benchmark. */
import { writeFileSync } from 'node:fs';
import { parseArgs } from 'node:util';
import { backlog } from './backlog/backlog.ts';
import { dispatch } from './dispatch/dispatch.ts';
import { drain } from './drain/drain.ts';
import { fleet } from './fleet/fleet.ts';
import { match } from './match/match.ts';
import { recovery } from './recovery/recovery.ts';
import { release } from './release/release.ts';
import { streams } from './streams/streams.ts';
import { submit } from './submit/submit.ts';
import { type Cluster, openCluster } from './support/database.ts';
import { describeMachine } from './support/machine.ts';
import { type Bench, type Findings, printFindings } from './support/report.ts';
import { createSite, type Site } from './support/site.ts';
import { upsert } from './upsert/upsert.ts';

const BENCHES: Readonly<Record<string, Bench>> = {
  dispatch,
  upsert,
  release,
  drain,
  fleet,
  submit,
  match,
  streams,
  recovery,
  backlog,
};
/** Several times what the longest takes: longer than that, it hangs. */
const MINUTES_MAX = 45;
const SMOKE_MINUTES_MAX = 2;
const MS_PER_MINUTE = 60_000;

const { values, positionals } = parseArgs({
  allowPositionals: true,
  options: {
    json: { type: 'string' },
    smoke: { type: 'boolean', default: false },
    profile: { type: 'string', default: '' },
  },
});
const { smoke, json, profile } = values;

/** What was started is stopped first, whoever asks for it. */
const interrupted = new Promise<never>((_, reject) => {
  for (const signal of ['SIGINT', 'SIGTERM'] as const) process.once(signal, () => reject(new Error(signal)));
});
interrupted.catch(() => {});

async function main(): Promise<void> {
  const names = positionals.length > 0 ? positionals : Object.keys(BENCHES);
  const unknown = names.find((name) => BENCHES[name] === undefined);
  if (unknown !== undefined) {
    throw new Error(`no benchmark "${unknown}"; there are: ${Object.keys(BENCHES).join(', ')}`);
  }
  console.log(describeMachine());
  const cluster = await openCluster();
  const results: Record<string, Findings> = {};
  try {
    for (const name of names) {
      const findings = await runBench(cluster, name);
      results[name] = findings;
      printFindings(name, findings, smoke);
    }
  } finally {
    await tidy('the database', () => cluster.stop());
  }
  if (json === undefined) return;
  writeFileSync(json, `${JSON.stringify({ machine: describeMachine(), smoke, results }, null, 2)}\n`);
}

async function runBench(cluster: Cluster, name: string): Promise<Findings> {
  const bench = BENCHES[name];
  if (bench === undefined) throw new Error(`no benchmark "${name}"`);
  const site = createSite(cluster, { profileFolder: profile });
  const deadline = new AbortController();
  try {
    return await Promise.race([bench(site, smoke), failAfter(name, site, deadline.signal), interrupted]);
  } finally {
    deadline.abort();
    await tidy(name, () => site.stop());
  }
}

/** What cannot be tidied up is said, and hides neither findings nor the error before it. */
async function tidy(what: string, stop: () => Promise<void>): Promise<void> {
  try {
    await stop();
  } catch (error) {
    console.error(`${what} did not stop cleanly:`, error);
    process.exitCode = 1;
  }
}

/** A benchmark that hangs fails by itself, and says where. */
function failAfter(name: string, site: Site, signal: AbortSignal): Promise<never> {
  const minutes = smoke ? SMOKE_MINUTES_MAX : MINUTES_MAX;
  return new Promise((_, reject) => {
    const timer = setTimeout(
      () => reject(new Error(`${name} did not end within ${minutes} minutes; it was at: ${site.at}`)),
      minutes * MS_PER_MINUTE,
    );
    signal.addEventListener('abort', () => clearTimeout(timer));
  });
}

try {
  await main();
  process.exit();
} catch (error) {
  console.error(error);
  process.exit(1);
}
