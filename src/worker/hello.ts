/** From the author's options to the message a worker opens with. */
import { create } from '@bufbuild/protobuf';
import { type Hello, HelloSchema } from '../../gen/yardmaster/v1/worker_service_pb.ts';
import type { DeviceOptions, WorkerOptions } from './options.ts';

const SDK = { name: 'yardmaster', version: '0.1.0', language: 'typescript' };

/** `"0,   ,1 , 2  ,2 , 4"` → `["0", "1", "2", "4"]`: split on commas, trimmed, blanks and repeats removed, order kept. */
export function parseGpuIds(text: string): string[] {
  return cleanGpuIds(text.split(','));
}

export function helloOf(options: WorkerOptions): Hello {
  const hello = create(HelloSchema, {
    workerId: options.workerId ?? '',
    name: options.name ?? '',
    tags: [...(options.tags ?? [])],
    actions: Object.keys(options.actions),
    nickname: options.nickname ?? '',
    sdk: SDK,
  });
  if (options.devices !== undefined) {
    const { cpuSlots } = options.devices;
    const gpuIds = gpuIdsOf(options.devices);
    hello.devices = {
      $typeName: 'yardmaster.v1.Devices',
      gpuIds,
      ...(cpuSlots === undefined ? {} : { cpuSlots: count('devices.cpuSlots', cpuSlots) }),
    };
  }
  return hello;
}

/** Slots as far as they can be known here: with GPUs and no number the server works them out. */
export function slotsOf(options: WorkerOptions): number | undefined {
  if (options.slots !== undefined) return count('slots', options.slots);
  if (options.devices === undefined) return 1;
  const { cpuSlots } = options.devices;
  return cpuSlots === undefined ? undefined : gpuIdsOf(options.devices).length + cpuSlots;
}

export function count(name: string, value: number): number {
  if (Number.isInteger(value) && value >= 0 && value < 2 ** 32) return value;
  throw new RangeError(`${name} must be a whole number, 0 or more; it is ${value}`);
}

function gpuIdsOf({ gpus = [] }: DeviceOptions): string[] {
  return typeof gpus === 'string' ? parseGpuIds(gpus) : cleanGpuIds(gpus);
}

function cleanGpuIds(ids: readonly string[]): string[] {
  return [...new Set(ids.map((id) => id.trim()).filter((id) => id !== ''))];
}
