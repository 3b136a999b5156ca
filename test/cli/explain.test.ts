import { describe, expect, it } from 'vitest';
import { useCli } from './support.ts';

const yard = useCli();

interface Document {
  steps: { stepName: string; explanation: { verdict: string; workers: { workerName: string }[] } }[];
}

/** The first to build there; its workers stay registered, so the tests stand in order. */
describe('yardmaster explain', () => {
  it('says that no worker is registered', async () => {
    const runId = await yard.submit('lonely');
    const { stdout, stderr, exitCode } = await yard.run('explain', runId);
    expect([exitCode, stderr]).toEqual([0, '']);
    expect(stdout).toMatch(/^step +lonely\nstate +PENDING\nverdict +NO_SUCH_ACTION\nwhy +no worker is registered /);
    expect(stdout).toMatch(/^time left +[45]m$/m);
    await yard.run('cancel', runId);
  });

  it('shows in one look what the nearest workers lack, with both values', async () => {
    await yard.worker({ name: 'alpha', actions: { train: () => null }, labels: { memory: 128 }, tags: ['gpu'] });
    await yard.worker({ name: 'beta', actions: { train: () => null }, labels: { memory: 64 } });
    const wishes = ['--label', 'memory>256', '--runs-on', 'gpu'];
    await yard.submit('train', ...wishes);
    const runId = await yard.submit('train', ...wishes);
    const { stdout } = await yard.run('explain', runId);
    expect(stdout).not.toContain('\u001b');
    const [about = '', workers = ''] = stdout.split('\n\n');
    expect(about).toMatch(/^verdict +UNSATISFIABLE_NOW$/m);
    expect(about).toMatch(/^why +no worker for "train" .*"alpha", has memory 128 \(needs > 256\)$/m);
    expect(about).toMatch(/^goes after +1 that ask for the same, 1 in the namespace$/m);
    expect(about).toMatch(/^workers +2, of which fail LABEL 2/m);
    expect(
      workers
        .trimEnd()
        .split('\n')
        .map((line) => line.trimEnd().split(/ {2,}/)),
    ).toEqual([
      ['WORKER', 'FAILS', 'HAS', 'NEEDS'],
      ['alpha', 'LABEL memory', '128', '> 256'],
      ['beta', 'LABEL memory', '64', '> 256'],
    ]);
  });

  it('shows the winner and the runners-up of a placed step', async () => {
    let finish = () => {};
    const handler = () =>
      new Promise<null>((resolve) => {
        finish = () => resolve(null);
      });
    await yard.worker({ name: 'gamma', actions: { hold: handler }, labels: { fast: 1 } });
    await yard.worker({ name: 'delta', actions: { hold: handler } });
    const runId = await yard.submit('hold', '--prefer', 'fast=1');
    await yard.reaches(runId, 'RUNNING');
    const { stdout } = await yard.run('explain', runId, '--step', 'hold');
    expect(stdout).toMatch(/^verdict +ASSIGNED$/m);
    expect(stdout).toMatch(/^why +given to "gamma", before "delta" and 1 in all: its highest weight is 100, not 0$/m);
    expect(stdout).toMatch(/^WORKER +STICKY +BEST WEIGHT +WEIGHTS +TAGS COVER +SLOTS USED +LAST ASSIGNED$/m);
    expect(stdout).toMatch(/^gamma +no +100 +100 +yes +0 % +never$/m);
    expect(stdout).toMatch(/^delta +no +0 +0 +yes +0 % +never$/m);
    finish();
    await yard.reaches(runId, 'SUCCEEDED');
    expect((await yard.run('explain', runId)).stdout).toMatch(
      /^verdict +ENDED\nwhy +ended SUCCEEDED: given to "gamma"/m,
    );
  });

  it('shows ten workers unless all are asked for, also as JSON', async () => {
    const names = Array.from({ length: 12 }, (_, index) => `spare-${index}`);
    for (const name of names) await yard.run('register', name);
    const runId = await yard.submit('nothing-does-this');
    const some = await yard.run('explain', runId);
    expect(some.stderr).toBe('There are more workers: see --all.\n');
    const shown = (stdout: string) => names.filter((name) => stdout.includes(`${name} `));
    expect(shown(some.stdout).length).toBeLessThan(names.length);
    const all = await yard.run('explain', runId, '--all');
    expect(all.stderr).toBe('');
    expect(shown(all.stdout)).toEqual(names);
    const document = await yard.json<Document>('explain', runId, '--all');
    expect(document).not.toHaveProperty('nextPageToken');
    expect(document.steps[0]).toMatchObject({
      stepName: 'nothing-does-this',
      explanation: { verdict: 'VERDICT_NO_SUCH_ACTION' },
    });
    expect(document.steps[0]?.explanation.workers.map(({ workerName }) => workerName)).toEqual(
      expect.arrayContaining(names),
    );
    expect(await yard.json<Document>('explain', runId)).toHaveProperty('nextPageToken');
  });

  it('of what does not exist ends with exit code 3', async () => {
    expect(await yard.run('explain', 'nothing')).toMatchObject({ exitCode: 3 });
    const runId = await yard.submit('nothing-does-this');
    expect(await yard.run('explain', runId, '--step', 'nameless')).toMatchObject({ exitCode: 3 });
  });
});
