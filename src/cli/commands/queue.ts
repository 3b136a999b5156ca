/** `yardmaster queue`: how many steps wait, by action. */
import { Command } from 'commander';
import { GetQueueDepthResponseSchema } from '../../../gen/yardmaster/v1/worker_service_pb.ts';
import { EXIT } from '../exit.ts';
import { getQueueDepth } from '../queue_depth.ts';
import { table } from '../show/table.ts';
import { printable } from '../show/text.ts';
import { type Cli, printJson, remote } from '../yard.ts';

export function queueCommand(cli: Cli): Command {
  return new Command('queue')
    .description('count the steps that wait for a worker, by action')
    .argument('[action...]', 'only these; otherwise all that wait')
    .action((actions: string[], _options: object, self: Command) =>
      remote(cli, self, async (yard) => {
        const response = await getQueueDepth(yard, actions);
        const { io } = yard;
        if (yard.json) {
          printJson(yard, GetQueueDepthResponseSchema, response);
          return EXIT.OK;
        }
        const rows = Object.entries(response.pendingByAction).sort(([, a], [, b]) => Number(b - a));
        const shown = rows.map(([action, pending]) => [printable(action), String(pending)]);
        if (shown.length === 0) io.stderr('Nothing waits.\n');
        else io.stdout(table(['ACTION', 'WAITING'], shown, io.colours));
        return EXIT.OK;
      }),
    );
}
