/** What leaves the engine towards the streams. Nothing here happens before the commit of the changes beside it. */
import type { Device } from '../domain/devices.ts';
import { laterGenerations } from './generations.ts';
import type { AssignmentRecord, StepRecord } from './state.ts';

/** Where a step's input comes from; the payloads themselves are fetched when the offer leaves. */
export type InputSource =
  | { readonly from: 'RUN' }
  /** The output of its one need, as it is. */
  | { readonly from: 'STEP'; readonly stepName: string; readonly generations?: Generations }
  /** An object {step name: output}. */
  | { readonly from: 'STEPS'; readonly stepNames: readonly string[]; readonly generations?: Generations };

/** Which output of a step, by its name, where it is not the first one. */
export type Generations = ReadonlyMap<string, number>;

/** An assignment as the worker is told of it. */
export interface Offer {
  readonly assignmentId: string;
  readonly runId: string;
  readonly runNumber: number;
  /** Empty: none. */
  readonly workflow: string;
  readonly stepId: string;
  readonly stepName: string;
  readonly action: string;
  readonly attempt: number;
  readonly labelsRevision: number;
  readonly executionTimeoutMs: number | null;
  readonly input: InputSource;
  readonly device: Device | null;
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

export function offerOf(step: StepRecord, assignment: AssignmentRecord): Offer {
  const { assignmentId, number: attempt, labelsRevision, device } = assignment;
  return {
    assignmentId,
    runId: step.run.runId,
    runNumber: step.run.number,
    workflow: step.run.workflow?.name ?? '',
    stepId: step.stepId,
    stepName: step.definition.name,
    action: step.definition.action,
    attempt,
    labelsRevision,
    executionTimeoutMs: executionTimeoutOf(step),
    input: inputSourceOf(step),
    device,
    metadata: step.run.metadata,
  };
}

/** The step's own limit, else the run's; null: none. */
export function executionTimeoutOf(step: StepRecord): number | null {
  return step.definition.executionTimeoutMs ?? step.run.executionTimeoutMs;
}

const FROM_RUN: InputSource = { from: 'RUN' };

function inputSourceOf(step: StepRecord): InputSource {
  const { needs } = step.definition;
  const [first] = needs;
  if (first === undefined) return FROM_RUN;
  const later = laterGenerations(step);
  const generations = later === null ? {} : { generations: later };
  if (needs.length === 1) return { from: 'STEP', stepName: first, ...generations };
  return { from: 'STEPS', stepNames: needs, ...generations };
}
