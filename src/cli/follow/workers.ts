/** What happens to the workers, by WatchWorkers; the filter is the caller's, with the rules of the server's lists. */
import { clone, create, equals, type MessageInitShape } from '@bufbuild/protobuf';
import { type WatchWorkersResponse, WatchWorkersResponseSchema } from '../../../gen/yardmaster/v1/admin_service_pb.ts';
import { type Worker, WorkerSchema } from '../../../gen/yardmaster/v1/worker_pb.ts';
import { readWorkerFilter, type WorkerFilter } from '../../server/convert/worker_filter.ts';
import { UsageError } from '../failure.ts';
import type { Yard } from '../yard.ts';
import { watchAnew } from './again.ts';

type WorkerEvent = NonNullable<MessageInitShape<typeof WatchWorkersResponseSchema>['event']>;

/**
 * First every worker that passes the filter, then each change; one that passes it no more counts as deleted. What comes
 * together is yielded together: the first state, and after the server was away what has changed meanwhile.
 */
export async function* followWorkers(
  yard: Yard,
  filter: WorkerFilter,
): AsyncGenerator<WatchWorkersResponse[], void, undefined> {
  const passes = passesOf(filter);
  const known = new Map<string, Worker>();
  let isFirst = true;
  for await (const events of watchAnew(yard, () => watch(yard))) {
    const news = newsIn(known, events, passes);
    if (isFirst) news.push({ case: 'caughtUp', value: true });
    isFirst = false;
    if (news.length > 0) yield news.map((event) => create(WatchWorkersResponseSchema, { event }));
  }
}

/** One stream: first all of the first state, then what comes as it comes. */
async function* watch({ admin, call }: Yard): AsyncGenerator<Seen, void> {
  let first: Map<string, Worker> | null = new Map();
  for await (const { event } of admin.watchWorkers({}, call)) {
    if (event.case === 'caughtUp' && first !== null) {
      yield { all: first };
      first = null;
    } else if (event.case === 'changed' && first !== null) first.set(event.value.workerId, event.value);
    else if (event.case === 'changed') yield { changed: event.value };
    else if (event.case === 'deletedWorkerId') yield { deleted: event.value };
  }
}

type Seen = { readonly all: ReadonlyMap<string, Worker> } | { readonly changed: Worker } | { readonly deleted: string };

/** What is new to whoever knows `known`, which is brought up to date. */
function newsIn(known: Map<string, Worker>, seen: Seen, passes: (worker: Worker) => boolean): WorkerEvent[] {
  if ('deleted' in seen) return goneFrom(known, seen.deleted);
  if ('changed' in seen)
    return passes(seen.changed) ? cameTo(known, seen.changed) : goneFrom(known, seen.changed.workerId);
  const passing = [...seen.all.values()].filter(passes);
  const gone = [...known.keys()].filter((workerId) => !passing.some((worker) => worker.workerId === workerId));
  return [
    ...passing.flatMap((worker) => cameTo(known, worker)),
    ...gone.flatMap((workerId) => goneFrom(known, workerId)),
  ];
}

function cameTo(known: Map<string, Worker>, worker: Worker): WorkerEvent[] {
  const before = known.get(worker.workerId);
  known.set(worker.workerId, worker);
  if (before !== undefined && equals(WorkerSchema, withoutSeen(before), withoutSeen(worker))) return [];
  return [{ case: 'changed', value: worker }];
}

function goneFrom(known: Map<string, Worker>, workerId: string): WorkerEvent[] {
  return known.delete(workerId) ? [{ case: 'deletedWorkerId', value: workerId }] : [];
}

/** Every heartbeat is seen, and is no change worth a line. */
function withoutSeen(worker: Worker): Worker {
  const copy = clone(WorkerSchema, worker);
  delete copy.lastSeenTime;
  return copy;
}

function passesOf(filter: WorkerFilter): (worker: Worker) => boolean {
  const passes = readWorkerFilter(filter);
  if ('refused' in passes) throw new UsageError(passes.message);
  return ({ labels, ...worker }) => passes({ ...worker, labels: new Map(Object.entries(labels ?? {})) as Labels });
}

/** What the contract lets a label be. */
type Labels = ReadonlyMap<string, string | number>;
