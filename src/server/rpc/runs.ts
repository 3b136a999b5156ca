/** AdminService: runs are submitted, and looked at. */
import { type Timestamp, timestampMs } from '@bufbuild/protobuf/wkt';
import type { AdminService, ListRunsRequest } from '../../../gen/yardmaster/v1/admin_service_pb.ts';
import type { Priority, QueuePlace } from '../../domain/priority.ts';
import { isRefusal, type Refusal, refuseField, refuseLimit } from '../../domain/refusal.ts';
import { parseTags } from '../../domain/tags.ts';
import type { RunDraft } from '../../engine/commands.ts';
import { listRuns, type RunFilter } from '../../store/queries/list_runs.ts';
import { runStateFromWire, writeListedRun, writeRun } from '../convert/run.ts';
import { readMetadata } from '../convert/schedule.ts';
import { checkText } from '../convert/text.ts';
import { isPossibleTime } from '../convert/time.ts';
import { accepted, RefusedError } from '../errors.ts';
import type { Plane } from '../plane.ts';
import { readDrafts } from './drafts.ts';
import { checkNamespace } from './namespaces.ts';
import { pageSize, QUEUE_PLACE, RUN_ID, readPageToken, writePageToken } from './paging.ts';
import type { Implementation } from './rpc.ts';
import { answerNumberedRun, answerRun } from './stored_run.ts';

export function runRpcs(plane: Plane): Implementation<typeof AdminService> {
  const { limits, reads } = plane;
  return {
    async scheduleRun(request, { namespace }) {
      const [draft] = await readDrafts(plane, namespace, [{ path: '', request }]);
      const [scheduled] = await schedule(plane, [draft as RunDraft], false);
      if (scheduled === undefined) throw new Error('a scheduled run has no answer');
      const { runId, view, alreadyScheduled } = scheduled;
      return {
        // What an equal run did, or does, is more than the engine's picture shows.
        run: view === null || view.executedByRunId !== '' ? await answerRun(plane, namespace, runId) : writeRun(view),
        alreadyScheduled,
        warnings: scheduled.warnings.map(({ reason, message }) => ({ reason, message })),
      };
    },

    async scheduleRuns({ runs }, { namespace }) {
      if (runs.length > limits.batchRunsMax)
        throw new RefusedError(refuseLimit('runs', runs.length, limits.batchRunsMax, 'runs'));
      const numbered = runs.map((request, index) => ({ path: `runs[${index}].`, request }));
      const scheduled = await schedule(plane, await readDrafts(plane, namespace, numbered), true);
      return {
        runIds: scheduled.map(({ runId }) => runId),
        alreadyScheduledCount: scheduled.filter(({ alreadyScheduled }) => alreadyScheduled).length,
      };
    },

    async getRun({ runId, workflow, number }, { namespace }) {
      if (workflow === '') {
        if (number !== 0n)
          throw new RefusedError(refuseField('INVALID_FIELD', 'number', 'is of use only with workflow'));
        return { run: await answerRun(plane, namespace, runId) };
      }
      const bad = checkText('workflow', workflow, limits.keyBytesMax);
      if (bad) throw new RefusedError(bad);
      if (number === 0n)
        throw new RefusedError(refuseField('INVALID_FIELD', 'number', 'is not set; runs count from 1'));
      return { run: await answerNumberedRun(plane, namespace, workflow, number) };
    },

    async listRuns(request, { namespace }) {
      await checkNamespace(plane, namespace);
      const size = pageSize(request.pageSize, limits);
      const found = await listRuns(reads, { ...filterOf(plane, namespace, request), limit: size + 1 });
      const page = found.slice(0, size);
      return {
        runs: page.map(writeListedRun),
        nextPageToken: found.length > size ? writePageToken('runs', page.at(-1)?.runId ?? '') : '',
      };
    },

    async listEligibleRuns({ workerId, pageSize: asked, pageToken }, { namespace }) {
      // A place says nothing about another worker's list.
      const list = `eligible ${workerId}`;
      const after = readQueuePlace(pageToken, list);
      const limit = pageSize(asked, limits);
      const command = { kind: 'list_eligible_runs', namespace, workerId, after, limit } as const;
      const { runs, next } = accepted(await plane.submit(command));
      return {
        runs: runs.map(writeListedRun),
        nextPageToken: next === null ? '' : writePageToken(list, `${next.priority} ${next.readySequence}`),
      };
    },
  };
}

/** A refusal of the engine names the run by its index; of one run by itself there is nothing to name. */
function withPath(refusal: Refusal, isBatch: boolean): Refusal {
  const { run_index: index, ...metadata } = refusal.metadata;
  if (index === undefined || !isBatch) return { ...refusal, metadata };
  const path = `runs[${index}]`;
  const fields = refusal.fields.map(({ field, description }) => ({ field: `${path}.${field}`, description }));
  return { ...refusal, message: `${path}: ${refusal.message}`, fields };
}

async function schedule(plane: Plane, runs: readonly RunDraft[], isBatch: boolean) {
  // Before the command: the assignment may leave in the same turn as its answer, and wants the input.
  for (const { runId, inputJson } of runs) plane.payloads.put(runId, inputJson);
  const result = await plane.submit({ kind: 'schedule_runs', runs, idsOnly: isBatch });
  const taken = isRefusal(result) ? [] : result;
  // A repeated request made no run: its input would only push out useful ones.
  runs.forEach(({ runId }, index) => {
    if (taken[index]?.runId !== runId) plane.payloads.drop(runId);
  });
  return accepted(isRefusal(result) ? withPath(result, isBatch) : result);
}

function readQueuePlace(token: string, list: string): QueuePlace | null {
  const place = readPageToken(token, list, QUEUE_PLACE);
  if (place === null) return null;
  const [priority, readySequence] = place.split(' ').map(Number);
  return { priority: priority as Priority, readySequence: Number(readySequence) };
}

function boundOf(field: string, time: Timestamp | undefined): number | null {
  if (time === undefined) return null;
  if (!isPossibleTime(time))
    throw new RefusedError(
      refuseField('INVALID_FIELD', field, `${time.seconds} seconds is not a time between the years 1 and 9999`),
    );
  return timestampMs(time);
}

function filterOf(plane: Plane, namespace: string, request: ListRunsRequest): Omit<RunFilter, 'limit'> {
  const { limits } = plane;
  const bad =
    checkText('workflow', request.workflow, limits.keyBytesMax) ??
    checkText('action', request.action, limits.keyBytesMax);
  if (bad) throw new RefusedError(bad);
  const states = request.states.map((state, index) => {
    const name = runStateFromWire(state);
    if (name === undefined)
      throw new RefusedError(refuseField('INVALID_FIELD', `states[${index}]`, `${state} is not a state of a run`));
    return name;
  });
  return {
    namespace,
    states,
    anyState: request.anyState,
    workflow: request.workflow,
    action: request.action,
    runsOn: accepted(parseTags('runs_on', request.runsOn, limits.runsOnMax, limits)),
    metadata: accepted(readMetadata('metadata', request.metadata, limits)),
    createMsFrom: boundOf('create_time_from', request.createTimeFrom),
    createMsTo: boundOf('create_time_to', request.createTimeTo),
    oldestFirst: request.oldestFirst,
    afterRunId: readPageToken(request.pageToken, 'runs', RUN_ID),
  };
}
