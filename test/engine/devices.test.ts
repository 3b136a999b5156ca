/** Devices leased with assignments: pools apart, never over-leased, free on every ending. */
import { describe, expect, it } from 'vitest';
import type { RunOptions } from '../support/engine.ts';
import { createYard, type Yard } from '../support/engine.ts';

const GPU: RunOptions = { device: { kind: 'GPU', fallback: true } };
const ONLY_GPU: RunOptions = { device: { kind: 'GPU', fallback: false } };
const CPU: RunOptions = { device: { kind: 'CPU', fallback: true } };

function hosts() {
  const yard = createYard();
  const alpha = yard.hello({ name: 'alpha', devices: { gpuIds: ['0', '7'], cpuSlots: 1 } });
  return { yard, alpha };
}

const device = (yard: Yard, run: string) => yard.step(run).assignment?.device ?? null;

describe('devices', () => {
  it('are GPUs by id and CPU slots by number, with a slot for each', () => {
    const { yard, alpha } = hosts();
    expect(yard.worker(alpha.workerId).slots).toBe(3);
    const runs = [GPU, CPU, GPU, GPU, CPU].map((options) => yard.submit(options));
    expect(runs.map((run) => device(yard, run))).toEqual([
      { kind: 'GPU', id: '0' },
      { kind: 'CPU', id: '' },
      { kind: 'GPU', id: '7' },
      null,
      null,
    ]);
  });

  it('of one kind do not wait for those of the other', () => {
    const { yard } = hosts();
    const runs = [GPU, GPU, GPU, CPU].map((options) => yard.submit(options));
    expect(runs.map((run) => yard.step(run).state)).toEqual(['ASSIGNED', 'ASSIGNED', 'PENDING', 'ASSIGNED']);
  });

  it('are CPU slots for GPU work where there are no GPUs, unless it forbids that', () => {
    const yard = createYard();
    yard.hello({ name: 'beta', devices: { gpuIds: [], cpuSlots: 2 } });
    const [gpu, cpu, more, only] = [GPU, CPU, GPU, ONLY_GPU].map((options) => yard.submit(options)) as string[];
    expect([gpu, cpu].map((run) => device(yard, run as string)?.kind)).toEqual(['CPU', 'CPU']);
    expect([more, only].map((run) => yard.step(run as string).state)).toEqual(['PENDING', 'PENDING']);
    yard.hello({ name: 'gamma', devices: { gpuIds: ['x'], cpuSlots: 0 } });
    // The older one first; it would also have taken a CPU slot.
    expect([more, only].map((run) => device(yard, run as string)?.id ?? null)).toEqual(['x', null]);
  });

  it('prefer the worker that has the one asked for', () => {
    const yard = createYard();
    yard.hello({ name: 'plain', slots: 8 });
    yard.hello({ name: 'gpus', devices: { gpuIds: ['0'], cpuSlots: null } });
    expect(yard.holder(yard.submit(GPU))).toBe('gpus');
    expect(yard.holder(yard.submit(GPU))).toBe('plain');
  });

  it.each(['success', 'failure', 'return', 'goodbye', 'new process', 'cancel while unaccepted'] as const)(
    'are free again after a %s',
    (ending) => {
      const yard = createYard();
      const options = { name: 'alpha', devices: { gpuIds: ['0'], cpuSlots: 0 } };
      const alpha = yard.hello(options);
      const first = yard.submit(GPU);
      if (ending === 'success' || ending === 'failure' || ending === 'new process') alpha.accept(first);
      if (ending === 'success') alpha.succeed(first);
      if (ending === 'failure') alpha.fail(first);
      if (ending === 'return') alpha.giveBack(first);
      if (ending === 'cancel while unaccepted') {
        const assignmentId = yard.assignmentId(first);
        alpha.handOver(first);
        yard.take({ kind: 'cancel_run', namespace: 'default', runId: first, mode: 'ANY', reason: '', stepName: '' });
        // The handler may be running already: the GPU stays leased until the worker says otherwise.
        expect(yard.worker(alpha.workerId).devicesInUse.gpuIds.size).toBe(1);
        yard.apply({ kind: 'confirm_cancel', connection: alpha.connection, assignmentId });
      }
      if (ending === 'goodbye') alpha.goodbye();
      if (ending === 'goodbye' || ending === 'new process') yard.hello(options);
      if (ending === 'return' || ending === 'goodbye' || ending === 'new process')
        yard.take({ kind: 'cancel_run', namespace: 'default', runId: first, mode: 'ANY', reason: '', stepName: '' });
      const worker = yard.worker(alpha.workerId);
      for (const assignmentId of [...worker.reserved])
        yard.apply({ kind: 'confirm_cancel', connection: worker.connection ?? 0, assignmentId });
      expect(device(yard, yard.submit(GPU))).toEqual({ kind: 'GPU', id: '0' });
    },
  );

  it('are known after a restart, also those kept for a handler that ignores a cancel', () => {
    const { yard, alpha } = hosts();
    const [held, kept] = [yard.submit(GPU), yard.submit(GPU)];
    alpha.accept(held);
    alpha.accept(kept);
    yard.take({ kind: 'cancel_run', namespace: 'default', runId: kept, mode: 'ANY', reason: '', stepName: '' });
    yard.advance(10_000);
    expect(yard.run(kept).state).toBe('CANCELLED');
    const next = createYard({ rows: yard.store.liveRows(), nowMs: yard.nowMs });
    expect(next.step(held).assignment?.device).toEqual({ kind: 'GPU', id: '0' });
    expect([...next.worker(alpha.workerId).devicesInUse.gpuIds].sort()).toEqual(['0', '7']);
  });

  it('that are busy are said to be', () => {
    const { yard, alpha } = hosts();
    const runs = [GPU, GPU, GPU].map((options) => yard.submit({ ...options, scheduleTimeoutMs: 1_000 }));
    for (const run of runs.slice(0, 2)) alpha.accept(run);
    yard.advance(1_000);
    const { failure } = yard.step(runs[2] as string);
    expect(failure?.explanation?.workers[0]?.failed).toEqual([
      {
        clause: 'DEVICE',
        key: '',
        has: '2 of 2 GPUs in use',
        needs: 'a free GPU, or a CPU slot without GPUs',
        busy: true,
      },
    ]);
  });
});
