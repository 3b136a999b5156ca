/** One SDK worker; says when its handler was entered. */
import { createWorker } from '../../src/worker/index.ts';
import { nowNs, say, settings } from '../support/child.ts';

const { address } = settings<{ address: string }>();
const worker = createWorker({
  address,
  name: 'dispatch',
  slots: 4,
  actions: {
    dispatch: () => {
      const enteredNs = nowNs();
      say({ enteredNs });
      return null;
    },
  },
});
await worker.start();
say({ ready: true });
