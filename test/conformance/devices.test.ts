import { describe, expect, it } from 'vitest';
import { RunState } from '../../gen/yardmaster/v1/run_pb.ts';
import { DeviceKind } from '../../gen/yardmaster/v1/worker_pb.ts';
import type { RunStep } from '../../gen/yardmaster/v1/worker_service_pb.ts';
import { createWorker, parseGpuIds } from '../../src/worker/index.ts';
import { nameIn, present, type StepInit, unique, useYard, type Yard } from '../support/conformance.ts';
import { ended, ms, stopped } from '../support/conformance_runs.ts';
import type { WorkerStream } from '../support/conformance_stream.ts';

const yard = useYard({ times: { reconnectGraceMs: 200, cancelCloseMs: 50 } });
/** For assignments that nobody accepts. */
const hasty = useYard({ times: { acceptTimeoutMs: 100 } });

const gpuOnly = (action: string) => ({ action, device: DeviceKind.GPU, noDeviceFallback: true }) satisfies StepInit;
const gpu = (action: string) => ({ action, device: DeviceKind.GPU }) satisfies StepInit;
const cpu = (action: string) => ({ action, device: DeviceKind.CPU }) satisfies StepInit;

function shown({ device }: RunStep): string {
  return device === undefined ? 'none' : `${nameIn(DeviceKind, device.kind)} ${device.id}`.trim();
}

/** The next so many assignments, accepted. */
async function takeMany(worker: WorkerStream, count: number): Promise<RunStep[]> {
  const taken: RunStep[] = [];
  for (let index = 0; index < count; index += 1) taken.push(await worker.take());
  return taken;
}

/** Nothing is on its way to these workers. */
async function expectNothing(on: Yard, ...workers: WorkerStream[]): Promise<void> {
  await on.quiet(...workers);
  expect(workers.flatMap((worker) => worker.unread('runStep'))).toEqual([]);
}

describe('G1 the GPU string', () => {
  it.each([
    ['', []],
    ['0', ['0']],
    [',,0', ['0']],
    ['0,   ,1 , 2  ,2 , 4', ['0', '1', '2', '4']],
  ])('%j', async (text, ids) => {
    expect(parseGpuIds(text)).toEqual(ids);
    const action = unique('g1');
    const seen: string[] = [];
    const name = unique('g1-worker');
    const worker = createWorker({
      address: yard.address,
      name,
      devices: { gpus: text },
      actions: {
        // Each holds its device until all have one.
        [action]: async ({ device }) => {
          seen.push(`${device?.kind} ${device?.id}`.trim());
          if (seen.length === Math.max(ids.length, 1)) allSeen();
          await all;
        },
      },
    });
    let allSeen = () => {};
    const all = new Promise<void>((resolve) => {
      allSeen = resolve;
    });
    await worker.start();
    const told = present((await yard.admin.getWorker({ name })).worker);
    expect(told.devices?.gpuIds).toEqual(ids);
    expect(told.slots).toBe(Math.max(ids.length, 1));
    await yard.submitMany(Math.max(ids.length, 1), gpu(action));
    await all;
    expect(seen).toEqual(ids.length === 0 ? ['CPU'] : ids.map((id) => `GPU ${id}`));
    await worker.stop();
  });
});

describe('G2 a worker without GPUs', () => {
  it('does GPU work on the CPU slots that it has, beside CPU work', async () => {
    const action = unique('g2');
    const worker = await yard.connect({ actions: [action], slots: 5, devices: { cpuSlots: 2 } });
    await yard.submit(gpu(action));
    await yard.submit(cpu(action));
    const third = await yard.submit(gpu(action));
    const fourth = await yard.submit(cpu(action));
    const [first, second] = await takeMany(worker, 2);
    expect([first, second].map((offer) => shown(present(offer)))).toEqual(['CPU', 'CPU']);
    await expectNothing(yard, worker);
    worker.succeed(present(second));
    expect(await worker.take()).toMatchObject({ runId: third, device: { kind: DeviceKind.CPU, id: '' } });
    worker.succeed(present(first));
    expect((await worker.take()).runId).toBe(fourth);
  });

  it('has as many CPU slots as slots, when it says nothing else', async () => {
    const action = unique('g2');
    const worker = await yard.connect({ actions: [action], slots: 2 });
    await yard.submitMany(3, gpu(action));
    expect((await takeMany(worker, 2)).map(shown)).toEqual(['CPU', 'CPU']);
    await expectNothing(yard, worker);
  });

  it('takes no GPU work that allows no CPU for it; one with a GPU does, and goes first for the rest', async () => {
    const action = unique('g2');
    const bare = await yard.connect({ actions: [action], slots: 4 });
    const waits = await yard.submit(gpuOnly(action));
    await expectNothing(yard, bare);
    const rich = await yard.connect({ actions: [action], slots: 2, devices: { gpuIds: ['7', 'x'] } });
    expect(await rich.take()).toMatchObject({ runId: waits, device: { kind: DeviceKind.GPU, id: '7' } });
    const next = await yard.submit(gpu(action));
    expect(await rich.take()).toMatchObject({ runId: next, device: { id: 'x' } });
    const last = await yard.submit(gpu(action));
    expect((await bare.take()).runId).toBe(last);
  });
});

describe('G3 the pools', () => {
  it('are independent, and never over-leased', async () => {
    const action = unique('g3');
    const worker = await yard.connect({ actions: [action], slots: 6, devices: { gpuIds: ['0', '1'], cpuSlots: 2 } });
    await yard.submitMany(4, gpu(action));
    await yard.submitMany(4, cpu(action));
    await yard.submitMany(2, { action });
    const offers = await takeMany(worker, 6);
    expect(offers.map(shown).sort()).toEqual(['CPU', 'CPU', 'GPU 0', 'GPU 1', 'none', 'none']);
    await expectNothing(yard, worker);
    // A free CPU is nothing to a GPU step here, nor the other way round.
    const ofKind = (what: string) => present(offers.find((offer) => shown(offer) === what));
    worker.succeed(ofKind('none'));
    await expectNothing(yard, worker);
    worker.succeed(ofKind('GPU 1'));
    expect(shown(await worker.take())).toBe('GPU 1');
    worker.succeed(ofKind('CPU'));
    expect(shown(await worker.take())).toBe('CPU');
    await expectNothing(yard, worker);
  });

  it('GPUs full, a GPU step does not take a CPU slot of the worker that has GPUs', async () => {
    const action = unique('g3');
    const worker = await yard.connect({ actions: [action], slots: 4, devices: { gpuIds: ['0'], cpuSlots: 3 } });
    await yard.submitMany(2, gpu(action));
    expect(shown(await worker.take())).toBe('GPU 0');
    await expectNothing(yard, worker);
    const onCpu = await yard.submit(cpu(action));
    expect((await worker.take()).runId).toBe(onCpu);
  });

  it('over many runs of both kinds, no GPU is ever lent twice and no pool is overdrawn', async () => {
    const action = unique('g3');
    const RUNS = 60;
    const worker = await yard.connect({ actions: [action], slots: 5, devices: { gpuIds: ['a', 'b'], cpuSlots: 2 } });
    const mixed = [gpu(action), cpu(action), { action }];
    for (let index = 0; index < RUNS; index += 1) await yard.submit(present(mixed[index % 3]));
    const held: RunStep[] = [];
    for (let done = 0; done < RUNS; ) {
      while (held.length < 5 && done + held.length < RUNS && worker.unread('runStep').length > 0)
        held.push(await worker.take());
      const lent = held.map(shown).filter((what) => what !== 'none');
      const gpus = lent.filter((what) => what.startsWith('GPU'));
      expect(new Set(gpus).size).toBe(gpus.length);
      expect(lent.length - gpus.length).toBeLessThanOrEqual(2);
      const oldest = held.shift();
      if (oldest !== undefined) {
        await worker.settled(worker.succeed(oldest));
        done += 1;
      }
      await yard.quiet(worker);
    }
    expect(await yard.pending(action)).toBe(0);
  });
});

/** What ends a taken assignment, so that its device is free for the next. */
const ENDINGS: Record<string, (worker: WorkerStream, offer: RunStep) => void> = {
  succeeded: (worker, offer) => worker.succeed(offer),
  failed: (worker, offer) => worker.fail(offer),
  returned: (worker, offer) => worker.giveBack(offer),
  'reported invalid': (worker, { assignmentId }) =>
    worker.send({ case: 'inputInvalid', value: { assignmentId, reason: 'unreadable' } }),
};

describe('G3 a device is free again after every ending', () => {
  /** One GPU, taken by the first of two runs. */
  async function contended(step: Omit<StepInit, 'action'> = {}, on: Yard = yard) {
    const action = unique('g3');
    const name = unique('g3-worker');
    const hello = { name, actions: [action], slots: 4, devices: { gpuIds: ['gpu-x'] } };
    const worker = await on.connect(hello);
    const first = await on.submit({ ...gpuOnly(action), ...step } as StepInit);
    const offer = await worker.next('runStep');
    expect(offer).toMatchObject({ runId: first, device: { id: 'gpu-x' } });
    const second = await on.submit(gpuOnly(action));
    await expectNothing(on, worker);
    return { hello, worker, offer, first, second };
  }

  it.each(Object.entries(ENDINGS))('%s', async (_how, end) => {
    const { worker, offer, second } = await contended();
    worker.accept(offer);
    end(worker, offer);
    expect(await worker.next('runStep')).toMatchObject({ runId: second, device: { id: 'gpu-x' } });
  });

  it('cancelled before it was accepted', async () => {
    const { worker, offer, first, second } = await contended();
    await yard.admin.cancelRun({ runId: first });
    expect((await worker.next('cancelStep')).assignmentId).toBe(offer.assignmentId);
    stopped(worker, offer);
    expect(await worker.next('runStep')).toMatchObject({ runId: second, device: { id: 'gpu-x' } });
  });

  it.each(['stopped', 'succeeded', 'failed'])('a cancel that the handler ignores, until it ends: %s', async (how) => {
    const { worker, offer, first, second } = await contended();
    worker.accept(offer);
    await yard.quiet(worker);
    await yard.admin.cancelRun({ runId: first });
    // The run is over; what its handler does with the GPU is not.
    expect((await ended(yard, first)).state).toBe(RunState.CANCELLED);
    await expectNothing(yard, worker);
    if (how === 'stopped') stopped(worker, offer);
    else if (how === 'succeeded') worker.succeed(offer);
    else worker.fail(offer);
    expect(await worker.next('runStep')).toMatchObject({ runId: second, device: { id: 'gpu-x' } });
  });

  it('an execution timeout, once the handler has ended', async () => {
    const { worker, offer, first, second } = await contended({ executionTimeout: ms(1) } as StepInit);
    worker.accept(offer);
    expect((await ended(yard, first)).state).toBe(RunState.TIMED_OUT);
    await expectNothing(yard, worker);
    stopped(worker, offer);
    expect(await worker.next('runStep')).toMatchObject({ runId: second, device: { id: 'gpu-x' } });
  });

  it('an assignment that nobody accepted, once the worker says so', async () => {
    const { worker, offer, second } = await contended({}, hasty);
    expect((await worker.next('cancelStep')).assignmentId).toBe(offer.assignmentId);
    stopped(worker, offer);
    // The first one is not offered again at once to a worker that did not take it.
    expect(await worker.next('runStep')).toMatchObject({ runId: second, device: { id: 'gpu-x' } });
  });

  it('a new process of the worker has all of them', async () => {
    const { worker, hello, first } = await contended();
    await worker.cut();
    const again = await yard.connect(hello);
    expect(await again.take()).toMatchObject({ runId: first, device: { id: 'gpu-x' } });
    await expectNothing(yard, again);
  });

  it('a worker that says goodbye, and comes back', async () => {
    const { worker, hello, offer, first } = await contended();
    worker.accept(offer);
    await worker.leave();
    const again = await yard.connect(hello);
    expect(await again.take()).toMatchObject({ runId: first, device: { id: 'gpu-x' } });
  });

  it('a worker that is not heard of again: another one does the work', async () => {
    const { worker, hello, offer, first, second } = await contended();
    worker.accept(offer);
    await yard.quiet(worker);
    await worker.cut();
    const other = await yard.connect({ ...hello, name: unique('g3-other') });
    const taken = await other.take();
    other.succeed(taken);
    const runs = [taken, await other.take()];
    expect(runs.map(({ runId }) => runId).sort()).toEqual([first, second].sort());
    expect(runs.map(shown)).toEqual(['GPU gpu-x', 'GPU gpu-x']);
  });
});

describe('G4 the handler', () => {
  it('sees the id of its GPU, an empty one of a CPU, and none when it asked for none', async () => {
    const action = unique('g4');
    const worker = await yard.connect({
      actions: [action],
      slots: 3,
      devices: { gpuIds: ['GPU-8f1c, the left one'], cpuSlots: 1 },
    });
    await yard.submit(gpu(action));
    await yard.submit(cpu(action));
    await yard.submit({ action });
    const offers = await takeMany(worker, 3);
    expect(offers.map(shown)).toEqual(['GPU GPU-8f1c, the left one', 'CPU', 'none']);
    const [step] = (await yard.run(present(offers[0]).runId)).steps;
    expect(step?.attempts[0]?.device).toMatchObject({ kind: DeviceKind.GPU, id: 'GPU-8f1c, the left one' });
  });

  it('of the SDK sees it too, with the variable for its child processes', async () => {
    const action = unique('g4');
    const seen: unknown[] = [];
    const worker = createWorker({
      address: yard.address,
      name: unique('g4-worker'),
      slots: 1,
      devices: { gpus: ' 3 ', cpuSlots: 1 },
      actions: {
        [action]: ({ device, deviceEnvironment }) => void seen.push([device, deviceEnvironment]),
      },
    });
    await worker.start();
    for (const step of [gpu(action), cpu(action), { action }]) await ended(yard, await yard.submit(step));
    expect(seen).toEqual([
      [{ kind: 'GPU', id: '3' }, { CUDA_VISIBLE_DEVICES: '3' }],
      [{ kind: 'CPU', id: '' }, { CUDA_VISIBLE_DEVICES: '' }],
      [undefined, {}],
    ]);
    await worker.stop();
  });
});
