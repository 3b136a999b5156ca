/** The quickstart's workers: three processes with different tags and labels. */
import { type ChildProcess, fork } from 'node:child_process';
import { once } from 'node:events';
import { fileURLToPath } from 'node:url';

export interface WorkerSpec {
  readonly name: string;
  readonly tags: readonly string[];
  readonly labels: Readonly<Record<string, string | number>>;
}

export const FLEET: readonly WorkerSpec[] = [
  { name: 'quickstart-a100', tags: ['gpu', 'gpu-A100'], labels: { memory: 512, model: 'llama' } },
  { name: 'quickstart-t4', tags: ['gpu', 'gpu-T4'], labels: { memory: 16, model: 'mistral' } },
  { name: 'quickstart-cpu', tags: ['cpu'], labels: { memory: 64 } },
];

/** What a worker process says to the quickstart. */
export type FromWorker =
  | { readonly kind: 'ready' }
  /** The handler of a step was entered, by the clock that all processes of a machine share. */
  | { readonly kind: 'entered'; readonly runId: string; readonly stepName: string; readonly atNs: string };

/** What the quickstart asks of a worker process. */
export type ToWorker =
  | { readonly kind: 'start'; readonly address: string; readonly token: string | undefined; readonly spec: WorkerSpec }
  | { readonly kind: 'upsert_labels'; readonly labels: LabelChange };

type LabelChange = Readonly<Record<string, string | number | null>>;

export interface Fleet {
  /** Who entered the handler of this step, and when (CLOCK_MONOTONIC, nanoseconds). */
  entered(runId: string, stepName: string): Promise<Entry>;
  upsertLabels(worker: string, labels: LabelChange): void;
  stop(): Promise<void>;
}

export interface Entry {
  readonly worker: string;
  readonly atNs: bigint;
}

const stepKey = (runId: string, stepName: string) => `${runId}/${stepName}`;

export async function startFleet(address: string, token: string | undefined): Promise<Fleet> {
  const children = new Map<string, ChildProcess>();
  const entries = new Map<string, Entry>();
  const waiting = new Map<string, (entry: Entry) => void>();

  // A handler may be entered before the answer to its submission has come; whichever is later finds the other.
  function onMessage(worker: string, message: FromWorker): void {
    if (message.kind !== 'entered') return;
    const entry = { worker, atNs: BigInt(message.atNs) };
    const key = stepKey(message.runId, message.stepName);
    entries.set(key, entry);
    waiting.get(key)?.(entry);
  }

  await Promise.all(
    FLEET.map(async (spec) => {
      const child = fork(fileURLToPath(import.meta.resolve('./worker.js')));
      // By message, not on the command line, where every user of the machine could read the token.
      child.send({ kind: 'start', address, token, spec } satisfies ToWorker);
      children.set(spec.name, child);
      child.on('message', (message: FromWorker) => onMessage(spec.name, message));
      const died = once(child, 'exit').then(() => {
        throw new Error(`the worker process ${spec.name} ended`);
      });
      died.catch(() => {});
      await Promise.race([once(child, 'message'), died]);
    }),
  );

  return {
    entered(runId, stepName) {
      const key = stepKey(runId, stepName);
      const known = entries.get(key);
      if (known) return Promise.resolve(known);
      return new Promise((resolve) => waiting.set(key, resolve));
    },
    upsertLabels(worker, labels) {
      children.get(worker)?.send({ kind: 'upsert_labels', labels } satisfies ToWorker);
    },
    async stop() {
      await Promise.all(
        [...children.values()].map(async (child) => {
          if (child.exitCode !== null || child.signalCode !== null) return;
          const gone = once(child, 'exit');
          child.kill('SIGTERM');
          await gone;
        }),
      );
    },
  };
}
