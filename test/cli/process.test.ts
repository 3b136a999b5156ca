import { type ChildProcess, spawn } from 'node:child_process';
import { afterEach, describe, expect, it } from 'vitest';
import { createTestDatabase } from '../support/postgres.ts';
import { until } from '../support/until.ts';
import { untilStopped, useCli } from './support.ts';

const yard = useCli();
const children: ChildProcess[] = [];
afterEach(() => {
  for (const child of children.splice(0)) child.kill('SIGKILL');
});

/** The sources, so that no build has to be waited for and none is disturbed. */
function start(args: readonly string[], environment: Record<string, string> = {}) {
  const child = spawn(process.execPath, ['--import', 'tsx', 'src/cli/main.ts', ...args], {
    env: { ...process.env, ...environment },
    stdio: ['pipe', 'pipe', 'pipe'],
  });
  children.push(child);
  const said = { stdout: '', stderr: '' };
  child.stdout.on('data', (data) => {
    said.stdout += data;
  });
  child.stderr.on('data', (data) => {
    said.stderr += data;
  });
  const exitCode = new Promise<number | null>((resolve) => child.on('close', resolve));
  const says = (text: RegExp) =>
    until(
      () => text.test(said.stdout),
      () => said.stdout + said.stderr,
      15_000,
    );
  return { child, said, exitCode, says };
}

describe('the program', () => {
  it('reads the environment and standard input, and the flag goes before the variable', async () => {
    const environment = { YARDMASTER_ADDRESS: yard.address };
    const schedule = start(['schedule', 'by-process', '--input', '-'], environment);
    schedule.child.stdin.end('{"from":"a pipe"}');
    expect(await schedule.exitCode).toBe(0);
    const runId = schedule.said.stdout.trim();
    const flag = start(['--address', yard.address, '--json', 'run', runId], { YARDMASTER_ADDRESS: '127.0.0.1:1' });
    expect(await flag.exitCode).toBe(0);
    expect(JSON.parse(flag.said.stdout)).toMatchObject({ run: { inputJson: '{"from":"a pipe"}' } });
    const missing = start(['runs'], { ...environment, YARDMASTER_NAMESPACE: 'elsewhere' });
    expect(await missing.exitCode).toBe(3);
  });

  it('a whole long answer arrives in a pipe, and a reader that leaves is no failure', async () => {
    const runId = await yard.submit('large', '--input', JSON.stringify('x'.repeat(900_000)));
    const whole = start(['--address', yard.address, '--json', 'run', runId]);
    expect(await whole.exitCode).toBe(0);
    expect(JSON.parse(whole.said.stdout).run.inputJson).toHaveLength(900_002);
    const left = start(['--address', yard.address, '--json', 'run', runId]);
    left.child.stdout.destroy();
    expect(await left.exitCode).toBe(0);
  });

  it('Ctrl-C ends what it follows with 130', async () => {
    const forever = (context: { signal: AbortSignal }) => untilStopped(context);
    await yard.worker({ name: 'tireless', actions: { forever } });
    const follow = start(['--address', yard.address, 'schedule', 'forever', '--follow']);
    await follow.says(/RUNNING on tireless/);
    follow.child.kill('SIGINT');
    expect(await follow.exitCode).toBe(130);
    expect(follow.said.stderr).toContain('The run goes on');
  });

  it('serve listens where it is told to, and ends with 0 on SIGTERM', async () => {
    const database = await createTestDatabase();
    const environment = { YARDMASTER_GRPC_PORT: '1', YARDMASTER_HTTP_PORT: '0', DATABASE_URL: '' };
    const serve = start(['serve', '--grpc-port', '0', '--database-url', database.url], environment);
    await serve.says(/127\.0\.0\.1:\d+/);
    const port = /127\.0\.0\.1:(\d+)/.exec(serve.said.stdout)?.[1];
    const runs = start(['runs'], { YARDMASTER_ADDRESS: `127.0.0.1:${port}` });
    expect(await runs.exitCode).toBe(0);
    serve.child.kill('SIGTERM');
    expect(await serve.exitCode).toBe(0);
    await database.drop();
  });

  it('serve with settings that cannot be read ends with 2', async () => {
    const port = start(['serve'], { YARDMASTER_GRPC_PORT: 'seventy' });
    expect(await port.exitCode).toBe(2);
    expect(port.said.stderr).toContain('YARDMASTER_GRPC_PORT: "seventy" must be a port');
    const flag = start(['serve', '--grpc-port', '70700']);
    expect(await flag.exitCode).toBe(2);
  });
});
