/** `yardmaster logs`: what the handlers of a run have logged. */
import { create } from '@bufbuild/protobuf';
import { Command } from 'commander';
import { GetStepLogsResponseSchema } from '../../../gen/yardmaster/v1/admin_service_pb.ts';
import { EXIT, type ExitCode } from '../exit.ts';
import { followLog, LogReader } from '../follow/log.ts';
import { printLines } from '../follow/run.ts';
import { logLine } from '../show/log.ts';
import { printable } from '../show/text.ts';
import { type Cli, printJson, remote, type Yard } from '../yard.ts';

interface Options {
  readonly step?: string;
  readonly follow?: boolean;
}

export function logsCommand(cli: Cli): Command {
  return new Command('logs')
    .description('print the log of a step, all attempts: time (UTC), attempt, level, text')
    .argument('<id>', 'id of the run')
    .option('--step <name>', 'name of the step; otherwise the first, or with --follow every one')
    .option('--follow', 'go on with what comes until the step, or the run, has ended')
    .action((runId: string, { step = '', follow }: Options, self: Command) =>
      remote(cli, self, (yard) =>
        follow === true ? followed(yard, runId, step) : logs(yard, new LogReader(yard, runId, step)),
      ),
    );
}

async function followed(yard: Yard, runId: string, stepName: string): Promise<ExitCode> {
  let shown: string | undefined;
  for await (const logged of followLog(yard, runId, stepName)) {
    if (yard.json) printLines(yard, logged);
    else {
      if (shown !== undefined && shown !== logged.stepName) yard.io.stdout(`==> ${printable(logged.stepName)} <==\n`);
      yard.io.stdout(logged.lines.map(logLine).join(''));
    }
    shown = logged.stepName;
  }
  return EXIT.OK;
}

async function logs(yard: Yard, reader: LogReader): Promise<ExitCode> {
  const whole = create(GetStepLogsResponseSchema);
  for await (const lines of reader.news()) {
    // Text leaves page by page; a document has to be whole.
    if (yard.json) whole.lines.push(...lines);
    else yard.io.stdout(lines.map(logLine).join(''));
  }
  whole.cutBytes = reader.cutBytes;
  if (yard.json) printJson(yard, GetStepLogsResponseSchema, whole);
  else if (reader.cutBytes > 0n) yard.io.stderr(`${reader.cutBytes} bytes over the limit were not kept.\n`);
  return EXIT.OK;
}
