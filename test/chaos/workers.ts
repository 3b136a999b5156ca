/** The fleet: eight workers of the SDK, each a process with a proxy of its own before the planes, and a journal. */
import { join } from 'node:path';
import { type StreamProxy, startStreamProxy } from '../support/stream_proxy.ts';
import { createSubject, type Subject } from './subject.ts';

export interface ChaosWorker {
  readonly subject: Subject;
  readonly proxy: StreamProxy;
  readonly zone: string;
  readonly journal: string;
}

export interface WorkersOptions {
  readonly folder: string;
  readonly port: () => number | null;
  readonly onCrash: (what: string) => void;
}

export const ZONES = ['north', 'south'] as const;
const WORKERS = 8;
const SLOTS = 4;
/** Every so manieth has its connection in a thread of its own. */
const THREAD_EVERY = 4;
const MAIN = new URL('worker.process.mjs', import.meta.url).pathname;

export function startWorkers(options: WorkersOptions): Promise<ChaosWorker[]> {
  return Promise.all(Array.from({ length: WORKERS }, (_, index) => startWorker(index, options)));
}

async function startWorker(index: number, { folder, port, onCrash }: WorkersOptions): Promise<ChaosWorker> {
  const name = `worker-${index + 1}`;
  const proxy = await startStreamProxy({ port });
  const zone = ZONES[index % ZONES.length] as string;
  const journal = join(folder, `${name}.jsonl`);
  const thread = index % THREAD_EVERY === 0;
  const settings = { address: proxy.address, name, labels: { zone, number: index }, slots: SLOTS, thread, journal };
  const subject = createSubject({
    name,
    command: [process.execPath, MAIN],
    environment: { CHAOS_WORKER: JSON.stringify(settings) },
    logFile: join(folder, `${name}.log`),
    onEnd: (_subject, how) => onCrash(`${name} ended by itself: ${how}`),
  });
  subject.start();
  return { subject, proxy, zone, journal };
}
