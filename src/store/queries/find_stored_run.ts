import type { Sql } from 'postgres';
import { equalTarget } from '../../domain/equal.ts';
import type { StoredRun, StoredSuccess } from '../../engine/commands.ts';
import type { LiveRunRow, LiveStepRow } from '../../engine/rows.ts';
import { liveRunColumns, liveStepColumns } from '../live_rows.ts';
import { findSuccesses } from './find_successes.ts';
import { readWorkflow } from './read_workflow.ts';

/**
 * A run (its id is a UUID) as the engine goes on from it, or null. The statements may see a run that is under way at
 * different moments; one that has ended stays as it is.
 */
export async function findStoredRun(sql: Sql, namespace: string, runId: string): Promise<StoredRun | null> {
  const [run] = await sql<LiveRunRow[]>`
    SELECT ${liveRunColumns(sql)} FROM runs WHERE run_id = ${runId} AND namespace = ${namespace}`;
  if (run === undefined) return null;
  const steps =
    run.action === null
      ? await sql<LiveStepRow[]>`SELECT ${liveStepColumns(sql)} FROM steps WHERE run_id = ${runId} ORDER BY place`
      : [];
  const { workflow, workflow_version: version } = run;
  return {
    run,
    steps,
    workflow: workflow === null ? null : await readWorkflow(sql, namespace, workflow, version),
    success: await findSuccess(sql, run),
  };
}

/** Of a run equal to this one. */
async function findSuccess(sql: Sql, run: LiveRunRow): Promise<StoredSuccess | null> {
  const { namespace, content_hash: contentHash, workflow, workflow_version: version, action } = run;
  if (contentHash === null) return null;
  const target = equalTarget(workflow, action ?? '');
  const [success] = await findSuccesses(sql, namespace, [{ contentHash, target, version }]);
  return success ?? null;
}
