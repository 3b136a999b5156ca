/**
 * Idle workers, each on a connection of its own: what one more costs in resident memory, and what their heartbeats cost
 * in processor and in transactions of the database. The floor is a bare grpc-js server with the same clients.
 */
import type { ChildProcess } from 'node:child_process';
import { setTimeout as sleep } from 'node:timers/promises';
import { connectTo } from '../support/database.ts';
import { ask, stopProcess } from '../support/processes.ts';
import { atMost, type Bench } from '../support/report.ts';
import { cpuSeconds, residentKiB } from '../support/resources.ts';
import type { Site } from '../support/site.ts';

const SIZES = { streams: 10_000, first: 400, processes: 4, settleMs: 12_000, watchMs: 30_000 };
const SMOKE: typeof SIZES = { streams: 60, first: 20, processes: 2, settleMs: 200, watchMs: 1_000 };
const CLIENTS = new URL('./clients.process.ts', import.meta.url);
const BARE = new URL('./bare.process.mjs', import.meta.url);
const MS_PER_SECOND = 1_000;

export const streams: Bench = async (site, smoke) => {
  const sizes = smoke ? SMOKE : SIZES;
  const [bare, { port }] = await site.start<{ port: number }>(BARE, {});
  const floor = await load(site, sizes, `127.0.0.1:${port}`, bare, async () => 0);
  await stopProcess(bare);

  const { address, plane, databaseUrl } = await site.openYard();
  const watcher = connectTo(await site.newDatabase());
  const name = new URL(databaseUrl).pathname.slice(1);
  // Every statement of an idle plane is a transaction of its own.
  const transactions = async () => {
    const [row] = await watcher<{ count: string }[]>`
      SELECT xact_commit + xact_rollback AS count FROM pg_stat_database WHERE datname = ${name}`;
    return Number(row?.count);
  };
  const ours = await load(site, sizes, address, plane, transactions);
  await watcher.end();
  return {
    figures: {
      'resident KiB a stream': ours.kibEach,
      'bare grpc-js: resident KiB a stream': floor.kibEach,
      'ratio resident': ours.kibEach / floor.kibEach,
      'heartbeats, % of a core': ours.corePercent,
      'bare grpc-js: heartbeats, % of a core': floor.corePercent,
      'ratio processor': ours.corePercent / floor.corePercent,
      'heartbeats/s': ours.beatsPerSecond,
      'transactions/s': ours.transactionsPerSecond,
      'connects/s': ours.connectsPerSecond,
    },
    targets: [
      atMost('resident KiB a stream', ours.kibEach, 40),
      atMost('heartbeats, % of a core', ours.corePercent, 20),
      atMost('transactions/s', ours.transactionsPerSecond, 1),
    ],
  };
};

interface Counts {
  readonly beats: number;
  readonly answers: number;
  readonly ends: number;
  /** By how much a client itself was late with its heartbeats. */
  readonly latestMs: number;
  readonly evicted: string;
  readonly lastEnd: string;
}

/** The first few are not counted: what a server needs once is there when they are. */
async function load(
  site: Site,
  { streams: total, first, processes, settleMs, watchMs }: typeof SIZES,
  address: string,
  server: ChildProcess,
  transactions: () => Promise<number>,
) {
  const pid = server.pid ?? 0;
  const clients = await Promise.all(
    Array.from({ length: processes }, async (_, part) => (await site.start(CLIENTS, { address, prefix: part }))[0]),
  );
  const askAll = (order: object) => Promise.all(clients.map((client) => ask<Counts>(client, order)));
  await askAll({ connect: first / processes });
  await sleep(settleMs / 4);
  const before = residentKiB(pid);
  site.doing(`connecting ${total} streams`);
  const fromMs = performance.now();
  await askAll({ connect: total / processes });
  const connectMs = performance.now() - fromMs;
  site.doing('settling');
  await sleep(settleMs);
  site.doing(`watching heartbeats for ${watchMs / MS_PER_SECOND} s`);
  const used = { cpu: cpuSeconds(pid), transactions: await transactions(), beats: sum(await askAll({}), 'beats') };
  await sleep(watchMs);
  const seconds = watchMs / MS_PER_SECOND;
  const counts = await askAll({});
  expectNoEnds(counts);
  const figures = {
    kibEach: (residentKiB(pid) - before) / total,
    corePercent: ((cpuSeconds(pid) - used.cpu) * 100) / seconds,
    beatsPerSecond: (sum(counts, 'beats') - used.beats) / seconds,
    transactionsPerSecond: ((await transactions()) - used.transactions) / seconds,
    connectsPerSecond: (total * MS_PER_SECOND) / connectMs,
  };
  for (const client of clients) await stopProcess(client);
  return figures;
}

function expectNoEnds(counts: readonly Counts[]): void {
  const ended = sum(counts, 'ends');
  if (ended === 0) return;
  const reasons = new Set(
    counts.flatMap(({ evicted, lastEnd }) => [evicted, lastEnd]).filter((reason) => reason !== ''),
  );
  const latestMs = Math.round(Math.max(...counts.map((each) => each.latestMs)));
  const why = `${[...reasons].join('; ')}; a client was up to ${latestMs} ms late`;
  throw new Error(`${ended} streams ended while nobody asked them to: ${why}`);
}

function sum(counts: readonly Counts[], what: 'beats' | 'ends'): number {
  return counts.reduce((total, each) => total + each[what], 0);
}
