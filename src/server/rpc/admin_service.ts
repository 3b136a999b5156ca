/** AdminService, put together from its groups. */
import type { AdminService } from '../../../gen/yardmaster/v1/admin_service_pb.ts';
import type { Plane } from '../plane.ts';
import type { Implementation } from './rpc.ts';
import { runRpcs } from './runs.ts';
import { watchRpcs } from './watches.ts';
import { workerRpcs } from './workers.ts';

export function adminService(plane: Plane): Implementation<typeof AdminService> {
  return { ...workerRpcs(plane), ...runRpcs(plane), ...watchRpcs(plane) };
}
