/** `yardmaster run`: one run, with all that is known of it. */
import { Command } from 'commander';
import { GetRunResponseSchema } from '../../../gen/yardmaster/v1/admin_service_pb.ts';
import { EXIT } from '../exit.ts';
import { integerFrom } from '../parse/number.ts';
import { runText } from '../show/run.ts';
import { type Cli, printJson, remote } from '../yard.ts';

export function runCommand(cli: Cli): Command {
  return new Command('run')
    .description('show one run: state, steps, attempts, input, output, error')
    .argument('<id>', 'id of the run, or name of its workflow')
    .argument('[number]', 'its number within the workflow', integerFrom(1, Number.MAX_SAFE_INTEGER))
    .action((idOrName: string, number: number | undefined, _options: object, self: Command) =>
      remote(cli, self, async (yard) => {
        const which = number === undefined ? { runId: idOrName } : { workflow: idOrName, number: BigInt(number) };
        const response = await yard.admin.getRun(which, yard.call);
        const { io } = yard;
        if (yard.json) printJson(yard, GetRunResponseSchema, response);
        else if (response.run) io.stdout(runText(response.run, { nowMs: io.clock.nowMs(), colours: io.colours }));
        return EXIT.OK;
      }),
    );
}
