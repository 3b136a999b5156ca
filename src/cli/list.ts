/** Lists over all of their pages. */
import { create, type MessageInitShape } from '@bufbuild/protobuf';
import {
  type ListEligibleRunsResponse,
  ListEligibleRunsResponseSchema,
  type ListRunsRequestSchema,
  type ListRunsResponse,
  ListRunsResponseSchema,
  type ListWorkersRequestSchema,
  type Namespace,
} from '../../gen/yardmaster/v1/admin_service_pb.ts';
import type { Workflow } from '../../gen/yardmaster/v1/run_pb.ts';
import type { Worker } from '../../gen/yardmaster/v1/worker_pb.ts';
import type { Yard } from './yard.ts';

/** As large as the server gives them. */
const PAGE_SIZE = 1_000;

export type WorkerFilter = MessageInitShape<typeof ListWorkersRequestSchema>;
export type RunFilter = MessageInitShape<typeof ListRunsRequestSchema>;

export async function listWorkers({ admin, call }: Yard, filter: WorkerFilter): Promise<Worker[]> {
  const all: Worker[] = [];
  let pageToken = '';
  do {
    const page = await admin.listWorkers({ ...filter, pageSize: PAGE_SIZE, pageToken } as WorkerFilter, call);
    all.push(...page.workers);
    pageToken = page.nextPageToken;
  } while (pageToken !== '');
  return all;
}

export async function listWorkflows({ admin, call }: Yard): Promise<Workflow[]> {
  const all: Workflow[] = [];
  let pageToken = '';
  do {
    const page = await admin.listWorkflows({ pageToken }, call);
    all.push(...page.workflows);
    pageToken = page.nextPageToken;
  } while (pageToken !== '');
  return all;
}

export async function listNamespaces({ admin, call }: Yard): Promise<Namespace[]> {
  const all: Namespace[] = [];
  let pageToken = '';
  do {
    const page = await admin.listNamespaces({ pageSize: PAGE_SIZE, pageToken }, call);
    all.push(...page.namespaces);
    pageToken = page.nextPageToken;
  } while (pageToken !== '');
  return all;
}

/** The first of them, as if they were one page: with the token of the next one when there are more. */
export async function listEligibleRuns(
  { admin, call }: Yard,
  workerId: string,
  limit: number,
): Promise<ListEligibleRunsResponse> {
  const all = create(ListEligibleRunsResponseSchema);
  do {
    const pageSize = Math.min(limit - all.runs.length, PAGE_SIZE);
    const page = await admin.listEligibleRuns({ workerId, pageSize, pageToken: all.nextPageToken }, call);
    all.runs.push(...page.runs);
    all.nextPageToken = page.nextPageToken;
  } while (all.nextPageToken !== '' && all.runs.length < limit);
  return all;
}

/** At most so many, as if they were one page: with the token of the next one when there are more. */
export async function listRuns({ admin, call }: Yard, filter: RunFilter, limit: number): Promise<ListRunsResponse> {
  const all = create(ListRunsResponseSchema);
  do {
    const pageSize = Math.min(limit - all.runs.length, PAGE_SIZE);
    const page = await admin.listRuns({ ...filter, pageSize, pageToken: all.nextPageToken } as RunFilter, call);
    all.runs.push(...page.runs);
    all.nextPageToken = page.nextPageToken;
  } while (all.nextPageToken !== '' && all.runs.length < limit);
  return all;
}
