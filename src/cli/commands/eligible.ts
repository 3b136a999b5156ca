/** `yardmaster runs eligible`: what a worker may take. */
import { Command } from 'commander';
import { ListEligibleRunsResponseSchema } from '../../../gen/yardmaster/v1/admin_service_pb.ts';
import { EXIT } from '../exit.ts';
import { listEligibleRuns } from '../list.ts';
import { integerFrom } from '../parse/number.ts';
import { runsTable } from '../show/run.ts';
import { workerIdOf } from '../worker_id.ts';
import { type Cli, printJson, remote } from '../yard.ts';

const LIMIT_DEFAULT = 100;
/** They are held in memory, all of them. */
const LIMIT_MAX = 100_000;

export function eligibleCommand(cli: Cli): Command {
  return new Command('eligible')
    .description('list the waiting runs a worker may take, in the order it would be given them')
    .argument('<worker>', 'name or id of the worker')
    .option('--limit <count>', 'at most so many', integerFrom(1, LIMIT_MAX), LIMIT_DEFAULT)
    .action((worker: string, { limit }: { limit: number }, self: Command) =>
      remote(cli, self, async (yard) => {
        const found = await listEligibleRuns(yard, await workerIdOf(yard, worker), limit);
        if (yard.json) {
          printJson(yard, ListEligibleRunsResponseSchema, found);
          return EXIT.OK;
        }
        const { io } = yard;
        if (found.runs.length === 0) io.stderr('No runs.\n');
        else io.stdout(runsTable(found.runs, { nowMs: io.clock.nowMs(), colours: io.colours }));
        if (found.nextPageToken !== '') io.stderr(`There are more than ${limit}: see --limit.\n`);
        return EXIT.OK;
      }),
    );
}
