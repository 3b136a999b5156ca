/** A worker whose connection has a thread of its own. */
import { afterEach, describe, expect, it } from 'vitest';
import { CancelMode } from '../../gen/yardmaster/v1/admin_service_pb.ts';
import { LogLevel } from '../../gen/yardmaster/v1/worker_service_pb.ts';
import { createWorker } from '../../src/worker/index.ts';
import { present, type RunRest, unique, until, useYard } from '../support/conformance.ts';
import { startWorkerProcess, type WorkerProcess } from '../support/worker_process.ts';

const SILENCE_MS = 1_200;
const yard = useYard({
  times: { heartbeatIntervalMs: 400, silenceTimeoutMs: SILENCE_MS, reconnectGraceMs: 400, acceptTimeoutMs: 1_000 },
});

const workers: WorkerProcess[] = [];
afterEach(async () => {
  await Promise.all(workers.splice(0).map((worker) => worker.kill()));
});

async function start(actions: string[], options = {}): Promise<{ worker: WorkerProcess; name: string }> {
  const name = unique('thread');
  const worker = await startWorkerProcess({ address: yard.address, name, actions, ...options });
  workers.push(worker);
  return { worker, name };
}

const submit = (action: string, rest: RunRest = {}) => yard.submit({ action, retry: { maxWorkerLosses: 0 } }, rest);
const ends = (runId: string, state: string) =>
  until(async () => (await yard.runState(runId)) === state, `run ${runId} is ${state}`);
const kinds = (worker: WorkerProcess) => worker.events().map(({ type }) => type);
const HOG = { inputJson: String(2 * SILENCE_MS + 400) };

describe('a handler that keeps the CPU for longer than the silence limit', { timeout: 30_000 }, () => {
  it('is not taken for dead: the next step is accepted meanwhile, and both succeed at once', async () => {
    const { worker } = await start(['hog'], { thread: true, slots: 2 });
    const runIds = [await submit('hog', HOG), await submit('hog', { inputJson: '1' })];
    await until(async () => (await yard.stepState(runIds[1] as string)) === 'RUNNING', 'the second was accepted');
    expect(await yard.stepState(runIds[0] as string)).toBe('RUNNING');
    for (const runId of runIds) {
      await ends(runId, 'SUCCEEDED');
      expect((await yard.step(runId)).attempts).toHaveLength(1);
    }
    expect(kinds(worker).filter((kind) => kind === 'evicted' || kind === 'disconnected')).toEqual([]);
  });

  it('without the thread it is', async () => {
    const { worker } = await start(['hog']);
    const runId = await submit('hog', HOG);
    await until(async () => kinds(worker).includes('evicted'), 'it was told');
    expect((await yard.step(runId)).attempts.map(({ outcome }) => outcome)).not.toContain('SUCCEEDED');
  });
});

describe('a connection in a thread', { timeout: 30_000 }, () => {
  it('carries inputs, outputs, logs, progress, labels and failures', async () => {
    const { worker, name } = await start(['talk', 'fail'], { thread: true, labels: { memory: 1 } });
    const talked = await submit('talk', { inputJson: '{"b": [1]}' });
    await ends(talked, 'SUCCEEDED');
    const { outputJson } = await yard.run(talked);
    expect(JSON.parse(outputJson)).toEqual({ input: { b: [1] }, labels: { memory: 1, said: 'yes' } });
    expect(present((await yard.admin.getWorker({ name })).worker).labels).toEqual({ memory: 1, said: 'yes' });
    const { lines } = await yard.admin.getStepLogs({ runId: talked });
    expect(lines.map(({ line }) => [line?.level, line?.text])).toEqual([
      [LogLevel.WARNING, 'a warning'],
      [LogLevel.INFO, 'a line'],
    ]);
    const failed = await submit('fail');
    await ends(failed, 'FAILED');
    expect((await yard.run(failed)).error).toMatchObject({
      reason: 'APPLICATION',
      type: 'NonRetryableError',
      message: 'never again',
      retryable: false,
    });
    expect(kinds(worker).filter((kind) => kind === 'step_started' || kind === 'step_finished')).toHaveLength(4);
    expect(await worker.stop()).toBe(0);
    expect(worker.events().at(-1)).toMatchObject({ type: 'closed', kind: 'stopped' });
  });

  it('tells a handler that its step was taken away, and stops when another process took over', async () => {
    const { worker, name } = await start(['until_aborted'], { thread: true });
    const runId = await submit('until_aborted');
    await until(async () => (await yard.stepState(runId)) === 'RUNNING', 'it runs');
    await yard.admin.cancelRun({ runId, mode: CancelMode.ANY });
    await ends(runId, 'CANCELLED');
    await yard.connect({ name });
    await until(
      async () => worker.events().some(({ type, kind }) => type === 'closed' && kind === 'evicted'),
      'it stopped',
    );
  });

  it('is not for options it cannot keep', () => {
    const options = { actions: {}, thread: true };
    expect(() => createWorker({ ...options, accept: () => true })).toThrow(TypeError);
    expect(() => createWorker({ ...options, slots: -1 })).toThrow(RangeError);
  });
});
