/** How fast runs that wait are worked off, and what the peer does with as many jobs. All of it durable. */
import type { ChildProcess } from 'node:child_process';
import { msBetween } from './one_at_a_time.ts';
import { openPeer } from './peer.ts';
import { ask, stopProcess } from './processes.ts';
import { type RunRequest, submitRuns } from './runs.ts';
import type { Site, Yard } from './site.ts';

const WORKERS = new URL('./drain_workers.process.ts', import.meta.url);
const PEER = new URL('./drain_graphile.process.ts', import.meta.url);
const MS_PER_SECOND = 1_000;
const PEER_BATCH = 1_000;

export interface DrainWorker {
  readonly name: string;
  readonly slots: number;
  readonly labels: Readonly<Record<string, number>>;
}

/** What the workers of one process are to finish together. */
export interface DrainProcess {
  readonly workers: readonly DrainWorker[];
  readonly runs: number;
}

interface Drained {
  readonly fromNs: string;
  readonly toNs: string;
}

/**
 * Runs a second: all are submitted first; the time goes from the first worker's connect until the last end is
 * acknowledged, which is after its commit.
 */
export async function drainOurs(
  site: Site,
  { address, admin }: Yard,
  processes: readonly DrainProcess[],
  runAt: (index: number) => RunRequest,
): Promise<number> {
  const runs = processes.reduce((sum, each) => sum + each.runs, 0);
  site.doing(`submitting ${runs} runs`);
  await submitRuns(admin, runs, runAt);
  const children = await Promise.all(
    processes.map(async (each) => (await site.start(WORKERS, { address, ...each }))[0]),
  );
  site.doing(`draining ${runs} runs`);
  const rate = await rateOf(runs, children);
  const { runs: unended } = await admin.listRuns({ pageSize: 1 });
  if (unended.length > 0) throw new Error(`run ${unended[0]?.runId} has not ended, and its worker is done`);
  return rate;
}

/** Jobs a second of one graphile-worker with its local queue; with `batched` completions are batched as well. */
export async function drainPeer(site: Site, databaseUrl: string, jobs: number, batched: boolean): Promise<number> {
  site.doing(`the peer: adding ${jobs} jobs`);
  const peer = await openPeer(databaseUrl);
  for (let left = jobs; left > 0; left -= PEER_BATCH) await peer.addJobs(Math.min(PEER_BATCH, left));
  await peer.release();
  const [child] = await site.start(PEER, { databaseUrl, jobs, batched });
  site.doing(`the peer: draining ${jobs} jobs${batched ? ', completions batched' : ''}`);
  return rateOf(jobs, [child]);
}

async function rateOf(count: number, children: readonly ChildProcess[]): Promise<number> {
  const drained = await Promise.all(children.map((child) => ask<Drained>(child)));
  for (const child of children) await stopProcess(child);
  const inOrder = (times: string[]) => times.map(BigInt).sort((a, b) => (a < b ? -1 : 1));
  const [fromNs = 0n] = inOrder(drained.map(({ fromNs }) => fromNs));
  const toNs = inOrder(drained.map(({ toNs }) => toNs)).at(-1) ?? 0n;
  return (count * MS_PER_SECOND) / msBetween(fromNs, toNs);
}
