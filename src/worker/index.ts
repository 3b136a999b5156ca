/** The worker SDK: `import { createWorker } from 'yardmaster/worker'`. */
export type { StepContext, StepDevice, StepLog, WorkerHandle } from './context.ts';
export {
  type AbortKind,
  AssignmentAbortedError,
  ConnectRefusedError,
  InputInvalidError,
  LabelsRefusedError,
  NonRetryableError,
  WorkerClosedError,
} from './errors.ts';
export type { WorkerEvent } from './events.ts';
export { parseGpuIds } from './hello.ts';
export type { LabelPatch, Labels, LabelValue } from './labels.ts';
export {
  type ActionHandler,
  action,
  type DeviceOptions,
  type ReturnReasonName,
  type StepOffer,
  type TlsOptions,
  type WorkerOptions,
} from './options.ts';
export { type RawJson, rawJson } from './outcome.ts';
export type { Progress } from './progress.ts';
export { createWorker } from './worker.ts';
export type { StopOptions, Worker, WorkerEnd, WorkerHealth } from './worker-api.ts';
