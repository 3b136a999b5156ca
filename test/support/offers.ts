/** Assignments as streams are handed them. */
import type { InputSource, Offer } from '../../src/engine/effects.ts';

export function offerOf(runId: string, input: InputSource = { from: 'RUN' }): Offer {
  return {
    assignmentId: `assignment of ${runId}`,
    runId,
    runNumber: 0,
    workflow: '',
    stepId: runId,
    stepName: 'step',
    action: 'build',
    attempt: 1,
    labelsRevision: 0,
    executionTimeoutMs: null,
    input,
    device: null,
    metadata: {},
  };
}
