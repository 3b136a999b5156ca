/** The command line as a function: arguments in, exit code out. */
import { Command, CommanderError, Option } from 'commander';
import { agentCommand } from './agent/command.ts';
import { cancelCommand } from './commands/cancel.ts';
import { drainCommand, resumeCommand } from './commands/drain.ts';
import { explainCommand } from './commands/explain.ts';
import { logsCommand } from './commands/logs.ts';
import { namespacesCommand } from './commands/namespaces.ts';
import { queueCommand } from './commands/queue.ts';
import { registerCommand } from './commands/register.ts';
import { runCommand } from './commands/run.ts';
import { runsCommand } from './commands/runs.ts';
import { scheduleCommand } from './commands/schedule.ts';
import { serveCommand } from './commands/serve.ts';
import { workersCommand } from './commands/workers.ts';
import { workflowCommand } from './commands/workflow.ts';
import { EXIT, exitCodesHelp } from './exit.ts';
import { failureJson, failureLine, failureOf } from './failure.ts';
import type { Io } from './io.ts';
import { ADDRESS_DEFAULT, parseAddress } from './parse/address.ts';
import { packageVersion } from './version.ts';
import type { Cli, GlobalOptions } from './yard.ts';

/** Never rejects. `args` are those behind the name of the program. */
export async function runCli(args: readonly string[], io: Io): Promise<number> {
  let exitCode: number = EXIT.OK;
  const program = programOf({
    io,
    done(code) {
      exitCode = code;
    },
  });
  try {
    await program.parseAsync([...args], { from: 'user' });
    return exitCode;
  } catch (error) {
    if (error instanceof CommanderError && error.exitCode === 0) return EXIT.OK;
    return report(error, args, program, io);
  }
}

function report(error: unknown, args: readonly string[], program: Command, io: Io): number {
  // A broken-off call says so in many ways, and the user knows.
  if (io.interrupted().aborted) return EXIT.INTERRUPTED;
  // Help instead of what should have been done has said all there is to say.
  if (error instanceof CommanderError && error.code === 'commander.help') return EXIT.USAGE;
  const { address, json } = program.opts<GlobalOptions>();
  const failure = failureOf(error, address);
  // Of a command line that makes no sense, the options may not have been read.
  const forPrograms = json === true || args.includes('--json');
  io.stderr(forPrograms ? failureJson(failure) : failureLine(failure));
  return failure.exitCode;
}

function programOf(cli: Cli): Command {
  const program = new Command('yardmaster')
    .description('The command line of the Yardmaster control plane.')
    .version(packageVersion())
    .addOption(
      new Option('--address <host:port>', 'gRPC address of the server')
        .env('YARDMASTER_ADDRESS')
        .argParser(parseAddress)
        .default(ADDRESS_DEFAULT),
    )
    .addOption(
      new Option('--token <token>', 'sent as a bearer token; with serve: what callers have to send').env(
        'YARDMASTER_TOKEN',
      ),
    )
    .addOption(new Option('--namespace <name>', "default: the token's, else default").env('YARDMASTER_NAMESPACE'))
    .option('--json', 'for programs: proto3 JSON on standard output, errors as JSON on standard error')
    .configureHelp({ showGlobalOptions: true })
    .configureOutput({
      writeOut: (text) => cli.io.stdout(text),
      writeErr: (text) => cli.io.stderr(text),
      // Said once, in one form, where all failures are.
      outputError: () => {},
      getOutHasColors: () => cli.io.colours,
      getErrHasColors: () => cli.io.colours,
    })
    .exitOverride()
    .addHelpText('afterAll', exitCodesHelp());
  const commands = [
    serveCommand(cli),
    agentCommand((code) => cli.done(code)),
    scheduleCommand(cli),
    runsCommand(cli),
    runCommand(cli),
    logsCommand(cli),
    explainCommand(cli),
    cancelCommand(cli),
    workersCommand(cli),
    registerCommand(cli),
    drainCommand(cli),
    resumeCommand(cli),
    queueCommand(cli),
    workflowCommand(cli),
    namespacesCommand(cli),
  ];
  for (const command of commands) program.addCommand(inheriting(command, program));
  return program;
}

/** A command that was made elsewhere knows nothing of the settings of its parent. */
function inheriting(command: Command, parent: Command): Command {
  command.copyInheritedSettings(parent);
  for (const child of command.commands) inheriting(child, command);
  return command;
}
