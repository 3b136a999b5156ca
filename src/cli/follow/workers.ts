/**
 * What happens to the workers. Found by asking, until the server implements WatchWorkers: whoever reads these events
 * will not see the difference, but for the interval.
 */
import { create, equals, type MessageInitShape } from '@bufbuild/protobuf';
import {
  type ListWorkersRequest,
  type WatchWorkersResponse,
  WatchWorkersResponseSchema,
} from '../../../gen/yardmaster/v1/admin_service_pb.ts';
import { type Worker, WorkerSchema } from '../../../gen/yardmaster/v1/worker_pb.ts';
import { sleep } from '../../lib/clock.ts';
import { listWorkers, type WorkerFilter } from '../list.ts';
import type { Yard } from '../yard.ts';

const ASK_INTERVAL_MS = 1_000;
