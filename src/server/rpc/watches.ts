/** AdminService: watches. */
import type { MessageInitShape } from '@bufbuild/protobuf';
import type {
  AdminService,
  TailStepLogsResponseSchema,
  WatchWorkersResponseSchema,
} from '../../../gen/yardmaster/v1/admin_service_pb.ts';
import type { TailedLine } from '../../store/queries/tail_logs.ts';
import { writeLine } from '../convert/log.ts';
import { writeRun } from '../convert/run.ts';
import { writeWorker } from '../convert/worker.ts';
import { RefusedError } from '../errors.ts';
import type { Plane } from '../plane.ts';
import { tailLogs } from '../watch/logs.ts';
import { watchRun } from '../watch/run.ts';
import { type WorkerEvent, watchWorkers } from '../watch/workers.ts';
import { checkNamespace } from './namespaces.ts';
import type { Implementation } from './rpc.ts';
import { noSuchStep } from './step_logs.ts';
import { findRun } from './stored_run.ts';

export function watchRpcs(plane: Plane): Implementation<typeof AdminService> {
  return {
    async *watchRun(request, { namespace, signal }) {
      // As it is stored, in small letters: what is decided goes by that.
      const runId = request.runId.toLowerCase();
      const read = () => findRun(plane, namespace, runId);
      for await (const run of watchRun({ plane, runId, read, signal })) {
        yield run === 'SKIPPED'
          ? { event: { case: 'skipped' as const, value: true } }
          : { event: { case: 'changed' as const, value: writeRun(run) } };
      }
    },

    async *watchWorkers(_, { namespace, signal }) {
      await checkNamespace(plane, namespace);
      for await (const event of watchWorkers(plane, namespace, signal)) yield { event: writeEvent(event) };
    },

    async *tailStepLogs(request, { namespace, signal }) {
      const { stepName } = request;
      const runId = request.runId.toLowerCase();
      const lastLines = Math.min(request.lastLines, plane.limits.pageSizeMax);
      const read = async () => {
        const run = await findRun(plane, namespace, runId);
        const isThere = stepName === '' || run.steps.some(({ name }) => name === stepName);
        if (!isThere) throw new RefusedError(noSuchStep(run.runId, stepName));
        return run;
      };
      for await (const lines of tailLogs({ plane, runId, stepName, lastLines, read, signal })) yield* inMessages(lines);
    },
  };
}

function writeEvent(event: WorkerEvent): NonNullable<MessageInitShape<typeof WatchWorkersResponseSchema>['event']> {
  switch (event.kind) {
    case 'changed':
      return { case: 'changed', value: writeWorker(event.worker) };
    case 'deleted':
      return { case: 'deletedWorkerId', value: event.workerId };
    case 'caught_up':
      return { case: 'caughtUp', value: true };
    case 'skipped':
      return { case: 'skipped', value: true };
  }
}

/** A message is cut at this many UTF-16 units of text, well below what a client takes by default. */
const MESSAGE_LENGTH_MAX = 512 * 1024;

/** One message is of one step; the order of the lines stays. */
function* inMessages(lines: readonly TailedLine[]): Generator<MessageInitShape<typeof TailStepLogsResponseSchema>> {
  let from = 0;
  let length = 0;
  for (const [index, { stepName, text }] of lines.entries()) {
    const first = lines[from] as TailedLine;
    if (stepName !== first.stepName || length + text.length > MESSAGE_LENGTH_MAX) {
      yield { stepName: first.stepName, lines: lines.slice(from, index).map(writeLine) };
      from = index;
      length = 0;
    }
    length += text.length;
  }
  const rest = lines.slice(from);
  if (rest[0] !== undefined) yield { stepName: rest[0].stepName, lines: rest.map(writeLine) };
}
