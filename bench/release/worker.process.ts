/** One SDK worker with one slot; says how long its slot was free before each of its handlers was entered. */
import { setTimeout as sleep } from 'node:timers/promises';
import { createWorker } from '../../src/worker/index.ts';
import { nowNs, onOrder, say, settings } from '../support/child.ts';

const { address, busyMs } = settings<{ address: string; busyMs: number }>();
interface Free {
  readonly fromNs: string;
  readonly toNs: string;
}
let freedNs: string | null = null;
let times: Free[] = [];
let wanted = 0;
onOrder<{ count: number }>(({ count }) => {
  freedNs = null;
  times = [];
  wanted = count;
  say({ ready: true });
});

const worker = createWorker({
  address,
  name: 'release',
  slots: 1,
  actions: {
    next: async () => {
      if (freedNs !== null) times.push({ fromNs: freedNs, toNs: nowNs() });
      if (times.length === wanted) say({ times });
      // Long enough for the acceptance to be stored: what is measured begins with the end alone.
      await sleep(busyMs);
      freedNs = nowNs();
      return null;
    },
  },
});
await worker.start();
say({ ready: true });
