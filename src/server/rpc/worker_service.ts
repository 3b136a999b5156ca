/** WorkerService, but for its stream, which the listener carries itself. */
import type { WorkerService } from '../../../gen/yardmaster/v1/worker_service_pb.ts';
import { accepted } from '../errors.ts';
import type { Plane } from '../plane.ts';
import type { Implementation } from './rpc.ts';

export function workerService(plane: Plane): Implementation<typeof WorkerService> {
  return {
    async getQueueDepth({ actions }, { namespace }) {
      const depths = accepted(await plane.submit({ kind: 'read_queue_depth', namespace, actions }));
      return { pendingByAction: Object.fromEntries([...depths].map(([action, depth]) => [action, BigInt(depth)])) };
    },
  };
}
