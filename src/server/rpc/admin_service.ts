/** AdminService, put together from its groups. */
import type { AdminService } from '../../../gen/yardmaster/v1/admin_service_pb.ts';
import type { Plane } from '../plane.ts';
import { explainRpcs } from './explain.ts';
import { namespaceRpcs } from './namespaces.ts';
import { resultRpcs } from './results.ts';
import type { Implementation } from './rpc.ts';
import { runChangeRpcs } from './run_changes.ts';
import { runRpcs } from './runs.ts';
import { statsRpcs } from './stats.ts';
import { stepLogRpcs } from './step_logs.ts';
import { watchRpcs } from './watches.ts';
import { workerRpcs } from './workers.ts';
import { workflowRpcs } from './workflows.ts';

export function adminService(plane: Plane): Implementation<typeof AdminService> {
  return {
    ...workerRpcs(plane),
    ...workflowRpcs(plane),
    ...runRpcs(plane),
    ...runChangeRpcs(plane),
    ...stepLogRpcs(plane),
    ...explainRpcs(plane),
    ...namespaceRpcs(plane),
    ...statsRpcs(plane),
    ...watchRpcs(plane),
    ...resultRpcs(plane),
  };
}
