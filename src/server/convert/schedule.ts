/** ScheduleRunRequest, checked against the configured limits, as a draft the engine takes. */
import { durationMs } from '@bufbuild/protobuf/wkt';
import type { ScheduleRunRequest } from '../../../gen/yardmaster/v1/admin_service_pb.ts';
import {
  type Retry,
  Sticky,
  Priority as WirePriority,
  type StepDefinition as WireStep,
} from '../../../gen/yardmaster/v1/run_pb.ts';
import { DeviceKind } from '../../../gen/yardmaster/v1/worker_pb.ts';
import type { Limits } from '../../domain/limits.ts';
import { PRIORITY_DEFAULT, type Priority } from '../../domain/priority.ts';
import { isRefusal, type Refusal, refuseField, refuseLimit } from '../../domain/refusal.ts';
import { RETRY_DEFAULT, type RetryPolicy } from '../../domain/retry.ts';
import { parseTags } from '../../domain/tags.ts';
import { compareText } from '../../domain/text.ts';
import type { RunDraft } from '../../engine/commands.ts';
import type { StepDefinition } from '../../engine/state.ts';
import { digest } from '../../lib/random.ts';
import { checkJsonText, jsonTextOf } from './json_text.ts';
import { readDesiredLabels } from './labels.ts';
import { checkText } from './text.ts';
import { durationOrNull } from './time.ts';

/** Everything but the ids, which the caller adds. `path` goes before field names in refusals ('' or 'runs[3].'). */
export type RunRequest = Omit<RunDraft, 'runId' | 'known'>;

export function readScheduleRun(
  path: string,
  namespace: string,
  request: ScheduleRunRequest,
  limits: Limits,
): RunRequest | Refusal {
  const missing = notYet(path, request);
  if (missing) return missing;
  if (request.what.case !== 'step')
    return refuseField('INVALID_FIELD', `${path}step`, 'a run needs a step or a workflow');
  const definition = readStep(`${path}step.`, request.what.value, request, limits);
  if (isRefusal(definition)) return definition;
  const runsOn = parseTags(`${path}runs_on`, request.runsOn, limits.runsOnMax, limits);
  if (isRefusal(runsOn)) return runsOn;
  const desired = readDesiredLabels(`${path}desired_labels`, request.desiredLabels, limits);
  if (isRefusal(desired)) return desired;
  const inputJson = readInput(path, request, limits);
  if (isRefusal(inputJson)) return inputJson;
  const metadata = readMetadata(`${path}metadata`, request.metadata, limits);
  if (isRefusal(metadata)) return metadata;
  const badRequestId = checkText(`${path}request_id`, request.requestId, limits.valueBytesMax);
  if (badRequestId) return badRequestId;
  const priority = request.priority === WirePriority.UNSPECIFIED ? PRIORITY_DEFAULT : (request.priority as Priority);
  const body = { definition, runsOn, desired, priority, inputJson, metadata };
  const requestDigest = request.requestId === '' ? '' : digest(JSON.stringify(body));
  return { namespace, ...body, requestId: request.requestId, requestDigest };
}

/** What the contract has and this version does not do yet is refused by name: silently ignored it would be a trap. */
function notYet(path: string, request: ScheduleRunRequest): Refusal | null {
  const step = request.what.case === 'step' ? request.what.value : undefined;
  const asked: readonly (readonly [field: string, isAsked: boolean])[] = [
    ['workflow', request.what.case === 'workflow'],
    ['workflow_version', request.workflowVersion !== undefined],
    ['sticky', request.sticky !== Sticky.UNSPECIFIED && request.sticky !== Sticky.NONE],
    ['dedupe', request.dedupe],
    ['content_hash', request.contentHash !== ''],
    ['hash_exclude', request.hashExclude.length > 0],
    ['depends_on_run_ids', request.dependsOnRunIds.length > 0],
    ['concurrency', request.concurrency !== undefined],
    ['pin_to_worker_id', request.pinToWorkerId !== ''],
    ['step.device', step !== undefined && step.device !== DeviceKind.UNSPECIFIED],
    ['step.no_device_fallback', step?.noDeviceFallback === true],
    ['step.max_invalid_reports', step?.maxInvalidReports !== undefined],
  ];
  const field = asked.find(([, isAsked]) => isAsked)?.[0];
  return field === undefined
    ? null
    : refuseField('NOT_IMPLEMENTED', `${path}${field}`, 'is not supported by this version');
}

function readStep(path: string, step: WireStep, request: ScheduleRunRequest, limits: Limits): StepDefinition | Refusal {
  if (step.action === '')
    return refuseField('INVALID_FIELD', `${path}action`, 'is empty: it names the handler the step needs');
  const name = step.name === '' ? step.action : step.name;
  const bad =
    checkText(`${path}action`, step.action, limits.keyBytesMax) ?? checkText(`${path}name`, name, limits.keyBytesMax);
  if (bad) return bad;
  if (step.needs.length > 0) {
    return refuseField(
      'INVALID_FIELD',
      `${path}needs`,
      `"${step.needs[0]}" is not a step of this run, which has only one`,
    );
  }
  const runsOn = parseTags(`${path}runs_on`, step.runsOn, limits.runsOnMax, limits);
  if (isRefusal(runsOn)) return runsOn;
  const desired = readDesiredLabels(`${path}desired_labels`, step.desiredLabels, limits);
  if (isRefusal(desired)) return desired;
  return {
    name,
    action: step.action,
    runsOn,
    desired,
    scheduleTimeoutMs: durationOrNull(step.scheduleTimeout) ?? durationOrNull(request.scheduleTimeout),
    executionTimeoutMs: positive(durationOrNull(step.executionTimeout) ?? durationOrNull(request.executionTimeout)),
    progressTimeoutMs: positive(durationOrNull(step.progressTimeout)),
    reconnectGraceMs: durationOrNull(step.reconnectGrace),
    retry: readRetry(step.retry),
  };
}

/** 0s means the same as unset: none. */
function positive(ms: number | null): number | null {
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

function readInput(path: string, request: ScheduleRunRequest, limits: Limits): string | Refusal {
  if (request.inputJson === undefined) {
    if (request.input === undefined) return 'null';
    const text = jsonTextOf(`${path}input`, request.input, limits);
    return isRefusal(text) ? text : (checkJsonText(`${path}input`, text, limits) ?? text);
  }
  if (request.input !== undefined)
    return refuseField('INVALID_FIELD', `${path}input_json`, 'input is set too: give one of them');
  return checkJsonText(`${path}input_json`, request.inputJson, limits) ?? request.inputJson;
}

/** Sorted by key: a map has no order on the wire, and the same request must have the same digest. */
export function readMetadata(
  field: string,
  metadata: Record<string, string>,
  limits: Limits,
): Record<string, string> | Refusal {
  const entries = Object.entries(metadata).sort(([a], [b]) => compareText(a, b));
  if (entries.length > limits.metadataEntriesMax)
    return refuseLimit(field, entries.length, limits.metadataEntriesMax, 'entries');
  for (const [key, value] of entries) {
    const bad =
      checkText(`${field} key`, key, limits.keyBytesMax) ??
      checkText(`${field}["${key}"]`, value, limits.valueBytesMax);
    if (bad) return bad;
  }
  return Object.fromEntries(entries);
}
