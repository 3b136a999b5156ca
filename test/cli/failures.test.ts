import { status } from '@grpc/grpc-js';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { type FakeAdmin, refusal, startFakeAdmin } from '../client/fake-admin.ts';
import { finish, useCli } from './support.ts';

const yard = useCli();
const NOWHERE = ['--address', '127.0.0.1:1'];

describe('what went wrong', () => {
  let fake: FakeAdmin;
  let answer: () => never;
  beforeAll(async () => {
    fake = await startFakeAdmin({ getRun: () => answer() });
  });
  afterAll(() => fake.stop());

  it.each([
    [status.INVALID_ARGUMENT, 2],
    [status.NOT_FOUND, 3],
    [status.FAILED_PRECONDITION, 5],
    [status.ALREADY_EXISTS, 5],
    [status.UNAUTHENTICATED, 6],
    [status.PERMISSION_DENIED, 6],
    [status.UNIMPLEMENTED, 7],
    [status.DEADLINE_EXCEEDED, 4],
    [status.RESOURCE_EXHAUSTED, 1],
    [status.INTERNAL, 1],
  ])('status %i ends with %i', async (code, exitCode) => {
    answer = () => {
      throw refusal(code, 'SOME_REASON', 'this is why', { limit: '7' });
    };
    const text = await finish(['--address', fake.address, 'run', 'x']);
    expect(text).toEqual({ exitCode, stdout: '', stderr: 'error: this is why (SOME_REASON)\n' });
    const json = await finish(['--address', fake.address, 'run', 'x', '--json']);
    expect(json).toMatchObject({ exitCode, stdout: '' });
    expect(JSON.parse(json.stderr)).toEqual({
      error: {
        code: Object.entries(status).find(([, number]) => number === code)?.[0],
        reason: 'SOME_REASON',
        message: 'this is why',
        fields: [],
        metadata: { limit: '7' },
        exitCode,
      },
    });
  });

  it('the text of others cannot move the cursor', async () => {
    answer = () => {
      throw refusal(status.NOT_FOUND, 'SOME_REASON', 'a\u009b2Jb');
    };
    const { stderr } = await finish(['--address', fake.address, 'run', 'x']);
    expect(stderr).toBe('error: a\ufffd2Jb (SOME_REASON)\n');
  });

  it('names the fields of a refused request, with --json as they are', async () => {
    const { stderr } = await yard.run('--json', 'runs', '--action', 'x'.repeat(200));
    const { error } = JSON.parse(stderr);
    expect(error).toMatchObject({ code: 'INVALID_ARGUMENT', exitCode: 2, fields: [{ field: 'action' }] });
  });

  it('a server that cannot be reached is 4, and is named', async () => {
    for (const args of [['runs'], ['queue'], ['schedule', 'x']]) {
      const { exitCode, stderr } = await finish([...NOWHERE, ...args]);
      expect(stderr).toMatch(/^error: the server at 127\.0\.0\.1:1 cannot be reached: .*ECONNREFUSED/);
      expect(exitCode).toBe(4);
    }
  }, 30_000);

  it.each(['http://localhost:7070', 'localhost', '[', 'a:b'])('the address %s is 2', async (address) => {
    const { exitCode, stderr } = await finish(['--address', address, 'runs']);
    expect({ exitCode, stderr }).toEqual({ exitCode: 2, stderr: expect.stringMatching(/^error: .*must be host:port/) });
  });

  it('an unknown namespace is 3', async () => {
    const { exitCode, stderr } = await yard.run('--namespace', 'elsewhere', 'runs');
    expect({ exitCode, stderr }).toEqual({ exitCode: 3, stderr: expect.stringContaining('NAMESPACE_NOT_FOUND') });
  });
});

describe('yardmaster workflow put', () => {
  const put = (stdin: string) => finish(['--address', yard.address, 'workflow', 'put', '-'], { stdin });

  it.each([
    'name: train\nsteps:\n  - { name: fit, action: fit, runsOn: [gpu], executionTimeout: 3600s }\n',
    '{"name": "train", "steps": [{"name": "fit", "action": "fit"}]}',
  ])('sends YAML and JSON, and says when the server does not support it', async (text) => {
    const { exitCode, stdout, stderr } = await put(text);
    // Until workflows are there; then this is a version.
    expect([exitCode, stdout || stderr]).toEqual(
      exitCode === 0
        ? [0, expect.stringMatching(/^train version \d+\n/)]
        : [7, expect.stringMatching(/^error: .*(support|PutWorkflow)/)],
    );
  });

  it.each([
    ['name: [', /error: -: /],
    ['name: train\nstepz: []\n', /stepz/],
    ['', /error: -: /],
    ['name: train\nsteps: [{action: a, executionTimeout: soon}]\n', /[dD]uration|soon/],
  ])('refuses %j with 2', async (text, message) => {
    const { exitCode, stderr } = await put(text);
    expect(stderr).toMatch(message);
    expect(exitCode).toBe(2);
  });

  it('refuses a file that is not there with 2', async () => {
    const { exitCode, stderr } = await yard.run('workflow', 'put', '/nowhere/at/all.yaml');
    expect({ exitCode, stderr }).toEqual({ exitCode: 2, stderr: expect.stringContaining('ENOENT') });
  });
});

describe('help and usage', () => {
  it('--help ends with 0 and has the exit codes, for every command', async () => {
    const whole = await finish(['--help']);
    expect(whole).toMatchObject({ exitCode: 0, stderr: '' });
    const commands = [...whole.stdout.matchAll(/^ {2}(\w+) .*/gm)].map(([, name]) => name ?? '');
    expect(commands).toEqual(
      expect.arrayContaining([
        'serve',
        'agent',
        'schedule',
        'runs',
        'run',
        'logs',
        'cancel',
        'workers',
        'register',
        'queue',
      ]),
    );
    for (const command of ['schedule', 'runs', 'serve', 'workflow']) {
      const { exitCode, stdout } = await finish([command, '--help']);
      expect(exitCode).toBe(0);
      expect(stdout).toMatch(/Exit codes:\n {4}0 {2}it worked/);
      expect(stdout).toContain('--address');
    }
  });

  it('--version is the one of the package', async () => {
    const { stdout } = await finish(['--version']);
    expect(stdout).toMatch(/^\d+\.\d+\.\d+\n$/);
  });

  it('a command line that makes no sense is 2, in one sentence', async () => {
    expect(await finish(['fly'])).toEqual({ exitCode: 2, stdout: '', stderr: "error: unknown command 'fly'\n" });
    expect(await finish(['runs', '--fast'])).toMatchObject({ exitCode: 2, stderr: "error: unknown option '--fast'\n" });
    expect(await finish(['run'])).toMatchObject({ exitCode: 2, stderr: "error: missing required argument 'id'\n" });
    expect(await finish(['run', 'a', 'b'])).toMatchObject({ exitCode: 2 });
    const json = await finish(['--json', 'run']);
    expect(JSON.parse(json.stderr)).toMatchObject({ error: { code: 'USAGE', exitCode: 2 } });
    const nothing = await finish([]);
    expect(nothing).toMatchObject({ exitCode: 2, stdout: '', stderr: expect.stringContaining('Usage: yardmaster') });
  });
});
