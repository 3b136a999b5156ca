/** ScheduleRunRequest, checked against the configured limits, as a draft the engine takes. */
import type { ScheduleRunRequest } from '../../../gen/yardmaster/v1/admin_service_pb.ts';
import { type Concurrency as WireConcurrency, Priority as WirePriority } from '../../../gen/yardmaster/v1/run_pb.ts';
import type { Limits } from '../../domain/limits.ts';
import { PRIORITY_DEFAULT, type Priority } from '../../domain/priority.ts';
import { isRefusal, type Refusal, refuseField, refuseLimit } from '../../domain/refusal.ts';
import { parseTags, type TagSet } from '../../domain/tags.ts';
import { compareText } from '../../domain/text.ts';
import type { RunDraft } from '../../engine/commands.ts';
import type { Concurrency, StepDefinition } from '../../engine/state.ts';
import { digest } from '../../lib/random.ts';
import { readContentHash } from './equal.ts';
import { checkJsonText, jsonTextOf } from './json_text.ts';
import { definitionJson, readKnownStep } from './known_steps.ts';
import { readDesiredLabels } from './labels.ts';
import { positive } from './step.ts';
import { readSticky } from './sticky.ts';
import { checkText } from './text.ts';
import { durationOrNull } from './time.ts';

/** What a request says; its ids, and what the store knows about what it names, come later. */
export interface RunRequest
  extends Omit<RunDraft, 'runId' | 'known' | 'storedDependencies' | 'storedSuccess' | 'what'> {
  readonly what: { readonly step: StepDefinition } | { readonly workflow: WorkflowRequest };
}

interface WorkflowRequest {
  readonly name: string;
  /** null: the newest. */
  readonly version: number | null;
}

/** `path` goes before field names in refusals ('' or 'runs[3].'). */
export function readScheduleRun(
  path: string,
  namespace: string,
  request: ScheduleRunRequest,
  limits: Limits,
): RunRequest | Refusal {
  const runsOn = parseTags(`${path}runs_on`, request.runsOn, limits.runsOnMax, limits);
  if (isRefusal(runsOn)) return runsOn;
  const what = readWhat(path, request, runsOn, limits);
  if (isRefusal(what)) return what;
  const desired = readDesiredLabels(`${path}desired_labels`, request.desiredLabels, limits);
  if (isRefusal(desired)) return desired;
  const inputJson = readInput(path, request, limits);
  if (isRefusal(inputJson)) return inputJson;
  const metadata = readMetadata(`${path}metadata`, request.metadata, limits);
  if (isRefusal(metadata)) return metadata;
  const placement = readPlacement(path, request, limits);
  if (isRefusal(placement)) return placement;
  const contentHash = readContentHash(path, request, inputJson, limits);
  if (isRefusal(contentHash)) return contentHash;
  const badRequestId = checkText(`${path}request_id`, request.requestId, limits.valueBytesMax);
  if (badRequestId) return badRequestId;
  const priority = request.priority === WirePriority.UNSPECIFIED ? PRIORITY_DEFAULT : (request.priority as Priority);
  const { sticky, pinToWorkerId, concurrency, dependsOn } = placement;
  const { scheduleTimeoutMs, executionTimeoutMs } = timeouts(request);
  // Field by field, and added to by Object.assign: spreading an object costs more than all else that is done here.
  const terms = {
    runsOn,
    desired,
    priority,
    inputJson,
    metadata,
    sticky,
    pinToWorkerId,
    concurrency,
    dependsOn,
    scheduleTimeoutMs,
    executionTimeoutMs,
  };
  // What asks for nothing new has the digest it had before it could ask.
  const asked = contentHash === '' ? terms : { ...terms, contentHash, hashExclude: [...request.hashExclude].sort() };
  const requestDigest = request.requestId === '' ? '' : digest(bodyJson(what, asked));
  return Object.assign(terms, { what, namespace, contentHash, requestId: request.requestId, requestDigest });
}

/** As JSON.stringify({ what, ...asked }) has it, which is what stored digests were made of. */
function bodyJson(what: RunRequest['what'], asked: object): string {
  const whatJson = 'step' in what ? `{"step":${definitionJson(what.step)}}` : JSON.stringify(what);
  return `{"what":${whatJson},${JSON.stringify(asked).slice(1)}`;
}

function readWhat(
  path: string,
  { what, workflowVersion }: ScheduleRunRequest,
  runsOn: TagSet,
  limits: Limits,
): RunRequest['what'] | Refusal {
  if (what.case === 'workflow') {
    const bad = checkText(`${path}workflow`, what.value, limits.keyBytesMax);
    return bad ?? { workflow: { name: what.value, version: workflowVersion ?? null } };
  }
  if (what.case !== 'step') return refuseField('INVALID_FIELD', `${path}step`, 'a run needs a step or a workflow');
  if (workflowVersion !== undefined)
    return refuseField('INVALID_FIELD', `${path}workflow_version`, 'is set, and the run is not of a workflow');
  const step = readKnownStep(`${path}step.`, what.value, limits);
  if (isRefusal(step)) return step;
  const [need] = step.needs;
  if (need !== undefined) {
    const problem = `"${need}" is not a step of this run, which has only one`;
    return refuseField('INVALID_FIELD', `${path}step.needs`, problem);
  }
  const tags = new Set([...runsOn, ...step.runsOn]).size;
  if (tags > limits.runsOnMax)
    return refuseLimit(`${path}step.runs_on`, tags, limits.runsOnMax, "tags together with the run's");
  return { step };
}

/** Where and when it may go, besides tags and labels. */
function readPlacement(
  path: string,
  request: ScheduleRunRequest,
  limits: Limits,
): Pick<RunRequest, 'sticky' | 'pinToWorkerId' | 'concurrency' | 'dependsOn'> | Refusal {
  const badPin = checkText(`${path}pin_to_worker_id`, request.pinToWorkerId, limits.keyBytesMax);
  if (badPin) return badPin;
  const concurrency = readConcurrency(`${path}concurrency`, request.concurrency, limits);
  if (isRefusal(concurrency)) return concurrency;
  // An id has one spelling inside, and two that are accepted.
  const dependsOn = [...new Set(request.dependsOnRunIds.map((runId) => runId.toLowerCase()))];
  if (dependsOn.length > limits.dependenciesPerRunMax)
    return refuseLimit(`${path}depends_on_run_ids`, dependsOn.length, limits.dependenciesPerRunMax, 'runs');
  return { sticky: readSticky(request.sticky), pinToWorkerId: request.pinToWorkerId, concurrency, dependsOn };
}

const CONCURRENCY_LIMIT_DEFAULT = 1;

function readConcurrency(
  field: string,
  concurrency: WireConcurrency | undefined,
  limits: Limits,
): Concurrency | null | Refusal {
  if (concurrency === undefined) return null;
  const { key, limit = CONCURRENCY_LIMIT_DEFAULT } = concurrency;
  if (key === '') return refuseField('INVALID_FIELD', `${field}.key`, 'is empty');
  const bad = checkText(`${field}.key`, key, limits.keyBytesMax);
  if (bad) return bad;
  if (limit < 1) return refuseField('INVALID_FIELD', `${field}.limit`, `${limit} is less than 1`);
  return { key, limit };
}

function timeouts(request: ScheduleRunRequest): Pick<RunRequest, 'scheduleTimeoutMs' | 'executionTimeoutMs'> {
  return {
    scheduleTimeoutMs: durationOrNull(request.scheduleTimeout),
    executionTimeoutMs: positive(durationOrNull(request.executionTimeout)),
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
