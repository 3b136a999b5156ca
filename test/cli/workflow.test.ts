import { describe, expect, it } from 'vitest';
import { finish, UUID, useCli } from './support.ts';

const yard = useCli();

const TRAIN = `
name: train
sticky: STICKY_SOFT
steps:
  - { name: fetch, action: fetch }
  - { name: fit, action: fit, needs: [fetch], runsOn: [gpu], executionTimeout: 3600s }
`;

async function put(text: string) {
  return finish(['--address', yard.address, 'workflow', 'put', '-'], { stdin: text });
}

describe('yardmaster workflow', () => {
  it('stores versions from YAML or JSON, lists the newest, and shows each', async () => {
    const first = await put(TRAIN);
    expect(first).toMatchObject({ exitCode: 0, stdout: 'train version 1\n' });
    expect(first.stderr).toMatch(/^warning: .*"fetch".* \(NO_WORKER_SERVES_ACTION\)\nwarning: .*"fit"/);
    const json = { name: 'train', steps: [{ action: 'all' }] };
    expect(await put(JSON.stringify(json))).toMatchObject({ stdout: 'train version 2\n' });

    const listed = await yard.run('workflow', 'list');
    expect(listed.stdout).toMatch(/^WORKFLOW +VERSION +STICKY +STEPS +AGE\ntrain +2 +NONE +all +\d/);
    const newest = await yard.json('workflow', 'show', 'train');
    expect(newest).toMatchObject({ workflow: { version: 2, steps: [{ action: 'all' }] } });
    const shown = await yard.run('workflow', 'show', 'train', '1');
    expect(shown.stdout).toMatch(/sticky +SOFT/);
    expect(shown.stdout).toMatch(/^fit +fit +fetch +gpu$/m);
  });

  it('says what is wrong with it, and with the file', async () => {
    const cycle = 'name: cycle\nsteps: [{ name: a, action: x, needs: [b] }, { name: b, action: x, needs: [a] }]';
    const refused = await put(cycle);
    expect(refused).toMatchObject({ exitCode: 2 });
    expect(refused.stderr).toContain('cycle');
    expect(await put('name: [')).toMatchObject({ exitCode: 2 });
    expect(await yard.run('workflow', 'show', 'cycle')).toMatchObject({
      exitCode: 3,
      stderr: expect.stringContaining('WORKFLOW_NOT_FOUND'),
    });
  });
});

describe('yardmaster schedule --workflow', () => {
  it('runs the version asked for, with everything said about it', async () => {
    await put('name: two\nsteps: [{ name: a, action: two-a }, { name: b, action: two-b, needs: [a] }]');
    await put('name: two\nsteps: [{ action: two-c }]');
    await yard.run('register', 'box-two');
    const worker = await yard.json<{ workers: { workerId: string; name: string }[] }>('workers');
    const workerId = worker.workers.find(({ name }) => name === 'box-two')?.workerId;
    const before = await yard.submit('two-c');
    const options = ['--workflow', 'two', '--workflow-version', '1', '--sticky', 'hard', '--pin', 'box-two'];
    options.push('--concurrency-key', 'k', '--concurrency-limit', '2', '--depends-on', before);
    const { stdout } = await yard.run('schedule', ...options);
    expect(stdout.trim()).toMatch(UUID);
    const run = await yard.json('run', stdout.trim());
    expect(run).toMatchObject({
      run: {
        workflow: 'two',
        workflowVersion: 1,
        number: '1',
        sticky: 'STICKY_HARD',
        pinnedWorkerId: workerId,
        concurrency: { key: 'k', limit: 2 },
        dependsOnRunIds: [before],
        steps: [{ name: 'a' }, { name: 'b' }],
      },
    });
    expect(await yard.json('run', 'two', '1')).toEqual(run);
    const text = (await yard.run('run', 'two', '1')).stdout;
    expect(text).toMatch(/^workflow +two 1, number 1$/m);
    expect(text).toMatch(new RegExp(`^sticky +HARD, pinned to ${workerId}$`, 'm'));
    expect(text).toMatch(/^concurrency +2 of "k" together$/m);
    const { runs } = await yard.json<{ runs: { runId: string }[] }>('runs', '--workflow', 'two');
    expect(runs.map(({ runId }) => runId)).toEqual([stdout.trim()]);
  });

  it.each([
    [['--workflow', 'two', 'action']],
    [['action', '--workflow-version', '1']],
    [['action', '--concurrency-limit', '1']],
    [['action', '--sticky', 'very']],
    [['action', '--depends-on', '--follow']],
    [['--workflow', 'two', '--max-attempts', '2']],
  ])('refuses %j', async (args) => {
    expect(await yard.run('schedule', ...args)).toMatchObject({ exitCode: 2, stdout: '' });
  });
});

describe('yardmaster runs update, retry and eligible', () => {
  it('change what waits, and show it in the order a worker would get it', async () => {
    await yard.worker({
      name: 'eligible',
      slots: 1,
      actions: { 'eligible-blocker': () => new Promise(() => {}), queued: () => {} },
    });
    await yard.submit('eligible-blocker');
    const first = await yard.submit('queued', '--runs-on', 'nobody-has-this');
    const second = await yard.submit('queued');
    await yard.run('drain', 'eligible');
    const eligible = async (...args: string[]) => {
      const { runs = [] } = await yard.json<{ runs?: { runId: string }[] }>('runs', 'eligible', 'eligible', ...args);
      return runs.map(({ runId }) => runId);
    };
    const edited = await yard.run('runs', 'update', second, '--priority', 'low', '--runs-on', 'b', 'a');
    expect(edited.stdout).toBe(`${second} has priority LOW and runs on a b\n`);
    expect((await yard.run('runs', 'update', second, '--any-tags')).stdout).toContain('runs on any worker\n');
    // A worker without tags takes what asks for some, unless its namespace is strict.
    expect(await eligible()).toEqual([first, second]);
    expect(await eligible('--limit', '1')).toEqual([first]);
    const some = await yard.run('runs', 'eligible', 'eligible', '--limit', '1');
    expect(some.stderr).toBe('There are more than 1: see --limit.\n');
    expect(await yard.run('runs', 'update', second)).toMatchObject({ exitCode: 2 });
    expect(await yard.run('runs', 'eligible', 'nobody')).toMatchObject({ exitCode: 3 });
  });

  it('run a failed one again', async () => {
    let tries = 0;
    const handler = () => {
      tries += 1;
      if (tries === 1) throw new Error('not yet');
    };
    await yard.worker({ name: 'again', actions: { again: handler } });
    const runId = await yard.submit('again');
    await yard.reaches(runId, 'FAILED');
    const again = await yard.run('runs', 'retry', runId);
    expect(again.stdout).toMatch(new RegExp(`^${runId} is [A-Z]+\n$`));
    await yard.reaches(runId, 'SUCCEEDED');
    expect(await yard.run('runs', 'retry', runId)).toMatchObject({ exitCode: 5 });
  });
});

describe('yardmaster namespaces', () => {
  it('makes, changes and lists them', async () => {
    await yard.run('namespaces', 'put', 'blue', '--match-mode', 'strict', '--retention', '0');
    const changed = await yard.run('namespaces', 'put', 'blue', '--schedule-timeout', '30s');
    expect(changed.stdout).toMatch(/^blue +STRICT +for ever +30s$/m);
    const listed = await yard.run('namespaces');
    expect(listed.stdout).toMatch(/^blue .*\ndefault +LEGACY +30d +5m$/m);
    expect(await yard.json('namespaces', 'list')).toMatchObject({
      namespaces: [{ name: 'blue', matchMode: 'MATCH_MODE_STRICT' }, { name: 'default' }],
    });
    expect(await yard.run('--namespace', 'blue', 'schedule', 'anything')).toMatchObject({ exitCode: 0 });
  });
});
