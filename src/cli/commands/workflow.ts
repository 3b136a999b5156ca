/** `yardmaster workflow`: stores workflows from files, and shows them. */
import { create, fromJson, type JsonValue } from '@bufbuild/protobuf';
import { Command } from 'commander';
import { parse } from 'yaml';
import {
  GetWorkflowResponseSchema,
  ListWorkflowsResponseSchema,
  type PutWorkflowRequest,
  PutWorkflowRequestSchema,
  PutWorkflowResponseSchema,
} from '../../../gen/yardmaster/v1/admin_service_pb.ts';
import { EXIT } from '../exit.ts';
import { UsageError } from '../failure.ts';
import type { Io } from '../io.ts';
import { listWorkflows } from '../list.ts';
import { integerFrom, UINT32_MAX } from '../parse/number.ts';
import { readSource } from '../parse/source.ts';
import { printable } from '../show/text.ts';
import { workflowsTable, workflowText } from '../show/workflow.ts';
import { type Cli, printJson, printWarnings, remote } from '../yard.ts';

const EXAMPLE = `
The file is a PutWorkflowRequest of the contract, as YAML or JSON:

  name: train
  steps:
    - { name: fetch, action: fetch }
    - { name: fit, action: fit, needs: [fetch], runsOn: [gpu], executionTimeout: 3600s }`;

export function workflowCommand(cli: Cli): Command {
  const put = new Command('put')
    .description('store a workflow as the next version of its name')
    .argument('<file>', 'YAML or JSON; - for standard input')
    .addHelpText('after', EXAMPLE)
    .action((file: string, _options: object, self: Command) =>
      remote(cli, self, async (yard) => {
        const response = await yard.admin.putWorkflow(await readWorkflow(cli.io, file), yard.call);
        const { workflow } = response;
        if (yard.json) printJson(yard, PutWorkflowResponseSchema, response);
        else if (workflow) yard.io.stdout(`${printable(workflow.name)} version ${workflow.version}\n`);
        printWarnings(yard, response.warnings);
        return EXIT.OK;
      }),
    );
  return new Command('workflow')
    .description('keep workflows')
    .addCommand(put)
    .addCommand(listCommand(cli))
    .addCommand(showCommand(cli));
}

function listCommand(cli: Cli): Command {
  return new Command('list')
    .description('list the workflows, the newest version of each')
    .action((_options: object, self: Command) =>
      remote(cli, self, async (yard) => {
        const workflows = await listWorkflows(yard);
        const { io } = yard;
        if (yard.json) printJson(yard, ListWorkflowsResponseSchema, create(ListWorkflowsResponseSchema, { workflows }));
        else if (workflows.length === 0) io.stderr('No workflows.\n');
        else io.stdout(workflowsTable(workflows, { nowMs: io.clock.nowMs(), colours: io.colours }));
        return EXIT.OK;
      }),
    );
}

function showCommand(cli: Cli): Command {
  return new Command('show')
    .description('show one version of a workflow, and its steps')
    .argument('<name>', 'name of the workflow')
    .argument('[version]', 'its version; otherwise the newest', integerFrom(1, UINT32_MAX))
    .action((name: string, version: number | undefined, _options: object, self: Command) =>
      remote(cli, self, async (yard) => {
        const which = version === undefined ? { name } : { name, version };
        const response = await yard.admin.getWorkflow(which, yard.call);
        const { io } = yard;
        if (yard.json) printJson(yard, GetWorkflowResponseSchema, response);
        else if (response.workflow)
          io.stdout(workflowText(response.workflow, { nowMs: io.clock.nowMs(), colours: io.colours }));
        return EXIT.OK;
      }),
    );
}

/** JSON is YAML too. */
async function readWorkflow(io: Io, file: string): Promise<PutWorkflowRequest> {
  const text = await readSource(io, file, file);
  try {
    return fromJson(PutWorkflowRequestSchema, parse(text) as JsonValue);
  } catch (error) {
    throw new UsageError(`${file}: ${(error as Error).message}`);
  }
}
