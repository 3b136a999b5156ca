import { describe, expect, it } from 'vitest';
import { NonRetryableError } from '../../src/worker/index.ts';
import { documents, finish, UUID, untilStopped, useCli } from './support.ts';

const yard = useCli();

describe('yardmaster schedule', () => {
  it('prints the id of the run, and warns when nobody serves its action', async () => {
    const { exitCode, stdout, stderr } = await yard.run('schedule', 'nobody-serves-this');
    expect(exitCode).toBe(0);
    expect(stdout.trim()).toMatch(UUID);
    expect(stderr).toMatch(/^warning: .*nobody-serves-this.* \(NO_WORKER_SERVES_ACTION\)\n$/);
  });

  it('prints the answer as one document with --json, wherever the flag stands', async () => {
    const before = await yard.json('schedule', 'document');
    expect(before).toMatchObject({ run: { state: 'RUN_STATE_PENDING', priority: 'PRIORITY_MID' } });
    const { stdout } = await yard.run('schedule', 'document', '--json');
    expect(JSON.parse(stdout)).toMatchObject({ warnings: [{ reason: 'NO_WORKER_SERVES_ACTION' }] });
  });

  it('passes on everything that was said about the run', async () => {
    const args = ['--runs-on', 'gpu', 'a100', '--metadata', 'team=red', 'ticket=7=7', '--priority', 'critical'];
    const runId = await yard.submit(
      'everything',
      ...args,
      '--request-id',
      'only-once',
      '--input',
      '{"b":9007199254740993,"a":1}',
    );
    expect(await yard.json('run', runId)).toMatchObject({
      run: {
        runsOn: ['a100', 'gpu'],
        metadata: { team: 'red', ticket: '7=7' },
        priority: 'PRIORITY_CRITICAL',
        requestId: 'only-once',
        inputJson: '{"b":9007199254740993,"a":1}',
      },
    });
    const again = ['everything', ...args, '--request-id', 'only-once', '--input', '{"b":9007199254740993,"a":1}'];
    expect(await yard.submit(...(again as [string]))).toBe(runId);
    const other = await yard.run('schedule', 'something-else', '--request-id', 'only-once');
    expect(other).toMatchObject({ exitCode: 5, stderr: expect.stringContaining('REQUEST_ID_REUSED') });
  });

  it('lets an equal run do the work', async () => {
    const equal = ['--dedupe', '--hash-exclude', 'time', '--input'];
    const first = await yard.submit('equal', ...equal, '{"file":"a","time":1}');
    const second = await yard.submit('equal', ...equal, '{"time":2,"file":"a"}');
    const given = await yard.submit('equal', '--content-hash', 'mine');
    expect(await yard.json('run', second)).toMatchObject({
      run: { steps: [{ blockedReason: `HELD equal run ${first}` }] },
    });
    expect(await yard.json('run', given)).toMatchObject({ run: { contentHash: 'mine' } });
    await yard.worker({ name: 'equal', actions: { equal: () => 'done' } });
    const { stdout } = await yard.run('schedule', 'equal', ...equal, '{"file":"a"}', '--follow');
    expect(stdout).toContain('SUCCEEDED');
    expect((await yard.run('run', second)).stdout).toMatch(new RegExp(`executed by +${first}`));
  });

  it('reads the input from standard input', async () => {
    const here = ['--address', yard.address];
    for (const option of ['--input', '--input-file']) {
      const args = [...here, 'schedule', 'stdin', option, '-'];
      const { stdout } = await finish(args, { stdin: `{"by":"${option}"}\n` });
      const run = await yard.json('run', stdout.trim());
      expect(run).toMatchObject({ run: { inputJson: `{"by":"${option}"}\n` } });
    }
  });

  it('labels decide who gets it, numbers as numbers', async () => {
    const seen: string[] = [];
    const handlers = (name: string) => ({ place: () => void seen.push(name) });
    await yard.worker({ name: 'small', labels: { memory: 64, model: 'llama' }, actions: handlers('small') });
    await yard.worker({ name: 'large', labels: { memory: 512, model: 'mistral' }, actions: handlers('large') });
    const take = async (...args: string[]) => {
      expect(await yard.run('schedule', 'place', '--follow', ...args)).toMatchObject({ exitCode: 0 });
    };
    await take('--label', 'memory>256');
    await take('--label', 'memory<256');
    await take('--label', 'model in mistral,gpt', 'memory exists');
    await take('--prefer', 'model=llama:50', 'model=mistral:10');
    await take('--prefer', 'model=llama:10', 'model=mistral:50');
    expect(seen).toEqual(['large', 'small', 'large', 'small', 'large']);
    const strings = await yard.submit('place', '--label', 'memory="512"');
    expect(await yard.json('run', strings)).toMatchObject({ run: { state: 'RUN_STATE_PENDING' } });
  });

  it('--follow tells what happens, and ends with 0 after a success', async () => {
    const report = async (context: {
      attempt: number;
      log: { (text: string): void; warning(text: string): void };
      progress(progress: { text: string; fraction: number }): void;
    }) => {
      context.log('first line\u001b[2J');
      context.log.warning('second line');
      context.progress({ text: 'half of it', fraction: 0.5 });
      if (context.attempt === 1) throw new Error('not yet');
      await said;
      return { answer: 42 };
    };
    let goOn = () => {};
    const said = new Promise<void>((resolve) => {
      goOn = resolve;
    });
    await yard.worker({ name: 'teller', actions: { report } });
    const told = yard.begin('schedule', 'report', '--follow', '--max-attempts', '2');
    await told.says('50 % half of it');
    await told.says('RUNNING on teller, attempt 2');
    goOn();
    expect(await told.exitCode).toBe(0);
    const lines = told.stdout.split('\n').map((line) => line.replace(/^ *[\d.]+m?s +/, ''));
    expect(lines).toEqual(
      expect.arrayContaining(['| first line\ufffd[2J', '| WARNING second line', 'output {"answer":42}']),
    );
    expect(told.stdout).toMatch(/attempt 1 on teller ended: APPLICATION: Error: not yet/);
    expect(told.stdout).toMatch(/SUCCEEDED after [\d.]+m?s/);
    expect(told.stdout.match(/first line/g)).toHaveLength(2);
  });

  it('--follow ends with 1 when the run does not succeed', async () => {
    const breaks = () => {
      throw new NonRetryableError('it is broken');
    };
    await yard.worker({ name: 'breaker', actions: { breaks } });
    const failed = await yard.run('schedule', 'breaks', '--follow');
    expect(failed.exitCode).toBe(1);
    expect(failed.stdout).toMatch(/FAILED after .*\n.*error +APPLICATION: .*it is broken/);
    const late = await yard.run('schedule', 'nobody', '--follow', '--schedule-timeout', '50ms');
    expect(late).toMatchObject({ exitCode: 1, stdout: expect.stringContaining('SCHEDULE_TIMEOUT') });
    const slow = async (context: { signal: AbortSignal }) => untilStopped(context);
    await yard.worker({ name: 'slow', actions: { slow } });
    const cut = await yard.run('schedule', 'slow', '--follow', '--execution-timeout', '50ms');
    expect(cut).toMatchObject({ exitCode: 1, stdout: expect.stringContaining('TIMED_OUT') });
  });

  it('--follow --json prints the messages of the watches, a line each', async () => {
    const greet = (context: { log(text: string): void }) => {
      context.log('hello');
      return 'done';
    };
    await yard.worker({ name: 'greeter', actions: { greet } });
    const { exitCode, stdout } = await yard.run('--json', 'schedule', 'greet', '--follow');
    expect(exitCode).toBe(0);
    const [first, ...events] = documents(stdout);
    expect(first).toMatchObject({ run: { runId: expect.stringMatching(UUID) } });
    expect(events.at(-1)).toMatchObject({ changed: { state: 'RUN_STATE_SUCCEEDED', outputJson: '"done"' } });
    const logged = events.filter((event) => 'lines' in event);
    expect(logged).toEqual([{ stepName: 'greet', lines: [expect.objectContaining({ number: '1', attempt: 1 })] }]);
  });

  it('--follow shows a long log whole and once', async () => {
    const LINES = 250;
    const chatter = (context: { log(text: string): void }) => {
      for (let index = 1; index <= LINES; index += 1) context.log(`line ${index} of many`);
    };
    await yard.worker({ name: 'chatterbox', actions: { chatter } });
    const { stdout } = await yard.run('schedule', 'chatter', '--follow');
    const numbers = [...stdout.matchAll(/line (\d+) of many/g)].map(([, number]) => Number(number));
    expect(numbers).toEqual(Array.from({ length: LINES }, (_, index) => index + 1));
  });

  it('--follow ends with 130 on Ctrl-C, and the run goes on', async () => {
    const forever = (context: { signal: AbortSignal }) => untilStopped(context);
    await yard.worker({ name: 'tireless', actions: { forever } });
    const told = yard.begin('schedule', 'forever', '--follow');
    await told.says('RUNNING on tireless');
    told.interrupt();
    expect(await told.exitCode).toBe(130);
    const runId = told.stdout.split('\n')[0] ?? '';
    expect(told.stderr).toBe(`The run goes on; "yardmaster cancel ${runId}" ends it.\n`);
    expect(await yard.json('run', runId)).toMatchObject({ run: { state: 'RUN_STATE_RUNNING' } });
    expect(await yard.run('cancel', runId)).toMatchObject({ exitCode: 0 });
  });

  it.each([
    [[], 'give the name of an action'],
    [['a', '--workflow', 'b'], 'not both'],
    [['a', '--input', '{'], '--input: this is not JSON'],
    [['a', '--input', '1', '--input-file', 'x'], "'--input-file <file>'"],
    [['a', '--input-file', '/nowhere/at/all'], '--input-file: ENOENT'],
    [['a', '--label', 'memory'], 'must be a condition'],
    [['a', '--priority', 'urgent'], 'Allowed choices are low, mid, high, critical'],
    [['a', '--schedule-timeout', '5'], 'must be a duration'],
    [['a', '--max-attempts', '0'], 'whole number from 1'],
    [['a', '--metadata', 'x'], 'must be key=value'],
    [['--workflow', 'a', '--max-attempts', '2'], 'steps of a workflow'],
    [['a', '--runs-on', 'x'.repeat(2_000)], 'runs_on'],
    [['a', '--runs-on', '--follow'], 'a tag is missing before --follow'],
  ])('refuses %j with 2', async (args, message) => {
    const { exitCode, stdout, stderr } = await yard.run('schedule', ...args);
    expect(stderr).toContain(message);
    expect({ exitCode, stdout }).toEqual({ exitCode: 2, stdout: '' });
  });

  it('--workflow is sent, and comes back as not supported while the server does not know workflows', async () => {
    const { exitCode, stderr } = await yard.run('schedule', '--workflow', 'train');
    expect([3, 7]).toContain(exitCode);
    expect(stderr).toMatch(/workflow/);
  });
});
