/** `yardmaster drain` and `yardmaster resume`. */
import { Command } from 'commander';
import { DrainWorkerResponseSchema, ResumeWorkerResponseSchema } from '../../../gen/yardmaster/v1/admin_service_pb.ts';
import type { Worker } from '../../../gen/yardmaster/v1/worker_pb.ts';
import { EXIT } from '../exit.ts';
import { printable } from '../show/text.ts';
import { workerIdOf } from '../worker_id.ts';
import { type Cli, printJson, remote } from '../yard.ts';

const WORKER = ['<worker>', 'name or id of the worker'] as const;

export function drainCommand(cli: Cli): Command {
  return new Command('drain')
    .description('let a worker finish what it has and give it nothing new, until it is resumed')
    .argument(...WORKER)
    .option('--reason <text>', 'told to the worker')
    .action((worker: string, { reason = '' }: { reason?: string }, self: Command) =>
      remote(cli, self, async (yard) => {
        const response = await yard.admin.drainWorker({ workerId: await workerIdOf(yard, worker), reason }, yard.call);
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
        const response = await yard.admin.resumeWorker({ workerId: await workerIdOf(yard, worker) }, yard.call);
        if (yard.json) printJson(yard, ResumeWorkerResponseSchema, response);
        else yard.io.stdout(`${nameOf(response.worker)} takes work again\n`);
        return EXIT.OK;
      }),
    );
}

function nameOf(worker: Worker | undefined): string {
  return printable(worker?.name ?? '');
}
