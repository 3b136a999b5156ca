/** The workers of a namespace, watched: every one, then each change. */
import { isRefusal } from '../../domain/refusal.ts';
import type { WorkerView } from '../../engine/views.ts';
import { RefusedError } from '../errors.ts';
import type { Plane } from '../plane.ts';
import { createInbox, type Inbox } from './inbox.ts';
import type { WorkerPicture } from './pictures.ts';

export type WorkerEvent = WorkerPicture | { readonly kind: 'caught_up' } | { readonly kind: 'skipped' };

/** Ends only by `signal`, or with the refusal that the plane ends it with. */
export async function* watchWorkers(
  plane: Plane,
  namespace: string,
  signal: AbortSignal,
): AsyncGenerator<WorkerEvent, void, undefined> {
  const inbox = createInbox<WorkerPicture>(plane.limits.watchEventsMax);
  const watch = plane.watches.open(signal, inbox.end);
  watch.workers(namespace, inbox.put);
  const told = new Map<string, WorkerView>();
  try {
    for (let isFirst = true; ; isFirst = false) {
      yield* differences(told, await readWorkers(plane, namespace, inbox));
      if (isFirst) yield { kind: 'caught_up' };
      if ((yield* changes(told, inbox)) === 'OVER') return;
      yield { kind: 'skipped' };
    }
  } finally {
    watch.close();
  }
}

/** Its answer comes in its place among the changes: all that came in before is in it, nothing that comes after is. */
function readWorkers(plane: Plane, namespace: string, inbox: Inbox<WorkerPicture>): Promise<readonly WorkerView[]> {
  return new Promise((resolve, reject) => {
    plane.decide<'read_workers'>({ kind: 'read_workers', namespace }, (result) => {
      inbox.clear();
      if (isRefusal(result)) reject(new RefusedError(result));
      else resolve(result);
    });
  });
}

/** What has to be said so that a watcher who was told `told` knows `workers`. */
function* differences(told: Map<string, WorkerView>, workers: readonly WorkerView[]): Generator<WorkerPicture> {
  const gone = new Set(told.keys());
  for (const worker of workers) {
    gone.delete(worker.workerId);
    if (isNews(told, worker)) yield { kind: 'changed', worker };
  }
  for (const workerId of gone) {
    told.delete(workerId);
    yield { kind: 'deleted', workerId };
  }
}

async function* changes(
  told: Map<string, WorkerView>,
  inbox: Inbox<WorkerPicture>,
): AsyncGenerator<WorkerPicture, 'SKIPPED' | 'OVER', undefined> {
  for (;;) {
    const taken = await inbox.next();
    if (taken === 'SKIPPED' || taken === 'OVER') return taken;
    const { item } = taken;
    const isNew = item.kind === 'changed' ? isNews(told, item.worker) : told.delete(item.workerId);
    if (isNew) yield item;
  }
}

/** Whether the watcher sees a difference; from now on it was told. */
function isNews(told: Map<string, WorkerView>, worker: WorkerView): boolean {
  const before = told.get(worker.workerId);
  told.set(worker.workerId, worker);
  return before === undefined || shown(before) !== shown(worker);
}

/** All that counts as a change: not that the worker was heard of, and not the progress of what it holds. */
function shown({ lastSeenMs: _, labels, assignments, ...rest }: WorkerView): string {
  return JSON.stringify({ ...rest, labels: [...labels], assignments: assignments.map((held) => held.assignmentId) });
}
