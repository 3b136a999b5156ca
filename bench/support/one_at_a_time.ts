/** Latencies from a submission here to the entry of a handler in another process. Both clocks are CLOCK_MONOTONIC. */
import type { ChildProcess } from 'node:child_process';
import { nextMessage } from './processes.ts';
import { runOf } from './runs.ts';
import type { Site, Yard } from './site.ts';

/** Measures so many, one after the other; milliseconds. */
export type Measure = (count: number) => Promise<number[]>;

const NS_PER_MS = 1e6;
const WORKER = new URL('../dispatch/worker.process.ts', import.meta.url);

export function msBetween(fromNs: string | bigint, toNs: string | bigint): number {
  return Number(BigInt(toNs) - BigInt(fromNs)) / NS_PER_MS;
}

/** The next is submitted when the last one's handler was entered and its submission answered. */
export function oneAtATime(worker: ChildProcess, submit: () => Promise<unknown>): Measure {
  return async (count) => {
    const times: number[] = [];
    for (let index = 0; index < count; index++) {
      const entered = nextMessage<{ enteredNs: string }>(worker);
      const sentNs = process.hrtime.bigint();
      const [{ enteredNs }] = await Promise.all([entered, submit()]);
      times.push(msBetween(sentNs, enteredNs));
    }
    return times;
  };
}

/** Our dispatch: the subject of its own benchmark, and the floor of others. */
export async function openDispatch(site: Site, { address, admin }: Yard): Promise<Measure> {
  const [worker] = await site.start(WORKER, { address });
  return oneAtATime(worker, () => admin.scheduleRun(runOf('dispatch')));
}

export interface LatencySizes {
  readonly rounds: number;
  readonly perRound: number;
  readonly warmUp: number;
}

/** In turn, so that what else the machine does meets all of them. Milliseconds by round, in the order of `measures`. */
export async function inTurn(
  site: Site,
  { rounds, perRound, warmUp }: LatencySizes,
  measures: readonly Measure[],
): Promise<number[][][]> {
  const found: number[][][] = measures.map(() => []);
  site.doing('warming up');
  for (const measure of measures) await measure(warmUp);
  for (let round = 1; round <= rounds; round++) {
    site.doing(`round ${round} of ${rounds}`);
    for (const [index, measure] of measures.entries()) found[index]?.push(await measure(perRound));
  }
  return found;
}
