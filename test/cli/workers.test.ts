import { describe, expect, it } from 'vitest';
import { begin, documents, UUID, untilStopped, useCli } from './support.ts';

const yard = useCli();

describe('yardmaster register', () => {
  it('prints the id, and the same one again, with a warning when the tags differ', async () => {
    const first = await yard.run('register', 'box-1', '--tag', 'gpu', 'a100');
    expect(first).toMatchObject({ exitCode: 0, stderr: '' });
    expect(first.stdout.trim()).toMatch(UUID);
    const again = await yard.run('register', 'box-1', '--tag', 'cpu');
    expect(again.stdout).toBe(first.stdout);
    expect(again.stderr).toMatch(/box-1 was registered before\.\nwarning: .*TAGS_KEPT/s);
    expect(await yard.json('register', 'box-1')).toMatchObject({
      alreadyRegistered: true,
      worker: { tags: ['a100', 'gpu'] },
    });
    expect(await yard.run('register', '!')).toMatchObject({
      exitCode: 2,
      stderr: expect.stringContaining('INVALID_NAME'),
    });
  });
});

describe('yardmaster workers', () => {
  it('lists those that match every filter', async () => {
    const idle = { serve: () => null };
    await yard.worker({ name: 'large', tags: ['gpu'], labels: { memory: 512, zone: 'eu' }, slots: 2, actions: idle });
    await yard.worker({ name: 'small', tags: ['gpu'], labels: { memory: 16 }, actions: idle });
    const { stdout } = await yard.run('workers', '--action', 'serve');
    expect(stdout).toMatch(/^WORKER +STATE +SLOTS +TAGS +LABELS +ACTIONS/);
    expect(stdout).toMatch(/large +IDLE +0\/2 +gpu +memory=512 zone=eu +serve/);
    const names = async (...args: string[]) => {
      const { workers = [] } = await yard.json<{ workers?: { name: string }[] }>('workers', ...args);
      return workers.map(({ name }) => name).sort();
    };
    expect(await names('--action', 'serve')).toEqual(['large', 'small']);
    expect(await names('--label', 'memory>100', 'zone exists')).toEqual(['large']);
    expect(await names('--tag', 'gpu', '--state', 'idle', '--label', '!zone')).toEqual(['small']);
    expect(await names('--action', 'unheard-of')).toEqual([]);
    const none = await yard.run('workers', '--action', 'unheard-of');
    expect(none).toEqual({ exitCode: 0, stdout: '', stderr: 'No workers.\n' });
  });

  it('--watch prints each change on a line, until Ctrl-C', async () => {
    const hold = (context: { signal: AbortSignal }) => untilStopped(context);
    const told = yard.begin('workers', '--watch', '--action', 'hold');
    const json = yard.begin('--json', 'workers', '--watch', '--action', 'hold');
    // Each state has to be seen by both before the next one comes.
    const both = (line: RegExp, event: RegExp) => Promise.all([told.says(line), json.says(event)]);
    await json.says('caughtUp');
    const worker = await yard.worker({ name: 'watched', labels: { memory: 1 }, actions: { hold } });
    await both(/watched {2}IDLE {2}0\/1 {2}memory=1\n/, /IDLE/);
    await yard.submit('hold');
    await both(/watched {2}BUSY {2}1\/1 {2}memory=1 {2}hold\n/, /BUSY/);
    await worker.upsertLabels({ memory: 2 });
    await both(/watched {2}BUSY {2}1\/1 {2}memory=2 {2}hold\n/, /"memory":2/);
    told.interrupt();
    json.interrupt();
    expect(await told.exitCode).toBe(130);
    expect(await json.exitCode).toBe(130);
    expect(told.stderr).toBe('');
    const states = documents(json.stdout).map((event) => (event as { changed?: { state: string } }).changed?.state);
    expect(states).toEqual([undefined, 'WORKER_STATE_IDLE', 'WORKER_STATE_BUSY', 'WORKER_STATE_BUSY']);
  });

  it('--watch draws the table again and again on a terminal, and leaves the last one behind', async () => {
    const here = ['--address', yard.address];
    const told = begin([...here, 'workers', '--watch', '--action', 'draw'], { isTTY: true, colours: true });
    await told.says('WORKER');
    await yard.worker({ name: 'drawn', actions: { draw: () => null } });
    await told.says('drawn');
    told.interrupt();
    expect(await told.exitCode).toBe(130);
    expect(told.stdout.startsWith('\u001b[?1049h')).toBe(true);
    const [, last] = told.stdout.split('\u001b[?1049l');
    expect(last).toContain('drawn');
  });
});

describe('yardmaster drain, resume and queue', () => {
  it('a drained worker gets nothing until it is resumed, by name or id', async () => {
    const worker = await yard.worker({ name: 'drained', actions: { wait: () => null } });
    expect(await yard.run('drain', 'drained', '--reason', 'update')).toMatchObject({
      exitCode: 0,
      stdout: 'drained is draining; it holds 0\n',
    });
    const runId = await yard.submit('wait');
    await yard.submit('something-else');
    const { stdout } = await yard.run('queue', 'wait', 'never-heard-of');
    expect(stdout).toMatch(/^ACTION +WAITING\nwait +1\nnever-heard-of +0\n$/);
    expect(await yard.json('queue')).toMatchObject({ pendingByAction: { wait: '1', 'something-else': '1' } });
    expect((await yard.run('workers', '--action', 'wait')).stdout).toContain('draining');
    expect(await yard.run('resume', worker.id)).toMatchObject({ exitCode: 0, stdout: 'drained takes work again\n' });
    await yard.reaches(runId, 'SUCCEEDED');
    expect(await yard.json('drain', worker.id)).toMatchObject({ worker: { draining: true } });
    expect(await yard.json('resume', 'drained')).toMatchObject({ worker: { name: 'drained' } });
  });

  it('an unknown worker is not found, by name or id', async () => {
    for (const worker of ['nobody', '00000000-0000-4000-8000-000000000000']) {
      for (const command of ['drain', 'resume']) {
        const { exitCode, stderr } = await yard.run(command, worker);
        expect({ exitCode, stderr }).toEqual({ exitCode: 3, stderr: expect.stringMatching(/WORKER_NOT_FOUND/) });
      }
    }
  });
});
