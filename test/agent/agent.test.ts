import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { create } from '@bufbuild/protobuf';
import { ValueSchema } from '@bufbuild/protobuf/wkt';
import { afterAll, describe, expect, it } from 'vitest';
import { startAgent } from '../../src/cli/agent/agent.ts';
import { jsonInput } from '../../src/client/index.ts';
import { systemClock } from '../../src/lib/clock.ts';
import { until } from '../support/until.ts';
import { isRunning, SCRIPTS, usePlane } from './support.ts';

const plane = usePlane();
const folder = mkdtempSync(join(tmpdir(), 'yardmaster-agent-'));
afterAll(() => rmSync(folder, { recursive: true }));
const python = (script: string) => ['python3', `${SCRIPTS}${script}`];
const sh = (script: string) => ['sh', '-c', script];

describe('a step that is a command', () => {
  it('gets its input and environment, and tells its progress, its lines and its output', async () => {
    await plane.agent('train', python('train.py'));
    const runId = await plane.submit('train', { ...jsonInput({ name: 'llama', epochs: 4 }), metadata: { team: 'a' } });
    const run = await plane.untilState(runId, 'SUCCEEDED');
    const [step] = run.steps;
    expect(step).toMatchObject({ progressFraction: 1, progressText: 'epoch 4' });

    expect(run.outputJson).toMatch(/^\{ "zeta": 12345678901234567890, {2}"environment": /);
    const { environment } = JSON.parse(run.outputJson);
    const [attempt] = step?.attempts ?? [];
    expect(environment).toEqual({
      RUN_ID: runId,
      STEP_NAME: step?.name,
      ATTEMPT: '1',
      ASSIGNMENT_ID: attempt?.assignmentId,
      WORKER_ID: attempt?.workerId,
      WORKER_NAME: 'agent-train',
      METADATA: '{"team":"a"}',
    });

    const log = await plane.log(runId);
    expect(log.map(([number]) => number)).toEqual(log.map((_, at) => at + 1));
    expect(log.filter(([, level]) => level === 'WARNING').map(([, , text]) => text)).toEqual(['a warning']);
    expect(log.filter(([, level]) => level === 'INFO').map(([, , text]) => text)).toEqual([
      'training llama with train',
      ...['epoch 1', 'epoch 2', 'epoch 3', 'epoch 4'],
      'loss 0.1',
      'no line break at the end',
    ]);
  });

  it('shows its progress while it runs, and may have no output', async () => {
    const go = join(folder, 'go');
    await plane.agent(
      'slow',
      sh(`echo "0.25 first" > $YARDMASTER_PROGRESS; while [ ! -e ${go} ]; do sleep 0.02; done`),
    );
    const runId = await plane.submit('slow');
    await until(async () => (await plane.run(runId)).steps[0]?.progressText === 'first');
    expect(await plane.state(runId)).toBe('RUNNING');
    writeFileSync(go, '');
    expect((await plane.untilState(runId, 'SUCCEEDED')).outputJson).toBe('null');
  });

  it('that fails says its exit code and its last lines', async () => {
    await plane.agent('fail', sh('seq 30 >&2; exit 3'), { finalExitCodes: [3] });
    const runId = await plane.submit('fail');
    const { error } = (await plane.untilState(runId, 'FAILED')).steps[0] ?? {};
    const lines = Array.from({ length: 20 }, (_, at) => at + 11).join('\n');
    expect(error).toMatchObject({ reason: 'APPLICATION', type: 'ExitCode', retryable: false, stack: '' });
    expect(error?.message).toBe(`exit code 3; the end of stderr:\n${lines}`);
  });

  it('that is killed says by which signal, and is tried again', async () => {
    await plane.agent('killed', sh('echo "attempt $YARDMASTER_ATTEMPT"; [ $YARDMASTER_ATTEMPT = 2 ] || kill -KILL $$'));
    const retry = { maxAttempts: 2, backoff: { initial: { nanos: 1_000_000 } } };
    const what = { case: 'step', value: { action: 'killed', retry } } as const;
    const { run } = await plane.admin.scheduleRun({ what });
    const [step] = (await plane.untilState(run?.runId ?? '', 'SUCCEEDED')).steps;
    expect(step?.attempts[0]?.error).toMatchObject({
      type: 'Signal',
      message: 'ended by SIGKILL (signal 9); the end of stdout:\nattempt 1',
    });
  });

  it('whose output is not JSON fails, and says so', async () => {
    await plane.agent('prose', sh('echo done > $YARDMASTER_OUTPUT'));
    const runId = await plane.submit('prose');
    const { error } = (await plane.untilState(runId, 'FAILED')).steps[0] ?? {};
    expect(error).toMatchObject({
      type: 'InvalidOutput',
      message: expect.stringContaining('YARDMASTER_OUTPUT is not JSON'),
    });
  });

  it('whose command is not there fails for good, and names it', async () => {
    await plane.agent('absent', ['no-such-command-anywhere', 'x']);
    const runId = await plane.submit('absent');
    const { error } = (await plane.untilState(runId, 'FAILED')).steps[0] ?? {};
    expect(error).toMatchObject({ type: 'CommandNotFound', retryable: false });
    expect(error?.message).toContain('"no-such-command-anywhere"');
  });

  it('that prints many lines fast loses none and keeps their order', async () => {
    await plane.agent('chatty', sh('seq 3000'));
    const runId = await plane.submit('chatty');
    await plane.untilState(runId, 'SUCCEEDED');
    const log = await plane.log(runId);
    expect(log.map(([number, , text]) => [number, text])).toEqual(
      Array.from({ length: 3000 }, (_, at) => [at + 1, String(at + 1)]),
    );
  });

  it('changes the labels of its worker, and a run that waited for them goes', async () => {
    await plane.agent('load', sh('echo "model=sdxl" >> $YARDMASTER_LABELS'), {
      worker: { labels: { model: 'none' } },
    });
    const value = create(ValueSchema, { kind: { case: 'stringValue', value: 'sdxl' } });
    const waiting = await plane.submit('load', { desiredLabels: [{ key: 'model', value }] } as never);
    expect(await plane.state(waiting)).toBe('PENDING');
    const loading = await plane.submit('load');
    await plane.untilState(waiting, 'SUCCEEDED');
    await plane.untilState(loading, 'SUCCEEDED');
  });
});

describe('a step that is taken away', () => {
  it('has ended with its children, however stubborn, before its slot is free again', async () => {
    const agent = await plane.agent('stubborn', python('stubborn.py'), { cancelGraceMs: 200 });
    const runId = await plane.submit('stubborn');
    await until(async () => (await plane.log(runId)).length === 1);
    const [[, , line] = [0, '', '']] = await plane.log(runId);
    const processes = line.replace('here are ', '').split(' ').map(Number);
    expect(processes.map(isRunning)).toEqual([true, true]);

    const next = await plane.submit('stubborn');
    await plane.admin.cancelRun({ runId });
    await until(async () => (await plane.log(next)).length === 1);
    expect(processes.map(isRunning)).toEqual([false, false]);
    expect(await plane.state(runId)).toBe('CANCELLED');

    // The same worker in another process: this one has lost it, kills what it runs and says why.
    const another = await plane.agent('stubborn', python('stubborn.py'), { cancelGraceMs: 200 });
    expect(await agent.ended).toBe(1);
    expect(agent.said.at(-1)).toContain('SUPERSEDED');
    await plane.admin.cancelRun({ runId: next });
    another.stop();
    another.stop();
    await another.ended;
  });
});

describe('an agent', () => {
  it('that never reached a server can be stopped', async () => {
    const said: string[] = [];
    const agent = startAgent(
      {
        worker: { address: '127.0.0.1:1', name: 'lonely' },
        actions: ['x'],
        line: { file: 'true', args: [], workingDirectory: undefined },
        cancelGraceMs: 0,
        finalExitCodes: [],
      },
      { clock: systemClock(), environment: {}, say: (line) => said.push(line) },
    );
    await until(() => said.some((line) => line.startsWith('not connected')));
    agent.stop();
    expect(await agent.ended).toBe(0);
  });
});
