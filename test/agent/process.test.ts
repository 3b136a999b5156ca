import { describe, expect, it } from 'vitest';
import { LogGate, type LogRate } from '../../src/cli/agent/log_gate.ts';
import { type CommandEnd, runCommand } from '../../src/cli/agent/process.ts';
import { systemClock } from '../../src/lib/clock.ts';
import { until } from '../support/until.ts';
import { isRunning } from './support.ts';

interface Options {
  readonly input?: string;
  readonly rate?: LogRate;
  readonly graceMs?: number;
}

function run(words: readonly string[], { input = '', rate, graceMs = 5_000 }: Options = {}) {
  const [file = '', ...args] = words;
  const controller = new AbortController();
  const printed: string[] = [];
  const errors: string[] = [];
  let processId = 0;
  const end: Promise<CommandEnd> = runCommand(
    {
      line: { file, args, workingDirectory: undefined },
      environment: process.env,
      input,
      cancelGraceMs: graceMs,
      signal: controller.signal,
    },
    {
      clock: systemClock(),
      gate: new LogGate(rate),
      started: (id) => {
        processId = id;
      },
      stdout: (line) => printed.push(line),
      stderr: (line) => errors.push(line),
    },
  );
  return { end, printed, errors, stop: () => controller.abort(), processId: () => processId };
}

const sh = (script: string, options?: Options) => run(['sh', '-c', script], options);
const pids = (lines: readonly string[]) => lines.join(' ').split(/\s+/).map(Number);

describe('a command', () => {
  it('reads its input, prints to two pipes, and ends with its code', async () => {
    const { end, printed, errors } = sh('cat; echo oops >&2; exit 3', { input: '{"a":1}' });
    expect(await end).toEqual({ kind: 'exited', code: 3 });
    expect([printed, errors]).toEqual([['{"a":1}'], ['oops']]);
  });

  it('may leave a large input unread', async () => {
    expect(await sh('exit 0', { input: 'x'.repeat(1_000_000) }).end).toEqual({ kind: 'exited', code: 0 });
  });

  it('may be ended by a signal', async () => {
    expect(await sh('kill -KILL $$').end).toEqual({ kind: 'signalled', signal: 'SIGKILL' });
  });

  it('may not be there at all', async () => {
    const { end } = run(['no-such-command-anywhere']);
    expect(await end).toMatchObject({ kind: 'not_started', error: { code: 'ENOENT' } });
  });

  it('is read to the end, also when it said nothing for long before', async () => {
    const lines = 50_000;
    const { end, printed } = sh(`seq ${lines}`, { rate: { linesPerSecond: 1e6, bytesPerSecond: 1e9, burstMs: 1 } });
    expect(await end).toEqual({ kind: 'exited', code: 0 });
    expect(printed).toEqual(Array.from({ length: lines }, (_, at) => String(at + 1)));
  });

  it('that prints faster than the gate lets through waits at its full pipe', async () => {
    const lines = 500_000;
    const { end, printed, errors } = sh(`yes | head -n ${lines}; echo done >&2`, {
      rate: { linesPerSecond: 400_000, bytesPerSecond: 1e9, burstMs: 250 },
    });
    await until(() => errors.length === 1);
    // Only what fits into the pipe and the buffers behind it can still be on its way.
    expect(printed.length).toBeGreaterThan(lines - 150_000);
    expect(await end).toEqual({ kind: 'exited', code: 0 });
    expect(printed).toHaveLength(lines);
  });
});

describe('ending a command', () => {
  it('lets it and its children say their last words', async () => {
    const { end, printed, stop } = sh(
      'trap "echo parent; wait; exit 0" TERM; (trap "echo child; exit 0" TERM; echo $$; while :; do sleep 0.02; done) & while :; do sleep 0.02; done',
    );
    await until(() => printed.length === 1);
    stop();
    expect(await end).toEqual({ kind: 'stopped' });
    expect(printed.slice(1).sort()).toEqual(['child', 'parent']);
  });

  it('waits for a grandchild although the leader is gone, then kills what ignores SIGTERM', async () => {
    const { end, printed, stop, processId } = sh(
      '(trap "" TERM; sh -c "echo \\$\\$; while :; do sleep 0.02; done") & wait',
      { graceMs: 200 },
    );
    await until(() => printed.length === 1);
    const grandchild = Number(printed[0]);
    stop();
    await until(() => !isRunning(processId()));
    expect(isRunning(grandchild)).toBe(true);
    expect(await end).toEqual({ kind: 'stopped' });
    expect(isRunning(grandchild)).toBe(false);
  });

  it('keeps a thousand of its last lines, and does not make others wait for them', async () => {
    const rate = { linesPerSecond: 1_000, bytesPerSecond: 1e9, burstMs: 0 };
    const { end, printed, stop } = sh('trap "" TERM; yes', { graceMs: 200, rate });
    await until(() => printed.length >= 200);
    const before = printed.length;
    stop();
    expect(await end).toEqual({ kind: 'stopped' });
    expect(printed.at(-1)).toMatch(/^\[\d+ lines not kept/);
    expect(printed.length).toBeLessThanOrEqual(before + 1_001);
  });

  it('ends what a finished command leaves behind, and keeps its exit code', async () => {
    const { end, printed } = sh(
      'sh -c "echo \\$\\$; exec sleep 600" >&2 & sleep 600 >/dev/null 2>&1 & echo $!; exit 7',
    );
    expect(await end).toEqual({ kind: 'exited', code: 7 });
    expect(pids(printed).map(isRunning)).toEqual([false]);
  });

  it('does not wait for somebody who has left the group and holds the pipe', async () => {
    const script =
      "const child = require('child_process').spawn('sleep', ['600'], { detached: true, stdio: 'inherit' }); console.log(child.pid); process.exit(0)";
    const { end, printed } = run(['node', '-e', script]);
    expect(await end).toEqual({ kind: 'exited', code: 0 });
    const [escaped = 0] = pids(printed);
    expect(isRunning(escaped)).toBe(true);
    process.kill(escaped, 'SIGKILL');
  });
});
