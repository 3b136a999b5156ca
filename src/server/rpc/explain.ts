/** AdminService: why a step waits, or why it is where it is. */
import type { MessageInitShape } from '@bufbuild/protobuf';
import type { AdminService, ExplainRunResponseSchema } from '../../../gen/yardmaster/v1/admin_service_pb.ts';
import {
  compareSeen,
  createSurvey,
  type Explanation,
  endedExplanation,
  type SeenReport,
  survey,
  waitingExplanation,
} from '../../domain/explain.ts';
import { isRefusal, refuse, refuseLimit } from '../../domain/refusal.ts';
import { type StepState, stepEnded } from '../../domain/step.ts';
import type { ExplainedStep } from '../../engine/commands.ts';
import type { RunView, StepView } from '../../engine/views.ts';
import { othersFirst } from '../../lib/clock.ts';
import { writeStepExplanation } from '../convert/explain.ts';
import { accepted, RefusedError } from '../errors.ts';
import type { Plane } from '../plane.ts';
import { createExplainPage, type ExplainPage } from './explain_page.ts';
import { COUNT, pageSize, readPageToken, writePageToken } from './paging.ts';
import type { Caller, Implementation } from './rpc.ts';
import { findRun } from './stored_run.ts';

/** Workers that are looked at before everything else has its turn again. */
export const WORKERS_PER_SLICE = 256;

export function explainRpcs(plane: Plane): Implementation<typeof AdminService> {
  return {
    async explainRun({ runId, stepName, pageSize: asked, pageToken }, caller) {
      const list = `explain ${runId} ${stepName}`;
      const offset = Number(readPageToken(pageToken, list, COUNT) ?? 0);
      const page = createExplainPage(offset, pageSize(asked, plane.limits));
      await fillPage(plane, caller, { runId, stepName }, page);
      return answerOf(page, list);
    },
  };
}

function answerOf(page: ExplainPage, list: string): MessageInitShape<typeof ExplainRunResponseSchema> {
  if (!page.fits()) {
    const steps = page.steps().length;
    throw new RefusedError(refuseLimit('step_name', steps, Math.max(1, page.stepsThatFit()), 'steps to explain at once'));
  }
  const next = page.nextOffset();
  return {
    steps: page.steps().map(({ name, state, explanation }) => writeStepExplanation(name, state, explanation)),
    nextPageToken: next === null ? '' : writePageToken(list, String(next)),
  };
}

interface Asked {
  readonly runId: string;
  /** Empty: every step that has not ended; of an ended run every step. */
  readonly stepName: string;
}

/** Who has gone gets no answer, so none is worked out. */
async function fillPage(plane: Plane, caller: Caller, asked: Asked, page: ExplainPage): Promise<void> {
  const stored = storedRun(plane, caller.namespace, asked.runId);
  const scans = new Map<string, Scan>();
  for (const name of await namesOf(plane, caller.namespace, asked, stored)) {
    if (caller.signal.aborted) return;
    const step = accepted(await plane.submit({ kind: 'explain_step', runId: asked.runId, stepName: name }));
    if (step !== null && 'demand' in step) {
      const { explanation, total } = await seenByAll(plane, caller, { ...asked, stepName: name }, step, page, scans);
      page.add({ name, state: step.state, explanation }, total);
      continue;
    }
    const { state, explanation } = await recordedOf(plane, step, name, stored);
    page.add({ name, state, explanation: { ...explanation, workers: page.part(explanation.workers) } }, explanation.workers.length);
  }
}
