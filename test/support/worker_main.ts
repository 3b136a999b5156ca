/** A worker in a process of its own; its options come as JSON, its events go out as lines of JSON. A line on standard input ends its handlers. */
import { createInterface } from 'node:readline';
import { createWorker, type WorkerOptions } from '../../src/worker/index.ts';

const { actions, ...options }: Omit<WorkerOptions, 'actions'> & { actions: string[] } = JSON.parse(
  process.argv[2] ?? '{}',
);
const finished = new Promise<string>((resolve) => createInterface({ input: process.stdin }).on('line', resolve));
const worker = createWorker({
  ...options,
  actions: Object.fromEntries(actions.map((action) => [action, () => finished])),
  onEvent: (event) => console.log(JSON.stringify(event)),
});
process.on('SIGTERM', () => {
  void worker.stop({ graceMs: 0 }).then(() => process.exit(0));
});
await worker.start();
