import { execFile } from 'node:child_process';
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { promisify } from 'node:util';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { type Background, startInBackground, stopBackground } from '../support/background.ts';
import { createTestDatabase } from '../support/postgres.ts';
import { readmeBlock } from '../support/readme.ts';
import { until } from '../support/until.ts';

const run = promisify(execFile);
const { version } = JSON.parse(readFileSync('package.json', 'utf8')) as { version: string };

describe('the package, in an empty project', () => {
  const folder = mkdtempSync(join(tmpdir(), 'ym-package-'));
  const project = join(folder, 'project');
  const background: Background[] = [];
  const inProject = { cwd: project };

  beforeAll(async () => {
    await run('npm', ['pack', '--pack-destination', folder]);
    await run('mkdir', ['-p', project]);
    await run('npm', ['init', '-y'], inProject);
    await run(
      'npm',
      ['install', '--prefer-offline', '--no-audit', join(folder, `yardmaster-${version}.tgz`)],
      inProject,
    );
  }, 180_000);
  afterAll(async () => {
    for (const process of background) await stopBackground(process);
    rmSync(folder, { recursive: true, force: true });
  });

  it('its command says its version', async () => {
    const { stdout } = await run('npx', ['--no-install', 'yardmaster', '--version'], inProject);
    expect(stdout.trim()).toBe(version);
  });

  it("the README's worker connects to its server, and runs a step", async () => {
    const database = await createTestDatabase();
    const server = startInBackground(
      'npx',
      ['--no-install', 'yardmaster', 'serve', '--grpc-port', '0', '--http-port', '0'],
      {
        ...inProject,
        env: { ...process.env, DATABASE_URL: database.url },
      },
    );
    background.push(server);
    await until(() => /gRPC on [\d.]+:\d+/.test(server.output()), server.output);
    const port = /gRPC on [\d.]+:(\d+)/.exec(server.output())?.[1] ?? '';
    const here = (text: string) => text.replaceAll('localhost:7070', `localhost:${port}`);
    writeFileSync(join(project, 'worker.mjs'), here(readmeBlock('js', 0)));
    writeFileSync(join(project, 'submit.mjs'), here(readmeBlock('js', 1)));
    const worker = startInBackground('node', ['worker.mjs'], inProject);
    background.push(worker);
    await until(() => worker.output().includes('connected as my-first-worker'), worker.output);
    const runId = (await run('node', ['submit.mjs'], inProject)).stdout.trim();
    const show = ['--no-install', 'yardmaster', '--address', `localhost:${port}`, '--json', 'run', runId];
    const ended = async () => JSON.parse((await run('npx', show, inProject)).stdout).run;
    await until(async () => (await ended()).state === 'RUN_STATE_SUCCEEDED', worker.output);
    expect((await ended()).outputJson).toBe('{"greeting":"hello {\\"name\\":\\"Ada\\"}"}');
    const command = here(readmeBlock('', 2)).replace(
      'npx yardmaster',
      `npx --no-install yardmaster --address localhost:${port}`,
    );
    const followed = await run('bash', ['-c', command], inProject);
    expect(followed.stdout).toContain('somebody wants a greeting');
    await stopBackground(worker);
    await stopBackground(server);
    await database.drop();
  }, 60_000);
});
