import { type ChildProcess, execFile, spawn } from 'node:child_process';
import { mkdirSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { promisify } from 'node:util';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { createAdminClient } from '../../src/client/index.ts';
import { RunState } from '../../gen/yardmaster/v1/run_pb.ts';
import { createTestDatabase } from '../support/postgres.ts';
import { until } from '../support/until.ts';

const run = promisify(execFile);

/** The n-th code block of the README in that language. */
function block(language: string, index: number): string {
  const blocks = [...readFileSync('README.md', 'utf8').matchAll(/^```(\w*)\n([\s\S]*?)^```/gm)];
  const found = blocks.filter(([, name]) => name === language)[index];
  if (found?.[2] === undefined) throw new Error(`README.md has no ${language} block ${index}`);
  return found[2];
}

/** Its output so far, and what it said last when it ends. */
function start(command: string, args: string[], environment: Record<string, string>) {
  const child = spawn(command, args, { env: { ...process.env, ...environment }, stdio: ['ignore', 'pipe', 'pipe'] });
  const said = { output: '', code: null as number | null };
  child.stdout.on('data', (data) => (said.output += data));
  child.stderr.on('data', (data) => (said.output += data));
  child.on('exit', (code, signal) => (said.code = code ?? (signal === null ? 0 : 1)));
  return { child, said };
}

describe('the README, word for word', () => {
  const children: ChildProcess[] = [];
  // Inside the checkout, where `yardmaster/worker` is this package.
  const folder = join('.yardmaster', `readme-${process.pid}`);
  const data = mkdtempSync(join(tmpdir(), 'ym-readme-'));

  beforeAll(async () => {
    mkdirSync(folder, { recursive: true });
    await run('npm', ['run', 'build']);
  });
  afterAll(() => {
    for (const child of children) child.kill('SIGKILL');
    rmSync(folder, { recursive: true });
    rmSync(data, { recursive: true, force: true });
  });

  it('quickstart --once exits 0 on an embedded PostgreSQL, and again', async () => {
    const env = { ...process.env, YARDMASTER_GRPC_PORT: '0', YARDMASTER_DATA_DIR: join(data, 'data'), DATABASE_URL: '' };
    const first = await run('npm', ['run', 'quickstart', '--', '--once'], { env });
    expect(first.stdout).toContain('Everything went as told');
    const second = await run('npm', ['run', 'quickstart', '--', '--once'], { env });
    expect(second.stdout.match(/→ quickstart-/g)).toHaveLength(4);
  }, 120_000);

  it('quickstart --once exits 0 with DATABASE_URL, and non-zero when it cannot connect', async () => {
    const database = await createTestDatabase();
    const env = { ...process.env, YARDMASTER_GRPC_PORT: '0', DATABASE_URL: database.url };
    const { stdout } = await run('npm', ['run', 'quickstart', '--', '--once'], { env });
    expect(stdout).toContain('Everything went as told');
    await database.drop();
    const refused = run('npm', ['run', 'quickstart', '--', '--once'], { env });
    await expect(refused).rejects.toMatchObject({ code: 1, stderr: expect.stringContaining('cannot be used') });
  }, 120_000);

  it('the first own worker connects and runs what is submitted, and buf curl submits too', async () => {
    const database = await createTestDatabase();
    const plane = start('node', ['dist/src/cli/serve.js'], { YARDMASTER_GRPC_PORT: '0', DATABASE_URL: database.url });
    children.push(plane.child);
    await until(() => /gRPC on [\d.]+:(\d+)/.test(plane.said.output), () => plane.said.output);
    const port = /gRPC on [\d.]+:(\d+)/.exec(plane.said.output)?.[1] ?? '';
    const here = (text: string) => text.replaceAll('localhost:7070', `localhost:${port}`);
    writeFileSync(join(folder, 'worker.ts'), here(block('ts', 0)));
    writeFileSync(join(folder, 'submit.ts'), here(block('ts', 1)));
    const worker = start('npx', ['tsx', join(folder, 'worker.ts')], {});
    children.push(worker.child);
    await until(() => worker.said.output.includes('connected as my-first-worker'), () => worker.said.output);

    const runId = (await run('npx', ['tsx', join(folder, 'submit.ts')])).stdout.trim();
    const yard = createAdminClient({ address: `localhost:${port}` });
    const ended = async () => (await yard.getRun({ runId })).run;
    await until(async () => (await ended())?.state === RunState.SUCCEEDED, () => worker.said.output);
    expect((await ended())?.outputJson).toBe('{"greeting":"hello {\\"name\\":\\"Ada\\"}"}');
    expect((await yard.getStepLogs({ runId })).lines.map(({ line }) => line?.text)).toEqual(['somebody wants a greeting']);

    const command = here(block('', 1)).replaceAll('\\\n', ' ').trim();
    const curled = JSON.parse((await run('bash', ['-c', command])).stdout);
    expect(curled.run.steps[0]).toMatchObject({ action: 'greet' });
    yard.close();
    plane.child.kill('SIGTERM');
    await until(() => plane.said.code !== null, () => plane.said.output);
    expect(plane.said.code).toBe(0);
    await database.drop();
  }, 120_000);
});
