/**
 * What happens to the workers. Found by asking, until the server implements WatchWorkers: whoever reads these events
 * will not see the difference, but for the interval.
 */
import { clone, create, equals, type MessageInitShape } from '@bufbuild/protobuf';
import { type WatchWorkersResponse, WatchWorkersResponseSchema } from '../../../gen/yardmaster/v1/admin_service_pb.ts';
import { type Worker, WorkerSchema } from '../../../gen/yardmaster/v1/worker_pb.ts';
import { sleep } from '../../lib/clock.ts';
import { listWorkers, type WorkerFilter } from '../list.ts';
import type { Yard } from '../yard.ts';

const ASK_INTERVAL_MS = 1_000;

type WorkerEvent = NonNullable<MessageInitShape<typeof WatchWorkersResponseSchema>['event']>;

/**
 * First every worker that passes the filter, then what has changed since; one that passes it no more counts as deleted.
 * What comes together is yielded together; nothing at all, when an interval has passed without a change.
 */
export async function* followWorkers(
  yard: Yard,
  filter: WorkerFilter,
): AsyncGenerator<WatchWorkersResponse[], never, undefined> {
  let known: Map<string, Worker> | undefined;
  for (;;) {
    const workers = await listWorkers(yard, filter);
    const now = new Map(workers.map((worker) => [worker.workerId, worker]));
    const events: WorkerEvent[] = workers
      .filter((worker) => hasChanged(known?.get(worker.workerId), worker))
      .map((value) => ({ case: 'changed', value }));
    for (const workerId of known?.keys() ?? []) {
      if (!now.has(workerId)) events.push({ case: 'deletedWorkerId', value: workerId });
    }
    if (known === undefined) events.push({ case: 'caughtUp', value: true });
    known = now;
    yield events.map((event) => create(WatchWorkersResponseSchema, { event }));
    await sleep(yard.io.clock, ASK_INTERVAL_MS, yard.signal);
  }
}

/** Every heartbeat is seen, and is no change worth a line. */
function hasChanged(before: Worker | undefined, after: Worker): boolean {
  return before === undefined || !equals(WorkerSchema, withoutSeen(before), withoutSeen(after));
}

function withoutSeen(worker: Worker): Worker {
  const copy = clone(WorkerSchema, worker);
  delete copy.lastSeenTime;
  return copy;
}
