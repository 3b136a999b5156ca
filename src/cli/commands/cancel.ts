/** `yardmaster cancel`. */
import { Command } from 'commander';
import { CancelMode, CancelRunResponseSchema } from '../../../gen/yardmaster/v1/admin_service_pb.ts';
import { EXIT } from '../exit.ts';
import { hasEnded } from '../follow/run.ts';
import { stateOf } from '../show/run.ts';
import { type Cli, printJson, remote } from '../yard.ts';

interface Options {
  readonly ifPending?: boolean;
  readonly reason?: string;
}

export function cancelCommand(cli: Cli): Command {
  return new Command('cancel')
    .description('cancel a run; a running handler is told to stop')
    .argument('<id>', 'id of the run')
    .option('--if-pending', 'only if no worker has or had it; otherwise exit code 5')
    .option('--reason <text>', 'kept with the run, and told to the worker')
    .action((runId: string, { ifPending, reason = '' }: Options, self: Command) =>
      remote(cli, self, async (yard) => {
        const mode = ifPending === true ? CancelMode.IF_PENDING : CancelMode.ANY;
        const response = await yard.admin.cancelRun({ runId, mode, reason }, yard.call);
        const { run } = response;
        if (yard.json) printJson(yard, CancelRunResponseSchema, response);
        else if (run) {
          const still = hasEnded(run) ? '' : '; its worker has been told to stop';
          yard.io.stdout(`${run.runId} is ${stateOf(run)}${still}\n`);
        }
        return EXIT.OK;
      }),
    );
}
