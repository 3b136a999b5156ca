/** The facts a worker states about its work: each is settled by the server once, however often it is sent. */
import { create } from '@bufbuild/protobuf';
import type { ConnectRequest, LogLine, ReturnReason } from '../../gen/yardmaster/v1/worker_service_pb.ts';
import {
  InputInvalidSchema,
  SlotsChangedSchema,
  StepAcceptedSchema,
  StepCancelledSchema,
  StepFailedSchema,
  StepLoggedSchema,
  StepReturnedSchema,
  StepSucceededSchema,
} from '../../gen/yardmaster/v1/worker_service_pb.ts';

/** Anything that may stand in ConnectRequest.message. */
export type StreamMessage = Exclude<ConnectRequest['message'], { case: undefined }>;

export type Fact = Exclude<
  StreamMessage,
  { case: 'hello' | 'heartbeat' | 'upsertLabels' | 'stepProgressed' | 'goodbye' }
>;

export interface FailureReport {
  reason: string;
  type: string;
  message: string;
  stack?: string;
  retryable?: boolean;
}

/** Empty for the one fact that is about the worker itself. */
export function assignmentOf(fact: Fact): string {
  return fact.case === 'slotsChanged' ? '' : fact.value.assignmentId;
}

/** True of a fact after which the assignment is no longer held. */
export function isEnd(fact: Fact): boolean {
  switch (fact.case) {
    case 'stepReturned':
    case 'stepSucceeded':
    case 'stepFailed':
    case 'stepCancelled':
    case 'inputInvalid':
      return true;
    default:
      return false;
  }
}

export function accepted(assignmentId: string): Fact {
  return { case: 'stepAccepted', value: create(StepAcceptedSchema, { assignmentId }) };
}

export function returned(assignmentId: string, reason: ReturnReason, detail: string): Fact {
  return {
    case: 'stepReturned',
    value: create(StepReturnedSchema, { assignmentId, reason, detail }),
  };
}

export function logged(assignmentId: string, firstLineNumber: number, lines: LogLine[]): Fact {
  const first = BigInt(firstLineNumber);
  return {
    case: 'stepLogged',
    value: create(StepLoggedSchema, { assignmentId, firstLineNumber: first, lines }),
  };
}

export function succeeded(assignmentId: string, outputJson: string): Fact {
  return {
    case: 'stepSucceeded',
    value: create(StepSucceededSchema, { assignmentId, outputJson }),
  };
}

export function failed(assignmentId: string, error: FailureReport): Fact {
  return { case: 'stepFailed', value: create(StepFailedSchema, { assignmentId, error }) };
}

export function cancelled(assignmentId: string): Fact {
  return { case: 'stepCancelled', value: create(StepCancelledSchema, { assignmentId }) };
}

export function inputInvalid(assignmentId: string, stepName: string, reason: string): Fact {
  return {
    case: 'inputInvalid',
    value: create(InputInvalidSchema, { assignmentId, stepName, reason }),
  };
}

export function slotsChanged(slots: number): Fact {
  return { case: 'slotsChanged', value: create(SlotsChangedSchema, { slots }) };
}
