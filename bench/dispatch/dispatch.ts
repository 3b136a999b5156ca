/**
 * One at a time: from the submission to the entry of the handler, in a worker of another process. Beside it, on the
 * same database and in turn, graphile-worker's addJob to the entry of its task. Both clocks are CLOCK_MONOTONIC.
 */
import type { ChildProcess } from 'node:child_process';
import { Logger, makeWorkerUtils } from 'graphile-worker';
import { createAdminClient } from '../../src/client/index.ts';
import { openBenchDatabase } from '../support/database.ts';
import { nextMessage, startScript, stopProcess } from '../support/processes.ts';
import { median, type Summary, summarise } from '../support/statistics.ts';

export interface DispatchSizes {
  readonly rounds: number;
  readonly perRound: number;
  readonly warmUp: number;
}

export const DISPATCH_SIZES: DispatchSizes = { rounds: 5, perRound: 400, warmUp: 300 };
export const DISPATCH_SMOKE: DispatchSizes = { rounds: 1, perRound: 20, warmUp: 5 };

const NS_PER_MS = 1e6;

export async function dispatch(sizes: DispatchSizes) {
  const database = await openBenchDatabase();
  const started: ChildProcess[] = [];
  const start = async <T>(script: string, environment: Record<string, string>) => {
    const [child, message] = await startScript<T>(new URL(script, import.meta.url), environment);
    started.push(child);
    return [child, message] as const;
  };
  try {
    const [, { port }] = await start<{ port: number }>('../support/plane.process.ts', {
      BENCH_DATABASE_URL: database.url,
    });
    const address = `127.0.0.1:${port}`;
    const [ours] = await start('./worker.process.ts', { BENCH_ADDRESS: address });
    const utils = await makeWorkerUtils({ connectionString: database.url, logger: new Logger(() => () => {}) });
    await utils.migrate();
    const [peer] = await start('./graphile.process.ts', { BENCH_DATABASE_URL: database.url });
    const admin = createAdminClient({ address });
    const submitOurs = () =>
      admin.scheduleRun({ what: { case: 'step', value: { action: 'bench' } }, inputJson: '{"file":"s3://a"}' });
    const submitPeer = () => utils.addJob('bench', { file: 's3://a' });
    await measure(ours, submitOurs, sizes.warmUp);
    await measure(peer, submitPeer, sizes.warmUp);
    const rounds: { ours: Summary; peer: Summary }[] = [];
    for (let round = 0; round < sizes.rounds; round++) {
      const oursMs = await measure(ours, submitOurs, sizes.perRound);
      const peerMs = await measure(peer, submitPeer, sizes.perRound);
      rounds.push({ ours: summarise(oursMs), peer: summarise(peerMs) });
    }
    admin.close();
    await utils.release();
    return rounds;
  } finally {
    for (const child of started.reverse()) await stopProcess(child);
    await database.stop();
  }
}

/** Milliseconds of each, one after the other: the next is submitted when the last one's handler was entered. */
async function measure(worker: ChildProcess, submit: () => Promise<unknown>, count: number): Promise<number[]> {
  const times: number[] = [];
  for (let index = 0; index < count; index++) {
    const entered = nextMessage<{ enteredNs: string }>(worker);
    const sentNs = process.hrtime.bigint();
    const [{ enteredNs }] = await Promise.all([entered, submit()]);
    times.push(Number(BigInt(enteredNs) - sentNs) / NS_PER_MS);
  }
  return times;
}

export function reportDispatch(rounds: Awaited<ReturnType<typeof dispatch>>) {
  const of = (who: 'ours' | 'peer', figure: 'p50' | 'p99') => median(rounds.map((round) => round[who][figure]));
  return {
    'yardmaster p50 ms': of('ours', 'p50'),
    'yardmaster p99 ms': of('ours', 'p99'),
    'graphile-worker p50 ms': of('peer', 'p50'),
    'graphile-worker p99 ms': of('peer', 'p99'),
    'ratio p50': of('ours', 'p50') / of('peer', 'p50'),
    'ratio p99': of('ours', 'p99') / of('peer', 'p99'),
  };
}
