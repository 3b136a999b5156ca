/** `yardmaster workflow put`: stores a workflow from a file. */
import { fromJson, type JsonValue } from '@bufbuild/protobuf';
import { Command } from 'commander';
import { parse } from 'yaml';
import {
  type PutWorkflowRequest,
  PutWorkflowRequestSchema,
  PutWorkflowResponseSchema,
} from '../../../gen/yardmaster/v1/admin_service_pb.ts';
import { EXIT } from '../exit.ts';
import { UsageError } from '../failure.ts';
import type { Io } from '../io.ts';
import { readSource } from '../parse/source.ts';
import { printable } from '../show/text.ts';
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
  return new Command('workflow').description('keep workflows').addCommand(put);
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
