/** AdminService: runs are edited, cancelled and retried. */
import { type AdminService, CancelMode } from '../../../gen/yardmaster/v1/admin_service_pb.ts';
import { Priority as WirePriority } from '../../../gen/yardmaster/v1/run_pb.ts';
import type { Priority } from '../../domain/priority.ts';
import { isRefusal, type Refusal, refuse } from '../../domain/refusal.ts';
import { parseTags } from '../../domain/tags.ts';
import type { StoredRun } from '../../engine/commands.ts';
import { findStoredRun } from '../../store/queries/find_stored_run.ts';
import { checkText } from '../convert/text.ts';
import { accepted, RefusedError } from '../errors.ts';
import type { Plane } from '../plane.ts';
import { readDependencyStates } from './drafts.ts';
import { RUN_ID } from './paging.ts';
import type { Implementation } from './rpc.ts';
import { answerRun, findRun } from './stored_run.ts';

export function runChangeRpcs(plane: Plane): Implementation<typeof AdminService> {
  const { limits } = plane;
  return {
    async updateRun({ runId, priority, runsOn }, { namespace }) {
      const tags = runsOn ? accepted(parseTags('runs_on.tags', runsOn.tags, limits.runsOnMax, limits)) : null;
      const updated = await plane.submit({
        kind: 'update_run',
        namespace,
        runId,
        priority: priority === WirePriority.UNSPECIFIED ? null : (priority as Priority),
        runsOn: tags,
      });
      if (hasLeftMemory(updated)) {
        const { state } = await findRun(plane, namespace, runId);
        throw new RefusedError(refuse('RUN_STATE', `run ${runId} has ended: ${state}`, { run_id: runId, state }));
      }
      accepted(updated);
      return { run: await answerRun(plane, namespace, runId) };
    },

    async cancelRun({ runId, mode, reason, stepName }, { namespace }) {
      const bad = checkText('reason', reason, limits.payloadBytesMax);
      if (bad) throw new RefusedError(bad);
      const cancelled = await plane.submit({
        kind: 'cancel_run',
        namespace,
        runId,
        mode: mode === CancelMode.IF_PENDING ? 'IF_PENDING' : 'ANY',
        reason,
        stepName,
      });
      if (hasLeftMemory(cancelled)) await checkCancelled(plane, namespace, runId);
      else accepted(cancelled);
      return { run: await answerRun(plane, namespace, runId) };
    },

    async retryRun({ runId, keepPin }, { namespace }) {
      const stored = RUN_ID.test(runId) ? await findStoredRun(plane.reads, namespace, runId) : null;
      const storedDependencies = await readDependencyStates(plane, namespace, dependenciesOf(stored));
      accepted(await plane.submit({ kind: 'retry_run', namespace, runId, keepPin, stored, storedDependencies }));
      return { run: await answerRun(plane, namespace, runId) };
    },
  };
}

/** Or it was never there. Only ended runs leave memory. */
function hasLeftMemory(result: unknown): result is Refusal {
  return isRefusal(result) && result.refused === 'RUN_NOT_FOUND';
}

/** As in memory: an ended run that was cancelled may be cancelled again, and another one may not. */
async function checkCancelled(plane: Plane, namespace: string, runId: string): Promise<void> {
  const { state } = await findRun(plane, namespace, runId);
  if (state === 'CANCELLED') return;
  throw new RefusedError(refuse('STEP_STATE', `run ${runId} has ended: ${state}`, { run_id: runId, state }));
}

function dependenciesOf(stored: StoredRun | null): readonly string[] {
  const json = stored?.run.depends_on ?? null;
  return json === null ? [] : JSON.parse(json);
}
