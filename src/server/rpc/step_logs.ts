/** AdminService: what the handlers of a run have logged. */
import type { AdminService } from '../../../gen/yardmaster/v1/admin_service_pb.ts';
import { type Refusal, refuse, refuseField } from '../../domain/refusal.ts';
import type { RunView, StepView } from '../../engine/views.ts';
import { readCutBytes, readLogs } from '../../store/queries/read_logs.ts';
import { writeLine } from '../convert/log.ts';
import { RefusedError } from '../errors.ts';
import type { Plane } from '../plane.ts';
import { COUNT, pageSize, readPageToken, writePageToken } from './paging.ts';
import type { Implementation } from './rpc.ts';
import { findRun } from './stored_run.ts';

export function stepLogRpcs(plane: Plane): Implementation<typeof AdminService> {
  const { limits, reads } = plane;
  return {
    async getStepLogs(request, { namespace }) {
      const run = await findRun(plane, namespace, request.runId);
      const step = stepOf(run, request.stepName);
      const size = pageSize(request.pageSize, limits);
      const after = Number(readPageToken(request.pageToken, 'logs', COUNT) ?? 0);
      const found = await readLogs(reads, run.runId, step.name, after, size + 1);
      const page = found.slice(0, size);
      return {
        lines: page.map(writeLine),
        nextPageToken: found.length > size ? writePageToken('logs', String(page.at(-1)?.logId)) : '',
        cutBytes: BigInt(await readCutBytes(reads, run.runId, step.name)),
      };
    },
  };
}

/** Empty means the only step; which one of several would be a guess. */
function stepOf(run: RunView, stepName: string): StepView {
  const [first] = run.steps;
  if (stepName === '' && run.steps.length > 1) {
    const names = run.steps.slice(0, NAMES_SHOWN_MAX).map(({ name }) => `"${name}"`);
    throw new RefusedError(
      refuseField(
        'INVALID_FIELD',
        'step_name',
        `is empty, and run ${run.runId} has several steps: ${names.join(', ')}`,
      ),
    );
  }
  const step = stepName === '' ? first : run.steps.find(({ name }) => name === stepName);
  if (step !== undefined) return step;
  throw new RefusedError(noSuchStep(run.runId, stepName));
}

export function noSuchStep(runId: string, stepName: string): Refusal {
  return refuse('STEP_NOT_FOUND', `step_name "${stepName}" is not a step of run ${runId}`, { step_name: stepName });
}

const NAMES_SHOWN_MAX = 5;
