import { Command, CommanderError, Option } from 'commander';
import { afterEach, describe, expect, it } from 'vitest';
import type { AgentOptions } from '../../src/cli/agent/agent.ts';
import { agentCommand, agentOptions } from '../../src/cli/agent/command.ts';

const VARIABLES = [
  'YARDMASTER_ADDRESS',
  'YARDMASTER_TOKEN',
  'YARDMASTER_NAMESPACE',
  'YARDMASTER_WORKER_ID',
  'YARDMASTER_ASSIGNMENT_ID',
];
const before = VARIABLES.map((name) => [name, process.env[name]] as const);
afterEach(() => {
  for (const [name, value] of before) {
    if (value === undefined) delete process.env[name];
    else process.env[name] = value;
  }
});

/** What these words would start; nothing is started. */
async function optionsOf(
  words: readonly string[],
  mount: (command: Command) => Command = (command) => command,
): Promise<AgentOptions> {
  let options: AgentOptions | undefined;
  const command = agentCommand()
    .action((commandWords: string[], _given: unknown, self: Command) => {
      options = agentOptions(commandWords, self);
    })
    .exitOverride()
    .configureOutput({ writeErr: () => {}, writeOut: () => {} });
  await mount(command)
    .exitOverride()
    .parseAsync([...words], { from: 'user' });
  if (options === undefined) throw new Error('the command was not reached');
  return options;
}

function inProgram(command: Command): Command {
  return new Command('yardmaster')
    .addOption(new Option('--address <address>').env('YARDMASTER_ADDRESS').default('localhost:7070'))
    .option('--token <token>')
    .option('--namespace <namespace>')
    .configureOutput({ writeErr: () => {} })
    .addCommand(command);
}

describe('the command line of the agent', () => {
  it('reads every option', async () => {
    const words = [
      ...[
        '--address',
        'yard:1',
        '--token',
        't',
        '--namespace',
        'n',
        '--name',
        'gpu-1',
        '--worker-id',
        'w',
        '--tag',
        'a',
        '--tag',
        'b',
      ],
      ...[
        '--label',
        'memory=512',
        '--label',
        'version="12"',
        '--action',
        'train',
        '--action',
        'test',
        '--slots',
        '3',
        '--gpus',
        ' 0,1 ',
      ],
      ...['--nickname', 'nick', '--cancel-grace', '1m30s', '--working-directory', '/tmp', '--no-retry-exit-code', '2'],
      ...['--no-retry-exit-code', '64', '--', 'python', 'train.py', '--slots', '9', '--', 'x'],
    ];
    expect(await optionsOf(words)).toEqual({
      worker: {
        address: 'yard:1',
        token: 't',
        namespace: 'n',
        name: 'gpu-1',
        workerId: 'w',
        tags: ['a', 'b'],
        labels: { memory: 512, version: '12' },
        slots: 3,
        devices: { gpus: '0,1' },
        nickname: 'nick',
      },
      actions: ['train', 'test'],
      line: { file: 'python', args: ['train.py', '--slots', '9', '--', 'x'], workingDirectory: '/tmp' },
      cancelGraceMs: 90_000,
      finalExitCodes: [2, 64],
    });
  });

  it('has defaults that claim nothing', async () => {
    for (const name of VARIABLES) delete process.env[name];
    const options = await optionsOf(['--action', 'train', '--gpus', ' ', '--shell', 'echo', 'a | b']);
    expect(options).toMatchObject({
      cancelGraceMs: 5_000,
      finalExitCodes: [],
      line: { file: 'sh', args: ['-c', 'echo a | b'] },
    });
    expect(Object.values(options.worker).filter((value) => value !== undefined)).toEqual([[]]);
  });

  it('knows the options of the program, wherever they stand, and the environment', async () => {
    const tail = ['--action', 'train', '--', 'true'];
    process.env.YARDMASTER_ADDRESS = 'from-environment:1';
    process.env.YARDMASTER_TOKEN = 'from-environment';
    const address = async (words: string[], mount?: typeof inProgram) => (await optionsOf(words, mount)).worker.address;
    expect(await address(tail)).toBe('from-environment:1');
    expect(await address(['agent', ...tail], inProgram)).toBe('from-environment:1');
    expect(await address(['--address', 'a:1', 'agent', ...tail], inProgram)).toBe('a:1');
    expect(await address(['agent', '--address', 'a:1', ...tail], inProgram)).toBe('a:1');
    const positional = (command: Command) => inProgram(command).enablePositionalOptions();
    expect(await address(['agent', '--address', 'a:1', ...tail], positional)).toBe('a:1');
    expect((await optionsOf(['agent', ...tail], inProgram)).worker.token).toBe('from-environment');
  });

  it('YARDMASTER_WORKER_ID says who it is, but not in the command of another agent', async () => {
    const workerId = async (...words: string[]) =>
      (await optionsOf([...words, '--action', 'train', '--', 'true'])).worker.workerId;
    process.env.YARDMASTER_WORKER_ID = 'registered-before';
    expect(await workerId()).toBe('registered-before');
    expect(await workerId('--worker-id', 'given')).toBe('given');
    process.env.YARDMASTER_ASSIGNMENT_ID = 'of the agent outside';
    expect(await workerId()).toBeUndefined();
    expect(await workerId('--worker-id', 'given')).toBe('given');
  });

  it.each([
    [['--action', 'a', '--label', 'memory', '--', 'x'], /no label/],
    [['--action', 'a', '--label', 'memory=', '--', 'x'], /must have a value/],
    [['--action', 'a', '--slots', '0', '--', 'x'], /1 to 10000/],
    [['--action', 'a', '--cancel-grace', 'soon', '--', 'x'], /duration/],
    [['--action', 'a', '--no-retry-exit-code', '256', '--', 'x'], /1 to 255/],
    [['--action', 'a', '--'], /missing required argument/],
    [['--', 'x'], /--action/],
  ])('refuses %j', async (words, message) => {
    const refusal = await optionsOf(words).catch((error: unknown) => error);
    expect(refusal).toBeInstanceOf(CommanderError);
    expect((refusal as Error).message).toMatch(message);
  });
});
