/** Which workers somebody asks for: the same for a list, and for whoever watches. */
import type { DesiredLabel as WireDesiredLabel } from '../../../gen/yardmaster/v1/run_pb.ts';
import type { WorkerState as WireState } from '../../../gen/yardmaster/v1/worker_pb.ts';
import { type LabelValue, labelMatches } from '../../domain/labels.ts';
import { DEFAULT_LIMITS, type Limits } from '../../domain/limits.ts';
import { isRefusal, type Refusal } from '../../domain/refusal.ts';
import { parseTags } from '../../domain/tags.ts';
import { readDesiredLabels } from './labels.ts';

/** As in ListWorkersRequest. */
export interface WorkerFilter {
  readonly states: readonly WireState[];
  readonly action: string;
  readonly tags: readonly string[];
  readonly labels: readonly WireDesiredLabel[];
}

/** What of a worker is looked at. */
export interface Filtered {
  readonly state: WireState;
  readonly actions: readonly string[];
  readonly tags: readonly string[];
  readonly labels: ReadonlyMap<string, LabelValue>;
}

/** Whether a worker passes all of it. */
export function readWorkerFilter(
  { states, action, tags, labels }: WorkerFilter,
  limits: Limits = DEFAULT_LIMITS,
): ((worker: Filtered) => boolean) | Refusal {
  const asked = parseTags('tags', [...tags], limits.tagsPerWorkerMax, limits);
  if (isRefusal(asked)) return asked;
  const desired = readDesiredLabels('labels', labels, limits);
  if (isRefusal(desired)) return desired;
  return (worker) =>
    (states.length === 0 || states.includes(worker.state)) &&
    (action === '' || worker.actions.includes(action)) &&
    asked.every((tag) => worker.tags.includes(tag)) &&
    desired.every((label) => labelMatches(worker.labels, label));
}
