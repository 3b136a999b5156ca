/** What a step's command finds in its environment. */
import type { StepContext } from '../../worker/index.ts';
import type { StepFiles } from './step_files.ts';

/** The agent's own environment but for its token, which is the agent's alone, and on top of it all about the step. */
export function stepEnvironment(ctx: StepContext, files: StepFiles, own: NodeJS.ProcessEnv): NodeJS.ProcessEnv {
  const { YARDMASTER_DEVICE: _ofSomebodyElse, YARDMASTER_TOKEN: _ofTheAgent, ...rest } = own;
  return {
    ...rest,
    YARDMASTER_RUN_ID: ctx.runId,
    YARDMASTER_STEP_NAME: ctx.stepName,
    YARDMASTER_ACTION: ctx.action,
    YARDMASTER_ATTEMPT: String(ctx.attempt),
    YARDMASTER_ASSIGNMENT_ID: ctx.assignmentId,
    YARDMASTER_WORKER_ID: ctx.worker.id,
    YARDMASTER_WORKER_NAME: ctx.worker.name,
    YARDMASTER_METADATA: JSON.stringify(ctx.metadata),
    YARDMASTER_INPUT_FILE: files.input,
    YARDMASTER_OUTPUT: files.output,
    YARDMASTER_PROGRESS: files.progress,
    YARDMASTER_LABELS: files.labels,
    ...(ctx.device === undefined ? {} : { YARDMASTER_DEVICE: ctx.device.id || 'cpu' }),
    ...ctx.deviceEnvironment,
  };
}
