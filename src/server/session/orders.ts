/** What the server says on a stream, made from what was decided. Pure. */
import { create } from '@bufbuild/protobuf';
import type { Timestamp } from '@bufbuild/protobuf/wkt';
import {
  CancelStepSchema,
  DrainSchema,
  EvictedSchema,
  EvictionReason,
  LabelsUpsertedSchema,
  ReconnectSchema,
  RefusedSchema,
  RunStepSchema,
} from '../../../gen/yardmaster/v1/worker_service_pb.ts';
import type { Refusal } from '../../domain/refusal.ts';
import type { ResultOf } from '../../engine/commands.ts';
import type { Effect, Offer } from '../../engine/effects.ts';
import { writeDevice } from '../convert/device.ts';
import { writeLabels } from '../convert/labels.ts';
import { duration } from '../convert/time.ts';
import { bounded, statusCode } from '../errors.ts';
import type { StepInput } from '../inputs.ts';
import type { Order } from './outgoing.ts';

export function runStepOrder(offer: Offer, { inputJson, runInputJson }: StepInput): Order {
  const { assignmentId, runId, workflow, stepId, stepName, action, attempt, executionTimeoutMs } = offer;
  const value = create(RunStepSchema, {
    assignmentId,
    runId,
    runNumber: BigInt(offer.runNumber),
    workflow,
    stepId,
    stepName,
    action,
    attempt,
    inputJson,
    runInputJson,
    ...(offer.device === null ? {} : { device: writeDevice(offer.device) }),
    labelsRevision: BigInt(offer.labelsRevision),
    ...(executionTimeoutMs === null ? {} : { executionTimeout: duration(executionTimeoutMs) }),
    metadata: { ...offer.metadata },
  });
  return { case: 'runStep', value };
}

/** The orders that need nothing but themselves. */
export function effectOrder(effect: Exclude<Effect, { kind: 'run_step' | 'end_stream' }>): Order {
  switch (effect.kind) {
    case 'cancel_step': {
      const { assignmentId, reason } = effect;
      return { case: 'cancelStep', value: create(CancelStepSchema, { assignmentId, reason }) };
    }
    case 'drain':
      return { case: 'drain', value: create(DrainSchema, { reason: effect.reason }) };
    case 'evict': {
      const { reason, message } = effect;
      return { case: 'evicted', value: create(EvictedSchema, { reason: EvictionReason[reason], message }) };
    }
  }
}

export function refusedOrder(sequence: number, refusal: Refusal): Order {
  const { refused: reason, message, metadata, retryAfterMs } = bounded(refusal);
  const value = create(RefusedSchema, {
    sequence: BigInt(sequence),
    code: statusCode(refusal),
    reason,
    message,
    metadata: { ...metadata },
    ...(retryAfterMs === undefined ? {} : { retryAfter: duration(retryAfterMs) }),
  });
  return { case: 'refused', value };
}

export function labelsUpsertedOrder({ labels, labelsRevision }: ResultOf<'upsert_labels'>): Order {
  const value = create(LabelsUpsertedSchema, { labels: writeLabels(labels), labelsRevision: BigInt(labelsRevision) });
  return { case: 'labelsUpserted', value };
}

/** Answers a heartbeat with its own time of sending and ours. As `create` makes it, without its walk over all fields. */
export function heartbeatOrder(sendTime: Timestamp | undefined, nowMs: number): Order {
  const ms = Math.round(nowMs);
  const seconds = Math.floor(ms / 1_000);
  const nanos = (ms - seconds * 1_000) * 1_000_000;
  const serverTime: Timestamp = { $typeName: 'google.protobuf.Timestamp', seconds: BigInt(seconds), nanos };
  const times = sendTime === undefined ? { serverTime } : { serverTime, sendTime };
  return { case: 'heartbeat', value: { $typeName: 'yardmaster.v1.ServerHeartbeat', ...times } };
}

export function reconnectOrder(reason: string): Order {
  return { case: 'reconnect', value: create(ReconnectSchema, { reason }) };
}
