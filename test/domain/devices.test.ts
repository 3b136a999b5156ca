/** GPU strings, pools, and which device a step is given. */
import { describe, expect, it } from 'vitest';
import { type DevicePools, freeDevice, parseGpuIds, poolFor } from '../../src/domain/devices.ts';

it.each([
  ['', []],
  ['0', ['0']],
  [',,0', ['0']],
  ['0,   ,1 , 2  ,2 , 4', ['0', '1', '2', '4']],
  ['  ', []],
  ['GPU-8f1c, MIG-3', ['GPU-8f1c', 'MIG-3']],
  ['1,01', ['1', '01']],
])('reads the GPU string %j as %j', (text, ids) => {
  expect(parseGpuIds(text)).toEqual(ids);
});

const none = { gpuIds: new Set<string>(), cpus: 0 };
const gpu = { kind: 'GPU' as const, fallback: true };
const onlyGpu = { kind: 'GPU' as const, fallback: false };
const cpu = { kind: 'CPU' as const, fallback: true };

describe('the device of a step', () => {
  it.each<[string, DevicePools | null, typeof gpu | typeof cpu, string | null]>([
    ['a GPU step takes a GPU', { gpuIds: ['0'], cpuSlots: 2 }, gpu, 'GPU'],
    ['a GPU step takes a CPU slot where there are no GPUs', { gpuIds: [], cpuSlots: 2 }, gpu, 'CPU'],
    ['also where nothing was declared', null, gpu, 'CPU'],
    ['unless it forbids that', { gpuIds: [], cpuSlots: 2 }, { ...onlyGpu, fallback: false } as never, null],
    ['a CPU step takes a CPU slot', { gpuIds: ['0'], cpuSlots: 2 }, cpu, 'CPU'],
    ['and no GPU instead', { gpuIds: ['0'], cpuSlots: 0 }, cpu, null],
  ])('%s', (_name, pools, asked, pool) => {
    expect(poolFor(pools, asked)).toBe(pool);
  });

  it('is the first GPU that is free, and none when all are leased', () => {
    const pools = { gpuIds: ['b', 'a'], cpuSlots: 4 };
    expect(freeDevice(pools, 6, none, gpu)).toEqual({ kind: 'GPU', id: 'b' });
    expect(freeDevice(pools, 6, { gpuIds: new Set(['b']), cpus: 0 }, gpu)).toEqual({ kind: 'GPU', id: 'a' });
    expect(freeDevice(pools, 6, { gpuIds: new Set(['a', 'b']), cpus: 0 }, gpu)).toBeNull();
  });

  it('counts CPU slots, as many as slots where none were declared', () => {
    expect(freeDevice({ gpuIds: [], cpuSlots: 1 }, 4, { ...none, cpus: 1 }, cpu)).toBeNull();
    expect(freeDevice(null, 2, { ...none, cpus: 1 }, cpu)).toEqual({ kind: 'CPU', id: '' });
    expect(freeDevice(null, 2, { ...none, cpus: 2 }, cpu)).toBeNull();
  });
});
