/** AdminService: why a step waits, or why it is where it is. */
import type { AdminService } from '../../../gen/yardmaster/v1/admin_service_pb.ts';
import {
  compareSeen,
  createSurvey,
  type Explanation,
  endedExplanation,
  type SeenReport,
  type Survey,
  survey,
  type WorkerReport,
  waitingExplanation,
} from '../../domain/explain.ts';
import { isRefusal, refuse, refuseField } from '../../domain/refusal.ts';
import { type StepState, stepEnded } from '../../domain/step.ts';
import type { ExplainedStep, ResultOf } from '../../engine/commands.ts';
import type { RunView, StepView } from '../../engine/views.ts';
import { othersFirst } from '../../lib/clock.ts';
import { writeStepExplanation } from '../convert/explain.ts';
import { accepted, RefusedError } from '../errors.ts';
import type { Plane } from '../plane.ts';
import { createExplainPage, type ExplainPage } from './explain_page.ts';
import { COUNT, pageSize, readPageToken, writePageToken } from './paging.ts';
import type { Implementation } from './rpc.ts';
import { findRun } from './stored_run.ts';

export function explainRpcs(plane: Plane): Implementation<typeof AdminService> {
  return {
    async explainRun({ runId, stepName, pageSize: asked, pageToken }, { namespace, signal }) {
      const list = `explain ${runId} ${stepName}`;
      const offset = Number(readPageToken(pageToken, list, COUNT) ?? 0);
      const page = createExplainPage(offset, pageSize(asked, plane.limits));
      const question = createQuestion(plane, namespace, runId, page, signal);
      for (const name of await question.steps(stepName)) await question.explain(name);
      if (!page.fits()) throw new RefusedError(tooManySteps(runId, page.entries().length));
      const next = page.nextOffset();
      return {
        steps: page.entries().map((entry) => writeStepExplanation(entry.name, entry.state, entry.explanation)),
        nextPageToken: next === null ? '' : writePageToken(list, String(next)),
      };
    },
  };
}

function tooManySteps(runId: string, steps: number) {
  return refuseField(
    'INVALID_FIELD',
    'step_name',
    `is empty, and the explanations of the ${steps} steps of run ${runId} do not fit into one answer`,
  );
}

interface Question {
  /** Names of the steps that are asked for. */
  steps(stepName: string): Promise<readonly string[]>;
  /** Puts the explanation of the step on the page. Who has gone gets no answer, so none is worked out. */
  explain(stepName: string): Promise<void>;
}

function createQuestion(
  plane: Plane,
  namespace: string,
  runId: string,
  page: ExplainPage,
  signal: AbortSignal,
): Question {
  const scans = new Map<string, Scan>();
  let stored: Promise<RunView> | null = null;

  /** Read after memory was asked: by then everything that memory called ended is stored. */
  function storedStep(name: string): Promise<StepView> {
    stored ??= findRun(plane, namespace, runId);
    return stored.then(({ steps }) => steps.find((step) => step.name === name) ?? notAStep(runId, name));
  }

  async function endedStepNamed(name: string): Promise<StepView> {
    const step = await storedStep(name);
    if (stepEnded(step.state)) return step;
    // It ended between that reading and now.
    stored = null;
    return storedStep(name);
  }

  async function explainWaiting(name: string, step: WaitingStep): Promise<void> {
    const known = step.sharedKey === null ? undefined : scans.get(step.sharedKey);
    const scan = known ?? (await scanWorkers(plane, { runId, stepName: name, demand: step.demand }, page, signal));
    if (scan === null) return;
    if (step.sharedKey !== null) scans.set(step.sharedKey, scan);
    const { found, workers } = scan;
    const explanation = waitingExplanation(step.standing, step.demand, found, found.best, workers);
    page.add({ name, state: step.state, explanation }, found.workers);
  }

  function addRecorded(name: string, state: StepState, recorded: Explanation): void {
    const explanation = { ...recorded, workers: page.cut(recorded.workers) };
    page.add({ name, state, explanation }, recorded.workers.length);
  }

  return {
    async steps(stepName) {
      const steps = await allSteps(plane, namespace, runId);
      if (stepName !== '') return [steps.find(({ name }) => name === stepName)?.name ?? notAStep(runId, stepName)];
      const live = steps.filter(({ ended }) => !ended);
      return (live.length > 0 ? live : steps).map(({ name }) => name);
    },
    async explain(stepName) {
      if (signal.aborted) return;
      const step = accepted(await plane.submit({ kind: 'explain_step', runId, stepName }));
      if (step === null) {
        const ended = await endedStepNamed(stepName);
        addRecorded(stepName, ended.state, endedExplanation(endedStep(ended), ended.endMs ?? plane.clock.nowMs()));
      } else if ('demand' in step) {
        await explainWaiting(stepName, step);
      } else {
        const why = step.isRecorded ? null : lastWhy(await storedStep(stepName));
        addRecorded(stepName, step.state, why === null ? step.placed : { ...why, ...nowOf(step.placed) });
      }
    },
  };
}

type WaitingStep = Extract<ExplainedStep, { readonly demand: unknown }>;

/** Only ended runs leave memory. */
async function allSteps(plane: Plane, namespace: string, runId: string) {
  const steps = await plane.submit({ kind: 'explain_run', namespace, runId });
  if (!isRefusal(steps) || steps.refused !== 'RUN_NOT_FOUND') return accepted(steps);
  const run = await findRun(plane, namespace, runId);
  return run.steps.map(({ name }) => ({ name, ended: true }));
}

function notAStep(runId: string, stepName: string): never {
  const message = `step_name "${stepName}" is not a step of run ${runId}`;
  throw new RefusedError(refuse('STEP_NOT_FOUND', message, { step_name: stepName }));
}

function endedStep(step: StepView) {
  return { state: step.state, failure: step.failure, recorded: step.failure?.explanation ?? lastWhy(step) };
}

function lastWhy({ attempts }: StepView): Explanation | null {
  return attempts.at(-1)?.why ?? null;
}

/** What of a placed step is as of now, whatever was recorded with its assignment. */
function nowOf({ scheduleDeadlineMs, asOfMs }: Explanation) {
  return { scheduleDeadlineMs, asOfMs };
}

/** Workers that are looked at before everybody else has a turn. */
export const WORKERS_PER_SLICE = 256;

/** What the workers of the namespace come to, and those of the page. */
interface Scan {
  readonly found: Survey<SeenReport>;
  readonly workers: readonly WorkerReport[];
}

/** null: the caller has gone. */
async function scanWorkers(
  plane: Plane,
  step: { readonly runId: string; readonly stepName: string; readonly demand: WaitingStep['demand'] },
  page: ExplainPage,
  signal: AbortSignal,
): Promise<Scan | null> {
  const found = createSurvey<SeenReport>();
  const seen: SeenReport[] = [];
  for (let after: number | null = 0; after !== null; ) {
    if (signal.aborted) return null;
    const limit = WORKERS_PER_SLICE;
    const slice: ResultOf<'explain_slice'> = accepted(
      await plane.submit({ kind: 'explain_slice', ...step, after, limit }),
    );
    for (const report of slice.reports) survey(found, report);
    seen.push(...slice.reports);
    after = slice.next;
    if (after !== null) await othersFirst();
  }
  return { found, workers: page.cut(seen.sort(compareSeen)) };
}
