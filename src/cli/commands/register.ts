/** `yardmaster register`: a worker, before its process connects. */
import { Command } from 'commander';
import { RegisterWorkerResponseSchema } from '../../../gen/yardmaster/v1/admin_service_pb.ts';
import { EXIT } from '../exit.ts';
import { addTag } from '../parse/tags.ts';
import { printable } from '../show/text.ts';
import { type Cli, printJson, printWarnings, remote } from '../yard.ts';

interface Options {
  readonly tag?: readonly string[];
  readonly nickname?: string;
}

export function registerCommand(cli: Cli): Command {
  return new Command('register')
    .description('register a worker by name and print its id; its tags are for good')
    .argument('<name>', 'name of the worker')
    .option('--tag <tag...>', 'its tags', addTag)
    .option('--nickname <name>', 'the name its completions are counted under')
    .action((name: string, { tag = [], nickname = '' }: Options, self: Command) =>
      remote(cli, self, async (yard) => {
        const response = await yard.admin.registerWorker({ name, tags: [...tag], nickname }, yard.call);
        const { worker, alreadyRegistered, warnings } = response;
        if (yard.json) printJson(yard, RegisterWorkerResponseSchema, response);
        else if (worker) yard.io.stdout(`${worker.workerId}\n`);
        if (alreadyRegistered && !yard.json) yard.io.stderr(`${printable(name)} was registered before.\n`);
        printWarnings(yard, warnings);
        return EXIT.OK;
      }),
    );
}
