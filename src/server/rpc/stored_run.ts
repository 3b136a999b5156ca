/** One run as answers show it: as stored, with what only memory has. */
import { refuse } from '../../domain/refusal.ts';
import type { LiveStep } from '../../engine/commands.ts';
import type { RunView, StepView } from '../../engine/views.ts';
import { readRun } from '../../store/queries/read_run.ts';
import { type WrittenRun, writeRun } from '../convert/run.ts';
import { accepted, RefusedError } from '../errors.ts';
import type { Plane } from '../plane.ts';
import { RUN_ID } from './paging.ts';

export async function answerRun(plane: Plane, namespace: string, runId: string): Promise<WrittenRun> {
  return withLiveSteps(plane, await findRun(plane, namespace, runId));
}

export async function answerNumberedRun(
  plane: Plane,
  namespace: string,
  workflow: string,
  number: bigint,
): Promise<WrittenRun> {
  // The store counts as numbers do, and no workflow has had more runs.
  const isPossible = number <= BigInt(Number.MAX_SAFE_INTEGER);
  const run = isPossible ? await readRun(plane.reads, namespace, { workflow, number: Number(number) }) : null;
  if (run !== null) return withLiveSteps(plane, run);
  throw new RefusedError(
    refuse('RUN_NOT_FOUND', `workflow "${workflow}" has no run number ${number} in namespace "${namespace}"`, {
      workflow,
      number: String(number),
    }),
  );
}

export async function findRun(plane: Plane, namespace: string, runId: string): Promise<RunView> {
  const run = RUN_ID.test(runId) ? await readRun(plane.reads, namespace, runId) : null;
  if (run !== null) return run;
  throw new RefusedError(
    refuse('RUN_NOT_FOUND', `run_id "${runId}" does not exist in namespace "${namespace}"`, { run_id: runId }),
  );
}

async function withLiveSteps(plane: Plane, run: RunView): Promise<WrittenRun> {
  const live = accepted(await plane.submit({ kind: 'read_progress', runId: run.runId }));
  return writeRun({ ...run, steps: run.steps.map((step) => withLive(step, live.get(step.name))) });
}

/** Memory may be ahead of what was read: a reason to be blocked is of use only to a step that was. */
function withLive(step: StepView, live: LiveStep | undefined): StepView {
  if (live === undefined) return step;
  const blockedReason = step.state === 'BLOCKED' ? live.blockedReason || step.blockedReason : '';
  return { ...step, progress: live.progress ?? step.progress, blockedReason };
}
