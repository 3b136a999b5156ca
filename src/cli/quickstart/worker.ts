/** One worker process of the quickstart; it ends with its parent. */
import { createWorker, type Worker } from '../../worker/index.ts';
import type { FromWorker, ToWorker } from './fleet.ts';

let worker: Worker | null = null;
const say = (message: FromWorker) => process.send?.(message);

function create({ address, token, spec }: ToWorker & { kind: 'start' }): Worker {
  return createWorker({
    address,
    token,
    name: spec.name,
    tags: [...spec.tags],
    labels: { ...spec.labels },
    slots: 2,
    actions: {
      train: (ctx) => {
        const { runId, stepName } = ctx;
        say({ kind: 'entered', runId, stepName, atNs: String(process.hrtime.bigint()) });
        ctx.log(`${stepName} on ${spec.name}`);
        ctx.progress({ text: 'done', fraction: 1 });
        return { by: spec.name };
      },
    },
  });
}

async function obey(order: ToWorker): Promise<void> {
  if (order.kind === 'upsert_labels') {
    await worker?.upsertLabels(order.labels);
    return;
  }
  worker = create(order);
  await worker.start();
  say({ kind: 'ready' });
}

async function leave(): Promise<void> {
  await worker?.stop();
  process.exit(0);
}

process.on('message', (order: ToWorker) => {
  obey(order).catch((error: Error) => {
    console.error(`a worker of the quickstart gave up: ${error.message}`);
    process.exit(1);
  });
});
process.on('SIGTERM', leave);
// Ctrl-C reaches every process of the terminal; the parent says when the workers go.
process.on('SIGINT', () => {});
process.on('disconnect', leave);
