/** `yardmaster drain` and `yardmaster resume`. */
import { Code } from '@connectrpc/connect';
import { Command } from 'commander';
import { DrainWorkerResponseSchema, ResumeWorkerResponseSchema } from '../../../gen/yardmaster/v1/admin_service_pb.ts';
import type { Worker } from '../../../gen/yardmaster/v1/worker_pb.ts';
import { errorReason } from '../../client/index.ts';
import { EXIT } from '../exit.ts';
import { printable } from '../show/text.ts';
import { type Cli, printJson, remote, type Yard } from '../yard.ts';

const WORKER = ['<worker>', 'name or id of the worker'] as const;
/** How ids look; a name may look so too. */
const ID = /^[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}$/i;

export function drainCommand(cli: Cli): Command {
  return new Command('drain')
    .description('let a worker finish what it has and give it nothing new, until it is resumed')
    .argument(...WORKER)
    .option('--reason <text>', 'told to the worker')
    .action((worker: string, { reason = '' }: { reason?: string }, self: Command) =>
      remote(cli, self, async (yard) => {
        const response = await yard.admin.drainWorker({ workerId: await idOf(yard, worker), reason }, yard.call);
        if (yard.json) printJson(yard, DrainWorkerResponseSchema, response);
        else yard.io.stdout(`${nameOf(response.worker)} is draining; it holds ${response.worker?.slotsUsed ?? 0}\n`);
        return EXIT.OK;
      }),
    );
}

export function resumeCommand(cli: Cli): Command {
  return new Command('resume')
    .description('end the drain of a worker')
    .argument(...WORKER)
    .action((worker: string, _options: object, self: Command) =>
      remote(cli, self, async (yard) => {
        const response = await yard.admin.resumeWorker({ workerId: await idOf(yard, worker) }, yard.call);
        if (yard.json) printJson(yard, ResumeWorkerResponseSchema, response);
        else yard.io.stdout(`${nameOf(response.worker)} takes work again\n`);
        return EXIT.OK;
      }),
    );
}

async function idOf({ admin, call }: Yard, idOrName: string): Promise<string> {
  if (ID.test(idOrName)) {
    try {
      return (await admin.getWorker({ workerId: idOrName }, call)).worker?.workerId ?? '';
    } catch (error) {
      if (errorReason(error).code !== Code.NotFound) throw error;
    }
  }
  return (await admin.getWorker({ name: idOrName }, call)).worker?.workerId ?? '';
}

function nameOf(worker: Worker | undefined): string {
  return printable(worker?.name ?? '');
}
