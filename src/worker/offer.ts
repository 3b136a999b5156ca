/** Whether a step that was pushed here is taken. */
import { ReturnReason, type RunStep } from '../../gen/yardmaster/v1/worker_service_pb.ts';
import type { WorkerOptions } from './options.ts';
import type { GiveBack } from './session-ports.ts';
import { cutToBytes, withoutNul } from './text.ts';

const DETAIL_BYTES_MAX = 1_024;

/** Asks the author's accept(), if there is one; undefined means yes. */
export function objectionOf(
  accept: WorkerOptions['accept'],
  order: RunStep,
  labelsRevision: bigint,
): GiveBack | undefined {
  if (accept === undefined) return undefined;
  const { assignmentId, runId, stepName, action, attempt, inputJson, metadata } = order;
  const labelsAreStale = order.labelsRevision < labelsRevision;
  const offer = { assignmentId, runId, stepName, action, attempt, inputJson, metadata };
  try {
    const answer = accept({ ...offer, labelsAreStale });
    if (answer === true) return undefined;
    const { reason, detail } = typeof answer === 'string' ? { reason: answer, detail: '' } : answer;
    return { reason: ReturnReason[reason], detail: fitting(detail) };
  } catch (error) {
    return { reason: ReturnReason.OTHER, detail: fitting(`accept() threw: ${String(error)}`) };
  }
}

function fitting(detail: string): string {
  return cutToBytes(withoutNul(detail), DETAIL_BYTES_MAX);
}
