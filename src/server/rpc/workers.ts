/** AdminService: workers. */
import type { AdminService } from '../../../gen/yardmaster/v1/admin_service_pb.ts';
import { parseTags } from '../../domain/tags.ts';
import type { WorkerView } from '../../engine/views.ts';
import { checkText } from '../convert/text.ts';
import { workerStateOnWire, writeWorker } from '../convert/worker.ts';
import { readWorkerFilter } from '../convert/worker_filter.ts';
import { accepted, RefusedError } from '../errors.ts';
import type { Plane } from '../plane.ts';
import { COUNT, pageSize, readPageToken, writePageToken } from './paging.ts';
import type { Caller, Implementation } from './rpc.ts';

export function workerRpcs(plane: Plane): Implementation<typeof AdminService> {
  const { limits } = plane;
  return {
    async registerWorker(request, { namespace }) {
      const tags = accepted(parseTags('tags', request.tags, limits.tagsPerWorkerMax, limits));
      const bad = checkText('nickname', request.nickname, limits.valueBytesMax);
      if (bad) throw new RefusedError(bad);
      const { name, nickname } = request;
      const registered = accepted(await plane.submit({ kind: 'register_worker', namespace, name, tags, nickname }));
      return {
        worker: writeWorker(registered.worker),
        alreadyRegistered: registered.alreadyRegistered,
        warnings: registered.warnings.map(({ reason, message }) => ({ reason, message })),
      };
    },

    async getWorker({ workerId, name }, { namespace }) {
      return { worker: writeWorker(accepted(await plane.submit({ kind: 'read_worker', namespace, workerId, name }))) };
    },

    async listWorkers(request, { namespace }) {
      const passes = accepted(readWorkerFilter(request, limits));
      const after = readPageToken(request.pageToken, 'workers', COUNT);
      const size = pageSize(request.pageSize, limits);
      const all = accepted(await plane.submit({ kind: 'read_workers', namespace }));
      const fits = (worker: WorkerView) =>
        worker.workerNumber > Number(after ?? 0) && passes({ ...worker, state: workerStateOnWire(worker.state) });
      // One more than the page tells whether there is another.
      const found = all.filter(fits).slice(0, size + 1);
      const page = found.slice(0, size);
      return {
        workers: page.map(writeWorker),
        nextPageToken: found.length > size ? writePageToken('workers', String(page.at(-1)?.workerNumber)) : '',
      };
    },

    async drainWorker({ workerId, reason }, { namespace }: Caller) {
      const bad = checkText('reason', reason, limits.payloadBytesMax);
      if (bad) throw new RefusedError(bad);
      return {
        worker: writeWorker(accepted(await plane.submit({ kind: 'drain_worker', namespace, workerId, reason }))),
      };
    },

    async resumeWorker({ workerId }, { namespace }) {
      return { worker: writeWorker(accepted(await plane.submit({ kind: 'resume_worker', namespace, workerId }))) };
    },

    async deleteWorker({ workerId, force }, { namespace }) {
      return accepted(await plane.submit({ kind: 'delete_worker', namespace, workerId, force }));
    },
  };
}
