/** StepDefinitions, checked against the configured limits. */
import { durationMs } from '@bufbuild/protobuf/wkt';
import type { Retry, StepDefinition as WireStep } from '../../../gen/yardmaster/v1/run_pb.ts';
import { DeviceKind } from '../../../gen/yardmaster/v1/worker_pb.ts';
import type { DeviceDemand } from '../../domain/devices.ts';
import type { Limits } from '../../domain/limits.ts';
import { isRefusal, type Refusal, refuseField } from '../../domain/refusal.ts';
import { MAX_INVALID_REPORTS_DEFAULT, RETRY_DEFAULT, type RetryPolicy } from '../../domain/retry.ts';
import { parseTags } from '../../domain/tags.ts';
import type { StepDefinition } from '../../engine/state.ts';
import { readDesiredLabels } from './labels.ts';
import { checkText } from './text.ts';
import { durationOrNull } from './time.ts';

/** `path` goes before field names in refusals: 'step.' or 'steps[2].'. Its needs are not looked up. */
export function readStep(path: string, step: WireStep, limits: Limits): StepDefinition | Refusal {
  if (step.action === '')
    return refuseField('INVALID_FIELD', `${path}action`, 'is empty: it names the handler the step needs');
  const name = step.name === '' ? step.action : step.name;
  const bad =
    checkText(`${path}action`, step.action, limits.keyBytesMax) ?? checkText(`${path}name`, name, limits.keyBytesMax);
  if (bad) return bad;
  const runsOn = parseTags(`${path}runs_on`, step.runsOn, limits.runsOnMax, limits);
  if (isRefusal(runsOn)) return runsOn;
  const desired = readDesiredLabels(`${path}desired_labels`, step.desiredLabels, limits);
  if (isRefusal(desired)) return desired;
  return {
    name,
    action: step.action,
    needs: [...new Set(step.needs)],
    runsOn,
    desired,
    scheduleTimeoutMs: durationOrNull(step.scheduleTimeout),
    executionTimeoutMs: positive(durationOrNull(step.executionTimeout)),
    progressTimeoutMs: positive(durationOrNull(step.progressTimeout)),
    reconnectGraceMs: durationOrNull(step.reconnectGrace),
    retry: readRetry(step.retry),
    device: readDeviceDemand(step),
    maxInvalidReports: step.maxInvalidReports ?? MAX_INVALID_REPORTS_DEFAULT,
  };
}

/** `no_device_fallback` without a GPU to wait for has nothing to forbid. */
function readDeviceDemand({ device, noDeviceFallback }: WireStep): DeviceDemand | null {
  if (device === DeviceKind.UNSPECIFIED) return null;
  return { kind: device === DeviceKind.GPU ? 'GPU' : 'CPU', fallback: !noDeviceFallback };
}

/** 0s means the same as unset: none. */
export function positive(ms: number | null): number | null {
  return ms === 0 ? null : ms;
}

function readRetry(retry: Retry | undefined): RetryPolicy {
  if (retry === undefined) return RETRY_DEFAULT;
  return {
    attemptsMax: retry.maxAttempts ?? RETRY_DEFAULT.attemptsMax,
    initialBackoffMs: retry.initialBackoff ? durationMs(retry.initialBackoff) : RETRY_DEFAULT.initialBackoffMs,
    backoffFactor: retry.backoffFactor ?? RETRY_DEFAULT.backoffFactor,
    backoffMsMax: retry.maxBackoff ? durationMs(retry.maxBackoff) : RETRY_DEFAULT.backoffMsMax,
    workerLossesMax: retry.maxWorkerLosses ?? RETRY_DEFAULT.workerLossesMax,
  };
}
