/**
 * A worker in a process of its own; its options come as JSON, its events go out as lines of JSON. Most of its handlers
 * wait for a line on standard input.
 */
import { createInterface } from 'node:readline';
import { createWorker, NonRetryableError, type StepContext, type WorkerOptions } from '../../src/worker/index.ts';

const { actions, ...options }: Omit<WorkerOptions, 'actions'> & { actions: string[] } = JSON.parse(
  process.argv[2] ?? '{}',
);
const finished = new Promise<string>((resolve) => createInterface({ input: process.stdin }).on('line', resolve));

const special: WorkerOptions['actions'] = {
  /** Keeps the CPU to itself for so many milliseconds. */
  hog: ({ input }: StepContext) => {
    const untilMs = performance.now() + Number(input);
    while (performance.now() < untilMs);
    return 'hogged';
  },
  talk: async (context: StepContext) => {
    const { input, worker, log } = context;
    log.warning('a warning');
    log('a line');
    context.progress({ text: 'half way', fraction: 0.5 });
    return { input, labels: await worker.upsertLabels({ said: 'yes' }) };
  },
  fail: () => {
    throw new NonRetryableError('never again');
  },
  until_aborted: ({ signal }: StepContext) =>
    new Promise((resolve) => {
      signal.addEventListener('abort', () => resolve('stopped'));
    }),
};

const worker = createWorker({
  ...options,
  actions: Object.fromEntries(actions.map((action) => [action, special[action] ?? (() => finished)])),
  onEvent: (event) => console.log(JSON.stringify(event)),
});
process.on('SIGTERM', () => {
  void worker.stop({ graceMs: 0 }).then(() => process.exit(0));
});
await worker.start();
const end = await worker.closed;
console.log(JSON.stringify({ type: 'closed', kind: end.kind }));
