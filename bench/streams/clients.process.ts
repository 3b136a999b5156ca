/** Many idle workers in one process: each a connection of its own, a hello, and then a heartbeat every five seconds. */
import { setTimeout as sleep } from 'node:timers/promises';
import { onOrder, say, settings } from '../support/child.ts';
import { connectRawWorker, type RawWorker } from '../support/raw_worker.ts';
import { manyAtOnce } from '../support/runs.ts';

const HEARTBEAT_MS = 5_000;
const TICK_MS = 10;
const CONNECTING_AT_ONCE = 32;

const { address, prefix } = settings<{ address: string; prefix: string }>();
const workers: RawWorker[] = [];
const counts = { beats: 0, answers: 0, ends: 0, latestMs: 0, evicted: '', lastEnd: '' };

function connect(): Promise<void> {
  return new Promise((resolve, reject) => {
    const worker = connectRawWorker({
      address,
      name: `${prefix}-${workers.length}-${process.hrtime.bigint()}`,
      action: 'idle',
      heard(message) {
        if (message.case === 'heartbeat') counts.answers += 1;
        if (message.case === 'evicted') counts.evicted = `evicted ${message.value.reason} ${message.value.message}`;
        if (message.case !== 'welcome') return;
        workers.push(worker);
        resolve();
      },
      ended({ code, details }) {
        counts.ends += 1;
        counts.lastEnd = `${code} ${details}`;
        reject(new Error(`a stream ended: ${code} ${details}`));
      },
    });
  });
}

/** Spread evenly: a fleet does not beat in step. */
async function beat(): Promise<never> {
  let due = 0;
  let next = 0;
  let lastMs = performance.now();
  for (;;) {
    await sleep(TICK_MS);
    const nowMs = performance.now();
    counts.latestMs = Math.max(counts.latestMs, nowMs - lastMs - TICK_MS);
    due += (workers.length * (nowMs - lastMs)) / HEARTBEAT_MS;
    for (lastMs = nowMs; due >= 1; due--) {
      // A place, not a running number: with more workers its remainder would jump, and some would be silent too long.
      next = next + 1 < workers.length ? next + 1 : 0;
      workers[next]?.heartbeat();
      counts.beats += 1;
    }
  }
}

onOrder<{ connect?: number }>(async (order) => {
  if (order.connect !== undefined) await manyAtOnce(order.connect, CONNECTING_AT_ONCE, connect);
  say(counts);
});
void beat();
say({ ready: true });
