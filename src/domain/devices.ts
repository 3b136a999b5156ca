/** Devices leased together with an assignment: GPUs by id, CPU slots by number. */

export type DeviceKind = 'GPU' | 'CPU';

/** What an assignment leased. The id is empty but for a GPU. */
export interface Device {
  readonly kind: DeviceKind;
  readonly id: string;
}

/** What a step asks for besides a slot. */
export interface DeviceDemand {
  readonly kind: DeviceKind;
  /** A GPU step takes a CPU slot on a worker that has no GPUs at all. */
  readonly fallback: boolean;
}

/** What a worker lends out. */
export interface DevicePools {
  /** Opaque ids, in the order they are shown. */
  readonly gpuIds: readonly string[];
  /** null: as many as the worker has slots. */
  readonly cpuSlots: number | null;
}

export interface DevicesInUse {
  readonly gpuIds: ReadonlySet<string>;
  readonly cpus: number;
}

/**
 * GPU ids from a setting such as `0, 1,,2`: split on commas, trimmed, without blanks and repetitions, in order of
 * appearance. Ids are opaque and never renumbered; nothing left means no GPUs.
 */
export function parseGpuIds(text: string): string[] {
  const ids = text.split(',').map((id) => id.trim());
  return [...new Set(ids.filter((id) => id !== ''))];
}

const NO_DEVICES: DevicePools = { gpuIds: [], cpuSlots: null };

/** Which pool the step leases from on this worker; null: none of its pools will do, however free it is. */
export function poolFor(pools: DevicePools | null, asked: DeviceDemand): DeviceKind | null {
  const { gpuIds, cpuSlots } = pools ?? NO_DEVICES;
  if (asked.kind === 'GPU' && gpuIds.length > 0) return 'GPU';
  if (asked.kind === 'GPU' && !asked.fallback) return null;
  return cpuSlots === 0 ? null : 'CPU';
}

/** A free device for the step, or null. `slots` bounds the CPU slots of a worker that declared none. */
export function freeDevice(
  pools: DevicePools | null,
  slots: number,
  inUse: DevicesInUse,
  asked: DeviceDemand,
): Device | null {
  const { gpuIds, cpuSlots } = pools ?? NO_DEVICES;
  switch (poolFor(pools, asked)) {
    case null:
      return null;
    case 'GPU': {
      const id = gpuIds.find((one) => !inUse.gpuIds.has(one));
      return id === undefined ? null : { kind: 'GPU', id };
    }
    case 'CPU':
      return inUse.cpus < (cpuSlots ?? slots) ? { kind: 'CPU', id: '' } : null;
  }
}
