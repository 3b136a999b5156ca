import { type ChildProcess, spawn } from 'node:child_process';
import { once } from 'node:events';
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, describe, expect, it } from 'vitest';
import { until } from '../support/until.ts';
import { isRunning, usePlane } from './support.ts';

const plane = usePlane();
const folder = mkdtempSync(join(tmpdir(), 'yardmaster-signals-'));
const children: ChildProcess[] = [];
afterAll(() => {
  for (const child of children) child.kill('SIGKILL');
  rmSync(folder, { recursive: true });
});

/** An agent process; its command runs until the file `go` is there. */
async function start(action: string) {
  const words = ['--name', `process-${action}`, '--action', action, '--cancel-grace', '5s', '--shell', '--'];
  const command = `echo pid $$; while [ ! -e ${folder}/${action} ]; do sleep 0.02; done; echo '"done"' > $YARDMASTER_OUTPUT`;
  const main = new URL('main.ts', import.meta.url).pathname;
  const child = spawn(process.execPath, ['--import', 'tsx', main, '--address', plane.address, ...words, command], {
    stdio: ['ignore', 'ignore', 'pipe'],
  });
  children.push(child);
  const said = { text: '' };
  child.stderr.on('data', (data) => (said.text += data));
  const ended = once(child, 'exit').then(([code]) => code as number | null);
  await until(
    () => said.text.includes('connected as'),
    () => said.text,
  );
  return { child, said, ended };
}

async function running(action: string) {
  const runId = await plane.submit(action);
  await until(async () => (await plane.log(runId)).length === 1);
  const [[, , line] = [0, '', '']] = await plane.log(runId);
  return { runId, processId: Number(line.replace('pid ', '')) };
}

describe('an agent that is told to stop', () => {
  it('takes nothing new, lets its command finish, says goodbye and exits with 0', async () => {
    const agent = await start('drain');
    const { runId } = await running('drain');
    agent.child.kill('SIGTERM');
    await until(
      () => agent.said.text.includes('nothing new is taken; 1 to finish'),
      () => agent.said.text,
    );
    const later = await plane.submit('drain');
    writeFileSync(join(folder, 'drain'), '');
    expect(await agent.ended).toBe(0);
    expect((await plane.untilState(runId, 'SUCCEEDED')).outputJson).toBe('"done"\n');
    expect(await plane.state(later)).toBe('PENDING');
    const { workers } = await plane.admin.listWorkers({});
    expect(workers.find(({ name }) => name === 'process-drain')?.state).toBe(1);
  });

  it('twice ends its command and gives the step back', async () => {
    const agent = await start('cut');
    const { runId, processId } = await running('cut');
    agent.child.kill('SIGINT');
    await until(
      () => agent.said.text.includes('nothing new'),
      () => agent.said.text,
    );
    expect(isRunning(processId)).toBe(true);
    agent.child.kill('SIGINT');
    expect(await agent.ended).toBe(1);
    expect(isRunning(processId)).toBe(false);
    expect((await plane.run(runId)).steps[0]?.attempts).toHaveLength(1);
    expect(await plane.state(runId)).not.toBe('FAILED');
    writeFileSync(join(folder, 'cut'), '');
    await plane.agent('cut', ['true']);
    await plane.untilState(runId, 'SUCCEEDED');
  });

  it('exits with 1 when the server will not have it', async () => {
    await plane.admin.registerWorker({ name: 'process-refused', tags: ['a'] });
    const main = new URL('main.ts', import.meta.url).pathname;
    const words = [
      '--address',
      plane.address,
      '--name',
      'process-refused',
      '--tag',
      'b',
      '--action',
      'x',
      '--',
      'true',
    ];
    const child = spawn(process.execPath, ['--import', 'tsx', main, ...words], { stdio: ['ignore', 'ignore', 'pipe'] });
    children.push(child);
    let text = '';
    child.stderr.on('data', (data) => (text += data));
    const [code] = await once(child, 'exit');
    expect([code, text]).toEqual([1, expect.stringContaining('cannot connect: ')]);
  });
});
