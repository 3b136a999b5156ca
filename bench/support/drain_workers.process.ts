/** SDK workers that connect when told to, take so many runs together, and say how long it took until all were settled. */
import { createWorker } from '../../src/worker/index.ts';
import { nowNs, onOrder, say, settings } from './child.ts';
import type { DrainProcess } from './throughput.ts';

const { address, workers, runs } = settings<DrainProcess & { address: string }>();
let fromNs = '';
let taken = 0;
const fleet = workers.map(({ name, slots, labels }) =>
  createWorker({
    address,
    name,
    slots,
    labels,
    actions: {
      drain: () => {
        taken += 1;
        if (taken === runs) void finish();
        return { model: 's3://b', loss: 0.125 };
      },
    },
  }),
);

async function finish(): Promise<void> {
  // Over when every end is acknowledged.
  await Promise.all(fleet.map((worker) => worker.drain()));
  say({ fromNs, toNs: nowNs() });
}

onOrder(() => {
  fromNs = nowNs();
  for (const worker of fleet) void worker.start();
});
say({ ready: true });
