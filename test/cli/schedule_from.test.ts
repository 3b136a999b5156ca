import { mkdtemp, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { status } from '@grpc/grpc-js';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import type { ScheduleRunsRequest } from '../../gen/yardmaster/v1/admin_service_pb.ts';
import { createAdminClient } from '../../src/client/index.ts';
import { refusal, startFakeAdmin } from '../client/fake-admin.ts';
import { documents, finish, UUID, useCli } from './support.ts';

const yard = useCli();
let folder: string;
beforeAll(async () => {
  folder = await mkdtemp(join(tmpdir(), 'yardmaster-from-'));
});
afterAll(() => rm(folder, { recursive: true }));

async function file(name: string, text: string): Promise<string> {
  const path = join(folder, name);
  await writeFile(path, text);
  return path;
}

function numbered(count: number): string {
  return Array.from({ length: count }, (_, index) => `{"n":${index + 1}}\n`).join('');
}

/** The inputs of all runs of this action, oldest first. */
async function inputsOf(action: string): Promise<string[]> {
  const admin = createAdminClient({ address: yard.address });
  const inputs: string[] = [];
  let pageToken = '';
  do {
    const page = await admin.listRuns({ action, anyState: true, oldestFirst: true, pageSize: 1000, pageToken });
    const whole = await Promise.all(page.runs.map(({ runId }) => admin.getRun({ runId })));
    inputs.push(...whole.map(({ run }) => run?.inputJson ?? ''));
    pageToken = page.nextPageToken;
  } while (pageToken !== '');
  admin.close();
  return inputs;
}

describe('yardmaster schedule --from', () => {
  it('submits a run for each entry, in order and with all that was said of them, and prints their ids', async () => {
    const path = await file('orders.json', '[{"b":9007199254740993,"a":1}, "two",\n[3]]');
    const { exitCode, stdout, stderr } = await yard.run(
      'schedule',
      'order',
      ...['--from', path, '--priority', 'low', '--metadata', 'ticket=7', '--schedule-timeout', '0'],
    );
    expect(stderr).toMatch(/^runs 1 to 3 submitted \(\d+ %\)\n3 runs submitted.\n$/);
    expect(exitCode).toBe(0);
    const ids = stdout.trim().split('\n');
    expect(ids).toEqual(Array.from({ length: 3 }, () => expect.stringMatching(UUID)));
    const [first] = ids;
    expect(await yard.json('run', first ?? '')).toMatchObject({
      run: { inputJson: '{"b":9007199254740993,"a":1}', priority: 'PRIORITY_LOW', metadata: { ticket: '7' } },
    });
    expect(await inputsOf('order')).toEqual(['{"b":9007199254740993,"a":1}', '"two"', '[3]']);
  });

  it('the same command again submits only what is missing, as entries at the end', async () => {
    const path = await file('grows.jsonl', numbered(5));
    const command = ['schedule', 'grow', '--from', path, '--batch-size', '2'];
    const first = await yard.run(...command);
    await file('grows.jsonl', numbered(7));
    const second = await yard.run(...command);
    expect(second.stderr).toContain('runs 5 to 6 submitted, 1 of them before');
    expect(second.stderr).toContain('7 runs: 2 submitted, 5 had been before.');
    expect(second.stdout.startsWith(first.stdout)).toBe(true);
    expect(await inputsOf('grow')).toHaveLength(7);
    const asNew = await yard.run(...command, '--request-id-prefix', 'second-time');
    expect(asNew.stderr).toContain('7 runs submitted.');
    const another = await yard.run('schedule', 'grow-otherwise', '--from', path);
    expect(another.stderr).toContain('7 runs submitted.');
  });

  it('an entry that was changed is refused with its whole batch, and named', async () => {
    const path = await file('changes.jsonl', numbered(4));
    const command = ['schedule', 'change', '--from', path, '--batch-size', '3'];
    expect(await yard.run(...command)).toMatchObject({ exitCode: 0 });
    await file('changes.jsonl', numbered(6).replace('{"n":5}', '{"n":0}').replace('{"n":4}', '{"n":-4}'));
    const { exitCode, stderr } = await yard.run(...command);
    expect(exitCode).toBe(5);
    expect(stderr).toContain('runs[0] is entry 4. Runs 1 to 3 were submitted, and stay; the same command');
    expect(stderr).toContain('REQUEST_ID_REUSED');
    expect(await inputsOf('change')).toHaveLength(4);
  });

  it('an entry that is no JSON costs its batch, not those before it', async () => {
    const path = await file('broken.jsonl', `${numbered(5)}oops\n{"n":7}\n`);
    const command = ['schedule', 'break', '--from', path, '--batch-size', '2'];
    const broken = await yard.run(...command);
    expect(broken.exitCode).toBe(2);
    expect(broken.stderr).toContain(`error: --from ${path}: entry 6 is not JSON`);
    expect(await inputsOf('break')).toHaveLength(4);
    await file('broken.jsonl', numbered(7));
    expect((await yard.run(...command)).stderr).toContain('7 runs: 3 submitted, 4 had been before.');
    expect(await inputsOf('break')).toEqual(numbered(7).trim().split('\n'));
  });

  it('reads standard input, whose runs are known again by a prefix', async () => {
    const command = ['schedule', 'piped', '--from', '-'];
    const text = await yard.runWith({ stdin: 'first\nsecond\n' }, ...command);
    expect(text.stderr).toBe('runs 1 to 2 submitted\n2 runs submitted.\n');
    expect(await inputsOf('piped')).toEqual(['"first"', '"second"']);
    const prefixed = [...command, '--request-id-prefix', 'p', '--format', 'text'];
    await yard.runWith({ stdin: 'first\n' }, ...prefixed);
    const again = await yard.runWith({ stdin: 'first\nthird\n' }, ...prefixed);
    expect(again.stderr).toContain('2 runs: 1 submitted, 1 had been before.');
    expect(await inputsOf('piped')).toEqual(['"first"', '"second"', '"first"', '"third"']);
  });

  it('goes on after a break, with a bar on a terminal', async () => {
    const path = await file('long.jsonl', numbered(2_500));
    const calls: string[][] = [];
    let isBroken = true;
    const fake = await startFakeAdmin({
      scheduleRuns: ({ runs }: ScheduleRunsRequest) => {
        calls.push(runs.map(({ requestId, inputJson }) => `${requestId} ${inputJson}`));
        if (isBroken && calls.length === 3) throw refusal(status.INTERNAL, '', 'it went away');
        return { runIds: runs.map(() => 'id'), alreadyScheduledCount: isBroken || calls.length > 5 ? 0 : 500 };
      },
    });
    const command = ['schedule', 'long', '--from', path, '--batch-size', '500', '--address', fake.address];
    const broken = await finish(command, { isTTY: true });
    expect(broken).toMatchObject({ exitCode: 1 });
    expect(broken.stderr).toBe(
      'Runs 1 to 1000 were submitted, and stay; the same command submits what is missing.\nerror: it went away\n',
    );
    isBroken = false;
    const [first, second, third] = calls.splice(0);
    const whole = await finish(command, { isTTY: true });
    fake.stop();
    expect(calls.slice(0, 3)).toEqual([first, second, third]);
    expect(calls.map((batch) => batch.length)).toEqual([500, 500, 500, 500, 500]);
    expect(new Set(calls.flat()).size).toBe(2_500);
    expect(whole).toMatchObject({ exitCode: 0, stderr: '2500 runs: 0 submitted, 2500 had been before.\n' });
    for (const { stdout } of [broken, whole]) {
      expect(stdout).toMatch(/^(\r\u001b\[K\[#*\.*\] +\d+ % {2}\d+ runs, \d+\/s)+\r\u001b\[K$/);
    }
  });

  it('--json prints the answer to each batch, a line each', async () => {
    const path = await file('json.txt', 'a\nb\nc\n');
    const { stdout, stderr } = await yard.run('--json', 'schedule', 'json', '--from', path, '--batch-size', '2');
    expect(documents(stdout)).toEqual([
      { runIds: [expect.stringMatching(UUID), expect.stringMatching(UUID)] },
      { runIds: [expect.stringMatching(UUID)] },
    ]);
    expect(stderr).toBe('');
  });

  it('an empty file is nothing to submit', async () => {
    const path = await file('empty.jsonl', '\n');
    expect(await yard.run('schedule', 'none', '--from', path)).toEqual({
      exitCode: 0,
      stdout: '',
      stderr: 'There was nothing to submit.\n',
    });
  });

  it('submits runs of a workflow', async () => {
    const path = await file('flow.yaml', 'name: flow-from\nsteps: [{name: only, action: flow-step}]\n');
    expect(await yard.run('workflow', 'put', path)).toMatchObject({ exitCode: 0 });
    const inputs = await file('flow.txt', 'x\ny\n');
    expect(await yard.run('schedule', '--workflow', 'flow-from', '--from', inputs)).toMatchObject({ exitCode: 0 });
    expect(await inputsOf('flow-step')).toEqual(['"x"', '"y"']);
  });

  it.each([
    [['--from', 'x', '--input', '1'], "'--from <file>' cannot be used with option '--input <json>'"],
    [['--from', 'x', '--follow'], "'--follow'"],
    [['--from', 'x', '--request-id', 'y'], "'--request-id <id>'"],
    [['--from', '/nowhere/at/all'], '--from: ENOENT'],
    [['--from', '/'], '--from: EISDIR'],
    [['--from', 'x', '--batch-size', '1001'], 'from 1 to 1000'],
    [['--batch-size', '10'], '--batch-size: it is of use only with --from'],
    [['--request-id-prefix', 'x'], '--request-id-prefix: it is of use only with --from'],
  ])('refuses %j with 2', async (args, message) => {
    const { exitCode, stdout, stderr } = await yard.run('schedule', 'never', ...args);
    expect(stderr).toContain(message);
    expect({ exitCode, stdout }).toEqual({ exitCode: 2, stdout: '' });
  });
});
