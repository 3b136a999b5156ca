/** One worker process of the quickstart; it ends with its parent. */
import { createWorker } from '../../worker/index.ts';
import type { FromWorker, ToWorker, WorkerSpec } from './fleet.ts';

const [address = '', specJson = ''] = process.argv.slice(2);
const { name, tags, labels } = JSON.parse(specJson) as WorkerSpec;
const say = (message: FromWorker) => process.send?.(message);

const worker = createWorker({
  address,
  name,
  tags: [...tags],
  labels: { ...labels },
  slots: 2,
  actions: {
    train: (ctx) => {
      say({ kind: 'entered', runId: ctx.runId, atNs: String(process.hrtime.bigint()) });
      ctx.log(`training on ${name}`);
      ctx.progress({ text: 'done', fraction: 1 });
      return { trainedBy: name };
    },
  },
});

process.on('message', ({ upsertLabels }: ToWorker) => {
  worker.upsertLabels(upsertLabels).catch((error: Error) => console.error(`${name}: ${error.message}`));
});
const leave = () => worker.stop().finally(() => process.exit(0));
process.on('SIGTERM', leave);
// Ctrl-C reaches every process of the terminal; the parent says when the workers go.
process.on('SIGINT', () => {});
process.on('disconnect', leave);

await worker.start();
say({ kind: 'ready' });
