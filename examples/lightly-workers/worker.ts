/**
 * A worker of Lightly's kind, as a process of its own. It says nothing of who it is: whoever starts it does, by
 * YARDMASTER_WORKER_ID, and without it the control plane lends it a default worker.
 */
import { setTimeout as wait } from 'node:timers/promises';
import { action, createWorker } from 'yardmaster/worker';

const PART_MS = 100;

interface Job {
  readonly dataset: string;
}

const worker = createWorker({
  address: process.env.YARDMASTER_ADDRESS,
  namespace: process.env.YARDMASTER_NAMESPACE,
  slots: Number(process.env.SLOTS ?? 1),
  actions: {
    'select-samples': action<Job>(async ({ input, progress }) => {
      for (const phase of ['embedding', 'selecting', 'uploading']) {
        progress({ phase, text: `dataset ${input.dataset}` });
        await wait(PART_MS);
      }
      return { dataset: input.dataset, selected: 50 };
    }),
  },
});
process.once('SIGTERM', () => void worker.stop({ graceMs: 0 }));
await worker.start();
process.send?.({ workerId: worker.id, name: worker.name });
await worker.closed;
process.disconnect?.();
