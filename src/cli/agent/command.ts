/** `yardmaster agent`: serve actions with a command. */
import { durationMs } from '@bufbuild/protobuf/wkt';
import { Command, InvalidArgumentError, Option } from 'commander';
import { systemClock } from '../../lib/clock.ts';
import type { Labels } from '../../worker/index.ts';
import { parseDuration } from '../parse/duration.ts';
import { integerFrom } from '../parse/number.ts';
import { printable } from '../show/text.ts';
import { type Agent, type AgentOptions, startAgent } from './agent.ts';
import { AUTO, detected, type Wanted } from './detect.ts';
import { parseLabel } from './label.ts';

const SLOTS_MAX = 10_000;
const EXIT_CODE_MAX = 255;

const HELP = `
For each step the command is started with the step's input (JSON) on its standard input. What it prints goes to the
step's log; exit code 0 is success. It finds in its environment, besides the agent's own variables:

  YARDMASTER_OUTPUT      a file: JSON written there is the step's output
  YARDMASTER_PROGRESS    a file: lines like "0.5 epoch 3", "50% epoch 3", {"fraction":0.5,"text":"…","phase":"…"}
  YARDMASTER_LABELS      a file: lines key=value change the worker's labels at once, key= removes one
  YARDMASTER_INPUT_FILE  a file with the input
  YARDMASTER_RUN_ID, _STEP_NAME, _ACTION, _ATTEMPT, _ASSIGNMENT_ID, _WORKER_ID, _WORKER_NAME, _METADATA (JSON)
  YARDMASTER_DEVICE, CUDA_VISIBLE_DEVICES    when a device was leased with the step

SIGTERM or Ctrl-C lets running commands finish; a second one ends them.

Example:
  yardmaster agent --name gpu-1 --tag gpu-A100 --label memory=512 --action train -- python train.py`;

interface Given {
  readonly address?: string;
  readonly token?: string;
  readonly namespace?: string;
  readonly name?: string;
  readonly workerId?: string;
  readonly tag: readonly string[];
  readonly label?: Labels;
  readonly action: readonly string[];
  readonly slots?: number;
  readonly gpus?: string;
  readonly detect: boolean;
  readonly nickname?: string;
  readonly shell: boolean;
  readonly cancelGrace: number;
  readonly workingDirectory?: string;
  /** Of `--no-retry-exit-code`: commander reads `no-` as a negation. */
  readonly retryExitCode: readonly number[];
}

/** Mounted in the program, or alone; the program's own --address, --token and --namespace serve it too. */
export function agentCommand(done: (exitCode: number) => void = setExitCode): Command {
  return new Command('agent')
    .description('connect as a worker that runs a command for each step it is given')
    .argument('<command...>', 'the command and its arguments, after --')
    .option('--name <name>', 'connect under this name; the first time registers it')
    .addOption(new Option('--worker-id <id>', 'connect as this registered worker').env('YARDMASTER_WORKER_ID'))
    .addOption(
      new Option('--tag <tag>', 'a tag, given once and for good; repeatable').argParser(collect).default([], 'none'),
    )
    .option('--label <key=value>', 'a label; a number stays one unless quoted: key=\'"12"\'; repeatable', collectLabel)
    .requiredOption('--action <name>', 'an action the command serves; repeatable', collect)
    .option('--slots <n>', 'commands at once (default: 1, with GPUs one for each)', integerFrom(1, SLOTS_MAX))
    .option('--gpus <list>', 'ids of the GPUs, for example "0,1", or auto: those nvidia-smi tells', (text) =>
      text.trim(),
    )
    .option('--detect', 'report labels: gpu.count, gpu.memory_mib, gpu.model, cpu.count, memory_mib, os, arch', false)
    .option('--nickname <name>', 'the name on the leaderboard')
    .option('--shell', 'run the command through sh -c', false)
    .addOption(
      new Option('--cancel-grace <duration>', 'from SIGTERM to SIGKILL, when a step is cancelled')
        .default(durationMs(parseDuration('5s')), '5s')
        .argParser((text) => durationMs(parseDuration(text))),
    )
    .option('--working-directory <path>', "where the command runs (default: the agent's)")
    .addOption(
      new Option('--no-retry-exit-code <n>', 'an exit code after which no further attempt is made; repeatable')
        .argParser((text, before: readonly number[]) => [...before, integerFrom(1, EXIT_CODE_MAX)(text)])
        .default([], 'none'),
    )
    .addOption(new Option('--address <host:port>').env('YARDMASTER_ADDRESS').hideHelp())
    .addOption(new Option('--token <token>').env('YARDMASTER_TOKEN').hideHelp())
    .addOption(new Option('--namespace <name>').env('YARDMASTER_NAMESPACE').hideHelp())
    .addHelpText('after', HELP)
    .action(async (words: string[], _options: unknown, command: Command) => {
      const { gpus, detect } = command.opts<Given>();
      done(await runUntilStopped(agentOptions(words, command), { gpus, labels: detect }));
    });
}

export function agentOptions(words: readonly string[], command: Command): AgentOptions {
  const given = command.opts<Given>();
  const [file = '', ...args] = given.shell ? ['sh', '-c', words.join(' ')] : words;
  const hasGpus = given.gpus !== undefined && given.gpus !== '' && given.gpus !== AUTO;
  return {
    worker: {
      address: shared(command, 'address'),
      token: shared(command, 'token'),
      namespace: shared(command, 'namespace'),
      name: given.name,
      workerId: workerIdFor(command, given),
      tags: given.tag,
      labels: given.label,
      slots: given.slots,
      devices: hasGpus ? { gpus: given.gpus } : undefined,
      nickname: given.nickname,
    },
    actions: given.action,
    line: { file, args, workingDirectory: given.workingDirectory },
    cancelGraceMs: given.cancelGrace,
    finalExitCodes: given.retryExitCode,
  };
}

/** What was written on the command line, here or before the command's name, goes before what the environment or a default says. */
function shared(command: Command, name: string): string | undefined {
  const levels: Command[] = [];
  for (let level: Command | null = command; level !== null; level = level.parent) levels.push(level);
  const written = levels.find((level) => level.getOptionValueSource(name) === 'cli');
  return written === undefined ? command.optsWithGlobals()[name] : written.getOptionValue(name);
}

/** In the command of another agent's step the variable names that agent, which this one must not push out. */
function workerIdFor(command: Command, { workerId }: Given): string | undefined {
  const isInherited = command.getOptionValueSource('workerId') === 'env';
  return isInherited && process.env.YARDMASTER_ASSIGNMENT_ID !== undefined ? undefined : workerId;
}

async function runUntilStopped(options: AgentOptions, wanted: Wanted): Promise<number> {
  // A terminal that was closed must not cost the running commands their agent.
  process.stderr.on('error', () => {});
  const say = (line: string) => process.stderr.write(`${printable(line)}\n`);
  let machine: Awaited<ReturnType<typeof detected>>;
  try {
    machine = await detected(options, wanted, process.env);
  } catch (error) {
    say((error as Error).message);
    return 1;
  }
  if (machine.found !== '') say(machine.found);
  let agent: Agent | undefined;
  const stop = () => agent?.stop();
  const signals = ['SIGTERM', 'SIGINT', 'SIGHUP'] as const;
  for (const signal of signals) process.on(signal, stop);
  try {
    agent = startAgent(machine.options, { clock: systemClock(), environment: machine.environment, say });
    return await agent.ended;
  } finally {
    for (const signal of signals) process.off(signal, stop);
  }
}

function setExitCode(exitCode: number): void {
  process.exitCode = exitCode;
}

function collect(text: string, before: readonly string[] = []): string[] {
  return [...before, text];
}

function collectLabel(text: string, before: Labels = {}): Labels {
  const [[key, value]] = Object.entries(labelOf(text)) as [[string, Labels[string] | null]];
  if (value !== null) return { ...before, [key]: value };
  throw new InvalidArgumentError(`It must have a value; an empty text is written ${key}='""'.`);
}

function labelOf(text: string) {
  try {
    return parseLabel(text);
  } catch (error) {
    throw new InvalidArgumentError((error as Error).message);
  }
}
