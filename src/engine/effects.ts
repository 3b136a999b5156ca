/** What leaves the engine towards the streams. Nothing here happens before the commit of the changes beside it. */
import type { StepRecord } from './state.ts';

/** An assignment as the worker is told of it; its input is fetched by run id when it leaves. */
export interface Offer {
  readonly assignmentId: string;
  readonly runId: string;
  readonly stepId: string;
  readonly stepName: string;
  readonly action: string;
  readonly attempt: number;
  readonly labelsRevision: number;
  readonly executionTimeoutMs: number | null;
  readonly metadata: Readonly<Record<string, string>>;
}

type EvictionReason = 'SUPERSEDED' | 'SILENT' | 'DELETED' | 'TOKEN_REVOKED' | 'STANDING_DOWN';

export type Effect =
  | { readonly kind: 'run_step'; readonly connection: number; readonly offer: Offer }
  | {
      readonly kind: 'cancel_step';
      readonly connection: number;
      readonly assignmentId: string;
      readonly reason: string;
    }
  | { readonly kind: 'end_stream'; readonly connection: number }
  | { readonly kind: 'drain'; readonly connection: number; readonly reason: string }
  | { readonly kind: 'evict'; readonly connection: number; readonly reason: EvictionReason; readonly message: string };

export function offerOf(step: StepRecord, assignmentId: string, attempt: number, labelsRevision: number): Offer {
  return {
    assignmentId,
    runId: step.run.runId,
    stepId: step.stepId,
    stepName: step.definition.name,
    action: step.definition.action,
    attempt,
    labelsRevision,
    executionTimeoutMs: step.definition.executionTimeoutMs,
    metadata: step.run.metadata,
  };
}
