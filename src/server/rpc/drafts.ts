/** From the requests for runs to what the engine decides on: checked, with ids, and with what only the store knows. */
import type { ScheduleRunRequest } from '../../../gen/yardmaster/v1/admin_service_pb.ts';
import { equalTarget } from '../../domain/equal.ts';
import type { RunState } from '../../domain/run.ts';
import type { RunDraft, StoredSuccess } from '../../engine/commands.ts';
import type { WorkflowRow } from '../../engine/rows.ts';
import { nameKey } from '../../engine/state.ts';
import { findSuccesses } from '../../store/queries/find_successes.ts';
import { readRunStates } from '../../store/queries/read_run_states.ts';
import { readWorkflow } from '../../store/queries/read_workflow.ts';
import { type RunRequest, readScheduleRun } from '../convert/schedule.ts';
import { accepted } from '../errors.ts';
import type { Plane } from '../plane.ts';
import { RUN_ID } from './paging.ts';
import { isStorable } from './workflows.ts';

export interface Asked {
  /** Before field names in refusals: '' or 'runs[3].'. */
  readonly path: string;
  readonly request: ScheduleRunRequest;
}

/** Almost all runs name nothing that the store has to be asked for. */
export async function readDrafts(plane: Plane, namespace: string, asked: readonly Asked[]): Promise<RunDraft[]> {
  const read = asked.map(({ path, request }) => accepted(readScheduleRun(path, namespace, request, plane.limits)));
  const requestIds = read.map(({ requestId }) => requestId).filter((requestId) => requestId !== '');
  const [known, storedDependencies, versions, successes] = await Promise.all([
    plane.findRequests(namespace, requestIds),
    readDependencyStates(
      plane,
      namespace,
      read.flatMap(({ dependsOn }) => dependsOn),
    ),
    readVersions(plane, namespace, read),
    readSuccesses(plane, namespace, read),
  ]);
  return read.map((request, index) =>
    Object.assign(request, {
      what: chosen(request.what, versions),
      runId: plane.ids.orderedId(),
      known: known.get(request.requestId) ?? null,
      storedDependencies,
      storedSuccess: successes.get(index) ?? null,
    }),
  );
}

/** Of those that are stored; what is no id at all is none of them. */
export async function readDependencyStates(
  plane: Plane,
  namespace: string,
  runIds: readonly string[],
): Promise<ReadonlyMap<string, RunState>> {
  const possible = [...new Set(runIds)].filter((runId) => RUN_ID.test(runId));
  return possible.length === 0 ? new Map() : readRunStates(plane.reads, namespace, possible);
}

/** What equal runs came to, by the place of the request. A workflow's newest version is known when it is scheduled. */
async function readSuccesses(
  plane: Plane,
  namespace: string,
  requests: readonly RunRequest[],
): Promise<ReadonlyMap<number, StoredSuccess | null>> {
  const asked = [...requests.entries()].filter(([, { contentHash }]) => contentHash !== '');
  if (asked.length === 0) return new Map();
  const questions = asked.map(([, { what, contentHash }]) => {
    if (!('workflow' in what)) return { contentHash, target: equalTarget(null, what.step.action), version: 0 };
    const { name, version } = what.workflow;
    return { contentHash, target: equalTarget(name, ''), version };
  });
  const found = await findSuccesses(plane.reads, namespace, questions);
  return new Map(asked.map(([index], place) => [index, found[place] ?? null]));
}

type Versions = ReadonlyMap<string, WorkflowRow | null>;

/** Every version that is named, each once. */
async function readVersions(plane: Plane, namespace: string, requests: readonly RunRequest[]): Promise<Versions> {
  const versions = new Map<string, WorkflowRow | null>();
  for (const { what } of requests) {
    if (!('workflow' in what)) continue;
    const { name, version } = what.workflow;
    const key = versionKey(name, version);
    if (version === null || versions.has(key)) continue;
    versions.set(key, isStorable(version) ? await readWorkflow(plane.reads, namespace, name, version) : null);
  }
  return versions;
}

function chosen(what: RunRequest['what'], versions: Versions): RunDraft['what'] {
  if (!('workflow' in what)) return what;
  const { name, version } = what.workflow;
  return { workflow: { name, version, stored: versions.get(versionKey(name, version)) ?? null } };
}

function versionKey(name: string, version: number | null): string {
  return nameKey(String(version), name);
}
