/** AdminService: workflows. */
import type { AdminService } from '../../../gen/yardmaster/v1/admin_service_pb.ts';
import { refuse } from '../../domain/refusal.ts';
import { listWorkflows } from '../../store/queries/list_workflows.ts';
import { readWorkflow } from '../../store/queries/read_workflow.ts';
import { checkWorkflowName, readPutWorkflow, writeStoredWorkflow, writeWorkflow } from '../convert/workflow.ts';
import { accepted, RefusedError } from '../errors.ts';
import type { Plane } from '../plane.ts';
import { checkNamespace } from './namespaces.ts';
import { NAME, pageSize, readPageToken, writePageToken } from './paging.ts';
import type { Implementation } from './rpc.ts';

export function workflowRpcs(plane: Plane): Implementation<typeof AdminService> {
  const { limits, reads } = plane;
  return {
    async putWorkflow(request, { namespace }) {
      const draft = accepted(readPutWorkflow(namespace, request, limits));
      const { workflow, warnings } = accepted(await plane.submit({ kind: 'put_workflow', ...draft }));
      return {
        workflow: writeWorkflow(workflow, request.steps),
        warnings: warnings.map(({ reason, message }) => ({ reason, message })),
      };
    },

    async getWorkflow({ name, version = null }, { namespace }) {
      const bad = checkWorkflowName(name, limits);
      if (bad) throw new RefusedError(bad);
      const row = isStorable(version) ? await readWorkflow(reads, namespace, name, version) : null;
      if (row !== null) return { workflow: writeStoredWorkflow(row) };
      const which = version === null ? `workflow "${name}"` : `version ${version} of workflow "${name}"`;
      throw new RefusedError(
        refuse('WORKFLOW_NOT_FOUND', `${which} does not exist in namespace "${namespace}"`, { workflow: name }),
      );
    },

    async listWorkflows(request, { namespace }) {
      await checkNamespace(plane, namespace);
      const size = pageSize(request.pageSize, limits);
      const after = readPageToken(request.pageToken, 'workflows', NAME);
      const found = await listWorkflows(reads, namespace, after, size + 1);
      const page = found.slice(0, size);
      return {
        workflows: page.map(writeStoredWorkflow),
        nextPageToken: found.length > size ? writePageToken('workflows', page.at(-1)?.name ?? '') : '',
      };
    },
  };
}

const INT32_MAX = 2 ** 31 - 1;

/** The column is an int32, the wire's field is not signed. */
export function isStorable(version: number | null): boolean {
  return version === null || version <= INT32_MAX;
}
