/** `yardmaster runs`: a list; and what can be done with the runs in it. */
import { Command, Option } from 'commander';
import { ListRunsResponseSchema } from '../../../gen/yardmaster/v1/admin_service_pb.ts';
import { RunStateSchema } from '../../../gen/yardmaster/v1/run_pb.ts';
import { EXIT } from '../exit.ts';
import { listRuns } from '../list.ts';
import { namesOf, numberOf } from '../parse/names.ts';
import { integerFrom } from '../parse/number.ts';
import { runsTable } from '../show/run.ts';
import { type Cli, printJson, remote } from '../yard.ts';
import { eligibleCommand } from './eligible.ts';
import { retryCommand, updateCommand } from './run_changes.ts';

interface Options {
  readonly state?: readonly string[];
  readonly all?: boolean;
  readonly workflow?: string;
  readonly action?: string;
  readonly limit: number;
  readonly oldestFirst?: boolean;
}

const LIMIT_DEFAULT = 100;
/** They are held in memory, all of them. */
const LIMIT_MAX = 100_000;

/** Without a further word it lists. */
export function runsCommand(cli: Cli): Command {
  return new Command('runs')
    .description('list runs, and change what waits or has ended')
    .addCommand(listCommand(cli), { isDefault: true })
    .addCommand(eligibleCommand(cli))
    .addCommand(updateCommand(cli))
    .addCommand(retryCommand(cli));
}

function listCommand(cli: Cli): Command {
  const states = new Option('--state <state...>', 'in one of these states').choices(namesOf(RunStateSchema));
  return new Command('list')
    .description('list runs: those that have not ended, unless told otherwise')
    .addOption(states.conflicts('all'))
    .option('--all', 'ended ones too')
    .option('--workflow <name>', 'of this workflow')
    .option('--action <action>', 'with a step of this action')
    .option('--limit <count>', 'at most so many', integerFrom(1, LIMIT_MAX), LIMIT_DEFAULT)
    .option('--oldest-first', 'the oldest first; otherwise the newest')
    .action((options: Options, self: Command) =>
      remote(cli, self, async (yard) => {
        const filter = {
          states: (options.state ?? []).map((name) => numberOf(RunStateSchema, name)),
          anyState: options.all === true,
          workflow: options.workflow ?? '',
          action: options.action ?? '',
          oldestFirst: options.oldestFirst === true,
        };
        const found = await listRuns(yard, filter, options.limit);
        if (yard.json) {
          printJson(yard, ListRunsResponseSchema, found);
          return EXIT.OK;
        }
        const { io } = yard;
        if (found.runs.length === 0) io.stderr('No runs.\n');
        else io.stdout(runsTable(found.runs, { nowMs: io.clock.nowMs(), colours: io.colours }));
        if (found.nextPageToken !== '') io.stderr(`There are more than ${options.limit}: see --limit.\n`);
        return EXIT.OK;
      }),
    );
}
