/** SDK workers with nothing to do until one of them says the label that is waited for; says how long that took. */
import { createWorker } from '../../src/worker/index.ts';
import { nowNs, onOrder, say, settings } from '../support/child.ts';

const { address, workers } = settings<{ address: string; workers: number }>();
const fleet = Array.from({ length: workers }, (_, index) =>
  createWorker({
    address,
    name: `upsert-${index}`,
    labels: { model: 0 },
    actions: {
      wait: () => {
        const enteredNs = nowNs();
        say({ sentNs, enteredNs });
        return null;
      },
    },
  }),
);
let sentNs = '';
onOrder<{ worker: number; model: number }>(({ worker, model }) => {
  sentNs = nowNs();
  void fleet[worker]?.upsertLabels({ model });
});
await Promise.all(fleet.map((worker) => worker.start()));
say({ ready: true });
