/** One SDK worker; says when its handler was entered. */
import { createWorker } from '../../src/worker/index.ts';

const worker = createWorker({
  address: process.env.BENCH_ADDRESS ?? '',
  name: 'bench-worker',
  slots: 4,
  actions: {
    bench: () => {
      const enteredNs = process.hrtime.bigint();
      process.send?.({ enteredNs: String(enteredNs) });
      return null;
    },
  },
});
await worker.start();
process.on('SIGTERM', () => process.exit(0));
process.send?.('ready');
