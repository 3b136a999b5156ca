/** AdminService: runs. */
import { type Timestamp, timestampMs } from '@bufbuild/protobuf/wkt';
import {
  type AdminService,
  CancelMode,
  type ListRunsRequest,
  type ScheduleRunRequest,
} from '../../../gen/yardmaster/v1/admin_service_pb.ts';
import type { Run } from '../../../gen/yardmaster/v1/run_pb.ts';
import { isRefusal, type Refusal, refuse, refuseField, refuseLimit } from '../../domain/refusal.ts';
import { parseTags } from '../../domain/tags.ts';
import type { RunDraft } from '../../engine/commands.ts';
import type { RunView } from '../../engine/views.ts';
import { listRuns, type RunFilter } from '../../store/queries/list_runs.ts';
import { readCutBytes, readLogs } from '../../store/queries/read_logs.ts';
import { readRun } from '../../store/queries/read_run.ts';
import { writeLine } from '../convert/log.ts';
import { runStateFromWire, writeRun } from '../convert/run.ts';
import { readMetadata, readScheduleRun } from '../convert/schedule.ts';
import { checkText } from '../convert/text.ts';
import { isPossibleTime } from '../convert/time.ts';
import { accepted, RefusedError } from '../errors.ts';
import type { Plane } from '../plane.ts';
import { checkNamespace } from './namespaces.ts';
import { COUNT, pageSize, RUN_ID, readPageToken, writePageToken } from './paging.ts';
import type { Implementation } from './rpc.ts';

export function runRpcs(plane: Plane): Implementation<typeof AdminService> {
  const { limits, reads } = plane;
  return {
    async scheduleRun(request, { namespace }) {
      const [draft] = await drafts(plane, namespace, [{ path: '', request }]);
      const [scheduled] = await schedule(plane, [draft as RunDraft]);
      if (scheduled === undefined) throw new Error('a scheduled run has no answer');
      const { runId, view, alreadyScheduled } = scheduled;
      return {
        run: view === null ? await storedRun(plane, namespace, runId) : writeRun(view),
        alreadyScheduled,
        warnings: scheduled.warnings.map(({ reason, message }) => ({ reason, message })),
      };
    },

    async scheduleRuns({ runs }, { namespace }) {
      if (runs.length > limits.batchRunsMax)
        throw new RefusedError(refuseLimit('runs', runs.length, limits.batchRunsMax, 'runs'));
      const numbered = runs.map((request, index) => ({ path: `runs[${index}].`, request }));
      const scheduled = await schedule(plane, await drafts(plane, namespace, numbered));
      return {
        runIds: scheduled.map(({ runId }) => runId),
        alreadyScheduledCount: scheduled.filter(({ alreadyScheduled }) => alreadyScheduled).length,
      };
    },

    async getRun({ runId, workflow, number }, { namespace }) {
      if (workflow !== '' || number !== 0n)
        throw new RefusedError(refuseField('NOT_IMPLEMENTED', 'workflow', 'is not supported by this version'));
      return { run: await storedRun(plane, namespace, runId) };
    },

    async listRuns(request, { namespace }) {
      await checkNamespace(plane, namespace);
      const size = pageSize(request.pageSize, limits);
      const found = await listRuns(reads, { ...filterOf(plane, namespace, request), limit: size + 1 });
      const page = found.slice(0, size);
      return {
        runs: page.map((run) => writeRun({ ...run, steps: run.steps.map((step) => ({ ...step, attempts: [] })) })),
        nextPageToken: found.length > size ? writePageToken('runs', page.at(-1)?.runId ?? '') : '',
      };
    },

    async cancelRun({ runId, mode, reason, stepName }, { namespace }) {
      const bad = checkText('reason', reason, limits.payloadBytesMax);
      if (bad) throw new RefusedError(bad);
      const engineMode = mode === CancelMode.IF_PENDING ? 'IF_PENDING' : 'ANY';
      const cancelled = await plane.submit({
        kind: 'cancel_run',
        namespace,
        runId,
        mode: engineMode,
        reason,
        stepName,
      });
      if (isRefusal(cancelled) && cancelled.refused === 'RUN_NOT_FOUND') await checkCancelled(plane, namespace, runId);
      else accepted(cancelled);
      return { run: await storedRun(plane, namespace, runId) };
    },

    async getStepLogs(request, { namespace }) {
      const run = await findStored(plane, namespace, request.runId);
      const step = request.stepName === '' ? run.steps[0] : run.steps.find(({ name }) => name === request.stepName);
      if (step === undefined) throw new RefusedError(noSuchStep(run.runId, request.stepName));
      const size = pageSize(request.pageSize, limits);
      const after = Number(readPageToken(request.pageToken, 'logs', COUNT) ?? 0);
      const found = await readLogs(reads, run.runId, step.name, after, size + 1);
      const page = found.slice(0, size);
      return {
        lines: page.map(writeLine),
        nextPageToken: found.length > size ? writePageToken('logs', String(page.at(-1)?.logId)) : '',
        cutBytes: BigInt(await readCutBytes(reads, run.runId)),
      };
    },
  };
}

export function noSuchStep(runId: string, stepName: string): Refusal {
  return refuse('STEP_NOT_FOUND', `step_name "${stepName}" is not a step of run ${runId}`, { step_name: stepName });
}

interface Asked {
  readonly path: string;
  readonly request: ScheduleRunRequest;
}

/** Checked requests with ids, and with the runs that their request ids already have in the store. */
async function drafts(plane: Plane, namespace: string, asked: readonly Asked[]): Promise<RunDraft[]> {
  const read = asked.map(({ path, request }) => accepted(readScheduleRun(path, namespace, request, plane.limits)));
  const requestIds = read.map(({ requestId }) => requestId).filter((requestId) => requestId !== '');
  const known = await plane.findRequests(namespace, requestIds);
  return read.map((request) => ({
    ...request,
    runId: plane.ids.orderedId(),
    known: known.get(request.requestId) ?? null,
  }));
}

async function schedule(plane: Plane, runs: readonly RunDraft[]) {
  // Before the command: the assignment may leave in the same turn as its answer, and wants the input.
  for (const { runId, inputJson } of runs) plane.payloads.put(runId, inputJson);
  const result = await plane.submit({ kind: 'schedule_runs', runs });
  const taken = isRefusal(result) ? [] : result;
  // A repeated request made no run: its input would only push out useful ones.
  runs.forEach(({ runId }, index) => {
    if (taken[index]?.runId !== runId) plane.payloads.drop(runId);
  });
  return accepted(result);
}

export async function findStored(plane: Plane, namespace: string, runId: string): Promise<RunView> {
  const run = RUN_ID.test(runId) ? await readRun(plane.reads, namespace, runId) : null;
  if (run !== null) return run;
  throw new RefusedError(
    refuse('RUN_NOT_FOUND', `run_id "${runId}" does not exist in namespace "${namespace}"`, { run_id: runId }),
  );
}

/** Only ended runs leave memory; as there, a cancelled one may be cancelled again and another one may not. */
async function checkCancelled(plane: Plane, namespace: string, runId: string): Promise<void> {
  const { state } = await findStored(plane, namespace, runId);
  if (state === 'CANCELLED') return;
  throw new RefusedError(refuse('STEP_STATE', `run ${runId} has ended: ${state}`, { run_id: runId, state }));
}

/** As stored, with the progress that only memory has. */
async function storedRun(plane: Plane, namespace: string, runId: string): Promise<Run> {
  const run = await findStored(plane, namespace, runId);
  const live = accepted(await plane.submit({ kind: 'read_progress', runId: run.runId }));
  const steps = run.steps.map((step) => ({ ...step, progress: live.get(step.name) ?? step.progress }));
  return writeRun({ ...run, steps });
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
  if (request.workflow !== '')
    throw new RefusedError(refuseField('NOT_IMPLEMENTED', 'workflow', 'is not supported by this version'));
  const { limits } = plane;
  const badAction = checkText('action', request.action, limits.keyBytesMax);
  if (badAction) throw new RefusedError(badAction);
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
    action: request.action,
    runsOn: accepted(parseTags('runs_on', request.runsOn, limits.runsOnMax, limits)),
    metadata: accepted(readMetadata('metadata', request.metadata, limits)),
    createMsFrom: boundOf('create_time_from', request.createTimeFrom),
    createMsTo: boundOf('create_time_to', request.createTimeTo),
    oldestFirst: request.oldestFirst,
    afterRunId: readPageToken(request.pageToken, 'runs', RUN_ID),
  };
}
