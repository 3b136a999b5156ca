/** `yardmaster runs update` and `yardmaster runs retry`. */
import { Command, Option } from 'commander';
import { RetryRunResponseSchema, UpdateRunResponseSchema } from '../../../gen/yardmaster/v1/admin_service_pb.ts';
import { Priority, PrioritySchema } from '../../../gen/yardmaster/v1/run_pb.ts';
import { EXIT } from '../exit.ts';
import { UsageError } from '../failure.ts';
import { nameOf, namesOf, numberOf } from '../parse/names.ts';
import { addTag } from '../parse/tags.ts';
import { stateOf } from '../show/run.ts';
import { printable } from '../show/text.ts';
import { type Cli, printJson, remote } from '../yard.ts';

interface Changes {
  readonly priority?: string;
  readonly runsOn?: readonly string[];
  readonly anyTags?: boolean;
}

export function updateCommand(cli: Cli): Command {
  return new Command('update')
    .description('edit a run while no worker has a step of it')
    .argument('<id>', 'id of the run')
    .addOption(new Option('--priority <priority>', 'what goes first').choices(namesOf(PrioritySchema)))
    .addOption(
      new Option('--runs-on <tag...>', 'tags a worker must have instead').argParser(addTag).conflicts('anyTags'),
    )
    .option('--any-tags', 'no tags any more: any worker, as far as tags go')
    .action((runId: string, { priority, runsOn, anyTags }: Changes, self: Command) =>
      remote(cli, self, async (yard) => {
        if (priority === undefined && runsOn === undefined && anyTags !== true)
          throw new UsageError('say what to change: --priority, --runs-on or --any-tags');
        const tags = anyTags === true ? [] : runsOn;
        const request = {
          runId,
          priority: priority === undefined ? Priority.UNSPECIFIED : numberOf(PrioritySchema, priority),
          ...(tags === undefined ? {} : { runsOn: { tags: [...tags] } }),
        };
        const response = await yard.admin.updateRun(request, yard.call);
        const { run } = response;
        if (yard.json) printJson(yard, UpdateRunResponseSchema, response);
        else if (run) {
          const tagged = run.runsOn.length === 0 ? 'any worker' : printable(run.runsOn.join(' '));
          yard.io.stdout(`${run.runId} has priority ${nameOf(PrioritySchema, run.priority)} and runs on ${tagged}\n`);
        }
        return EXIT.OK;
      }),
    );
}

export function retryCommand(cli: Cli): Command {
  return new Command('retry')
    .description('run an ended run again that did not succeed: its other steps stay done')
    .argument('<id>', 'id of the run')
    .option('--keep-pin', 'on the worker it is pinned to; otherwise on any')
    .action((runId: string, { keepPin }: { keepPin?: boolean }, self: Command) =>
      remote(cli, self, async (yard) => {
        const response = await yard.admin.retryRun({ runId, keepPin: keepPin === true }, yard.call);
        const { run } = response;
        if (yard.json) printJson(yard, RetryRunResponseSchema, response);
        else if (run) yard.io.stdout(`${run.runId} is ${stateOf(run)}\n`);
        return EXIT.OK;
      }),
    );
}
