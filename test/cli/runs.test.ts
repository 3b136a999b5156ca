import { describe, expect, it } from 'vitest';
import { untilStopped, useCli } from './support.ts';

const yard = useCli();

/** Columns of the rows below the head. */
function rows(text: string): string[][] {
  const [, ...lines] = text.trimEnd().split('\n');
  return lines.map((line) => line.split(/ {2,}/));
}

describe('yardmaster runs', () => {
  it('lists what has not ended, newest first, without colours', async () => {
    const first = await yard.submit('listed', '--runs-on', 'gpu', '--priority', 'high');
    const second = await yard.submit('listed');
    const { stdout } = await yard.run('runs', '--action', 'listed');
    expect(stdout).toMatch(/^RUN +STATE +ACTION +PRIORITY +RUNS ON +AGE/);
    expect(stdout).not.toContain('\u001b');
    expect(rows(stdout).map((row) => row[0])).toEqual([second, first]);
    expect(rows(stdout)[1]).toEqual([first, 'PENDING', 'listed', 'HIGH', 'gpu', expect.stringMatching(/^[\d.]+m?s$/)]);
  });

  it('filters, and says when there are more', async () => {
    const ids = [await yard.submit('filtered'), await yard.submit('filtered'), await yard.submit('filtered')];
    await yard.run('cancel', ids[1] ?? '');
    const idsOf = async (...args: string[]) => {
      const { runs = [] } = await yard.json<{ runs?: { runId: string }[] }>('runs', '--action', 'filtered', ...args);
      return runs.map(({ runId }) => runId);
    };
    expect(await idsOf('--oldest-first')).toEqual([ids[0], ids[2]]);
    expect(await idsOf('--state', 'cancelled')).toEqual([ids[1]]);
    expect(await idsOf('--state', 'cancelled', 'pending', '--oldest-first')).toEqual(ids);
    expect(await idsOf('--all')).toEqual([...ids].reverse());
    const some = await yard.run('runs', '--all', '--action', 'filtered', '--limit', '2');
    expect(rows(some.stdout)).toHaveLength(2);
    expect(some.stderr).toBe('There are more than 2: see --limit.\n');
    expect(await yard.json('runs', '--all', '--action', 'filtered', '--limit', '2')).toHaveProperty('nextPageToken');
    expect(await yard.run('runs', '--action', 'unheard-of')).toEqual({ exitCode: 0, stdout: '', stderr: 'No runs.\n' });
  });

  it('refuses states and limits that are none', async () => {
    expect(await yard.run('runs', '--state', 'waiting')).toMatchObject({ exitCode: 2 });
    expect(await yard.run('runs', '--state', 'pending', '--all')).toMatchObject({ exitCode: 2 });
    expect(await yard.run('runs', '--limit', '0')).toMatchObject({ exitCode: 2 });
  });
});

describe('yardmaster run and logs', () => {
  it('show attempts, input, output and error of an ended run, and its log', async () => {
    const handler = (context: { attempt: number; log: { (text: string): void; error(text: string): void } }) => {
      context.log(`this is attempt ${context.attempt}`);
      context.log.error('with a tail');
      if (context.attempt === 1) throw new RangeError('out of range');
      return { fine: true };
    };
    await yard.worker({ name: 'tryer', actions: { tries: handler } });
    const runId = await yard.submit('tries', '--max-attempts', '2', '--input', '{"n":1}', '--metadata', 'k=v');
    await yard.reaches(runId, 'SUCCEEDED');
    const { exitCode, stdout } = await yard.run('run', runId);
    expect(exitCode).toBe(0);
    expect(stdout).toMatch(new RegExp(`^run +${runId}\nstate +SUCCEEDED\n`));
    expect(stdout).toMatch(/metadata +k=v/);
    expect(stdout).toMatch(/1 +tries +tryer .*APPLICATION.*out of range/);
    expect(stdout).toMatch(/2 +tries +tryer .*SUCCEEDED/);
    expect(stdout).toMatch(/input +\{"n":1\}/);
    expect(stdout).toMatch(/output +\{"fine":true\}/);

    const logs = await yard.run('logs', runId, '--step', 'tries');
    const line = (attempt: number, level: string, text: string) =>
      expect.stringMatching(new RegExp(`^\\d{4}-\\d\\d-\\d\\dT[\\d:.]+Z +${attempt} +${level} +${text}$`));
    expect(logs.stdout.trimEnd().split('\n')).toEqual([
      line(1, 'INFO', 'this is attempt 1'),
      line(1, 'ERROR', 'with a tail'),
      line(2, 'INFO', 'this is attempt 2'),
      line(2, 'ERROR', 'with a tail'),
    ]);
    const document = await yard.json('logs', runId);
    expect(document).toMatchObject({ lines: [{ line: { text: 'this is attempt 1' } }, {}, {}, {}] });
  });

  it('say what is not there with 3', async () => {
    const nowhere = '00000000-0000-4000-8000-000000000000';
    for (const command of ['run', 'logs', 'cancel']) {
      const { exitCode, stdout, stderr } = await yard.run(command, nowhere);
      expect(stderr).toMatch(new RegExp(`^error: .*${nowhere}.* \\(RUN_NOT_FOUND\\)\n$`));
      expect({ exitCode, stdout }).toEqual({ exitCode: 3, stdout: '' });
    }
    const runId = await yard.submit('stepless');
    const unknown = await yard.run('logs', runId, '--step', 'another');
    expect(unknown).toMatchObject({ exitCode: 3, stderr: expect.stringContaining('STEP_NOT_FOUND') });
  });
});

describe('yardmaster cancel', () => {
  it('cancels what waits at once, and keeps the reason', async () => {
    const runId = await yard.submit('cancelled');
    expect(await yard.run('cancel', runId, '--if-pending', '--reason', 'not needed')).toEqual({
      exitCode: 0,
      stdout: `${runId} is CANCELLED\n`,
      stderr: '',
    });
    expect((await yard.run('run', runId)).stdout).toMatch(/error +CANCELLED: not needed/);
  });

  it('--if-pending is refused with 5 when somebody has it; without it the worker is told', async () => {
    const busy = (context: { signal: AbortSignal }) => untilStopped(context);
    await yard.worker({ name: 'holder', actions: { busy } });
    const runId = await yard.submit('busy');
    await yard.reaches(runId, 'RUNNING');
    const refused = await yard.run('cancel', runId, '--if-pending');
    expect(refused).toMatchObject({ exitCode: 5, stderr: expect.stringContaining('NOT_PENDING') });
    const { exitCode, stdout } = await yard.run('cancel', runId);
    expect({ exitCode, stdout }).toEqual({ exitCode: 0, stdout: expect.stringContaining(`${runId} is `) });
    await yard.reaches(runId, 'CANCELLED');
  });
});
