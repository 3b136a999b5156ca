/** `yardmaster run`: one run, with all that is known of it. */
import { Command } from 'commander';
import { GetRunResponseSchema } from '../../../gen/yardmaster/v1/admin_service_pb.ts';
import { EXIT } from '../exit.ts';
import { runText } from '../show/run.ts';
import { type Cli, printJson, remote } from '../yard.ts';

export function runCommand(cli: Cli): Command {
  return new Command('run')
    .description('show one run: state, steps, attempts, input, output, error')
    .argument('<id>', 'id of the run')
    .action((runId: string, _options: object, self: Command) =>
      remote(cli, self, async (yard) => {
        const response = await yard.admin.getRun({ runId }, yard.call);
        const { io } = yard;
        if (yard.json) printJson(yard, GetRunResponseSchema, response);
        else if (response.run) io.stdout(runText(response.run, { nowMs: io.clock.nowMs(), colours: io.colours }));
        return EXIT.OK;
      }),
    );
}
