/** Workers on the wire. */
import { create } from '@bufbuild/protobuf';
import { WorkerState as WireState, type Worker, WorkerSchema } from '../../../gen/yardmaster/v1/worker_pb.ts';
import type { WorkerState } from '../../domain/worker.ts';
import type { WorkerView } from '../../engine/views.ts';
import { writeLabels } from './labels.ts';
import { optionalTime, timestamp } from './time.ts';

const STATES: Readonly<Record<WorkerState, WireState>> = {
  OFFLINE: WireState.OFFLINE,
  IDLE: WireState.IDLE,
  BUSY: WireState.BUSY,
  DISCONNECTED: WireState.DISCONNECTED,
  CRASHED: WireState.CRASHED,
};

export function workerStateOnWire(state: WorkerState): WireState {
  return STATES[state];
}

export function writeWorker(view: WorkerView): Worker {
  return create(WorkerSchema, {
    workerId: view.workerId,
    name: view.name,
    namespace: view.namespace,
    displayName: view.displayName,
    nickname: view.nickname,
    state: STATES[view.state],
    draining: view.draining,
    defaultWorker: view.defaultWorker,
    tags: [...view.tags],
    labels: writeLabels(view.labels),
    labelsRevision: BigInt(view.labelsRevision),
    actions: [...view.actions],
    slots: view.slots,
    slotsUsed: view.slotsUsed,
    ...(view.devices
      ? {
          devices: {
            gpuIds: [...view.devices.gpuIds],
            ...(view.devices.cpuSlots === null ? {} : { cpuSlots: view.devices.cpuSlots }),
          },
        }
      : {}),
    assignments: view.assignments.map(({ assignmentId, runId, stepName, progress }) => ({
      assignmentId,
      runId,
      stepName,
      progressText: progress?.text ?? '',
      ...(progress?.fraction == null ? {} : { progressFraction: progress.fraction }),
    })),
    completedCount: BigInt(view.completedCount),
    registerTime: timestamp(view.registerMs),
    ...optionalTime('connectTime', view.connectMs),
    ...optionalTime('lastSeenTime', view.lastSeenMs),
    ...(view.sdk ? { sdk: view.sdk } : {}),
    notReadyReason: view.notReadyReason,
  });
}
