import { execFile } from 'node:child_process';
import { rmSync } from 'node:fs';
import { join } from 'node:path';
import { promisify } from 'node:util';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { type Background, startInBackground, stopBackground } from '../support/background.ts';
import { createTestDatabase, type TestDatabase, temporaryDirectory } from '../support/postgres.ts';
import { readmeBlock } from '../support/readme.ts';
import { until } from '../support/until.ts';

const run = promisify(execFile);
const QUICKSTART_ONCE = ['run', 'quickstart', '--', '--once'];

describe('the README, word for word', () => {
  let folder: string;
  beforeAll(async () => {
    folder = await temporaryDirectory();
  });
  afterAll(() => rmSync(folder, { recursive: true, force: true }));
  const ports = { YARDMASTER_GRPC_PORT: '0', YARDMASTER_HTTP_PORT: '0' };

  it('quickstart --once exits 0 on an embedded PostgreSQL, and again on the same data', async () => {
    const env = { ...process.env, ...ports, YARDMASTER_DATA_DIR: join(folder, 'data'), DATABASE_URL: '' };
    for (const time of ['first', 'second']) {
      const { stdout } = await run('npm', QUICKSTART_ONCE, { env });
      // Four runs of one step, and both steps of the one whose pin keeps them together.
      expect(stdout.match(/→ quickstart-/g), time).toHaveLength(6);
      expect(stdout, time).toContain('→ TIMED_OUT: no worker');
      expect(stdout, time).toContain('Everything went as told');
    }
  }, 120_000);

  it('quickstart --once exits 0 with DATABASE_URL, and not when nobody is there', async () => {
    const database = await createTestDatabase();
    const env = { ...process.env, ...ports, DATABASE_URL: database.url };
    expect((await run('npm', QUICKSTART_ONCE, { env })).stdout).toContain('Everything went as told');
    await database.drop();
    const refused = run('npm', QUICKSTART_ONCE, { env });
    await expect(refused).rejects.toMatchObject({ code: 1, stderr: expect.stringContaining('cannot be used') });
  }, 120_000);

  describe('with the quickstart running', () => {
    let database: TestDatabase;
    let quickstart: Background;

    beforeAll(async () => {
      database = await createTestDatabase();
      const env = { ...process.env, ...ports, DATABASE_URL: database.url };
      quickstart = startInBackground('npm', ['run', 'quickstart'], { env });
      await until(() => quickstart.output().includes('It stays up'), quickstart.output);
    }, 60_000);
    afterAll(async () => {
      await stopBackground(quickstart);
      await database.drop();
    });

    /** The command with the port that this quickstart listens on. */
    function here(command: string): string {
      const port = /http:\/\/[\w.]+:(\d+)/.exec(quickstart.output())?.[1] ?? '';
      return command.replaceAll('localhost:7071', `localhost:${port}`);
    }

    it.each([
      ['buf curl', 3],
      ['curl', 4],
    ])('%s submits a run', async (_name, index) => {
      const { stdout } = await run('bash', ['-c', here(readmeBlock('', index))]);
      expect(JSON.parse(stdout).run.steps[0]).toMatchObject({ action: 'greet' });
    });

    it('the line the quickstart prints last works as it stands', async () => {
      const line = /^ {2}(npx buf curl .*)$/m.exec(quickstart.output())?.[1] ?? '';
      const { stdout } = await run('bash', ['-c', line]);
      expect(JSON.parse(stdout).run.steps[0]).toMatchObject({ action: 'train' });
    });
  });
});
