/** What the agent finds out about its machine by itself: GPUs to lend out, and labels. */
import { arch, availableParallelism, platform, totalmem } from 'node:os';
import type { Labels } from '../../worker/index.ts';
import type { AgentOptions } from './agent.ts';
import { type Gpu, queryGpus, usableGpus } from './gpus.ts';

const BYTES_PER_MIB = 1024 * 1024;
export const AUTO = 'auto';

export interface Wanted {
  /** `auto` looks for them; everything else names them. */
  readonly gpus: string | undefined;
  readonly labels: boolean;
}

/**
 * The options, completed by what was found; what was given goes before it. Adds to the environment of the commands what
 * makes the ids mean to them what they mean here. Rejects when nvidia-smi is there and cannot say.
 */
export async function detected(
  options: AgentOptions,
  wanted: Wanted,
  environment: NodeJS.ProcessEnv,
): Promise<{ options: AgentOptions; environment: NodeJS.ProcessEnv; found: string }> {
  const isAuto = wanted.gpus === AUTO;
  if (!isAuto && !wanted.labels) return { options, environment, found: '' };
  const all = await queryGpus(environment);
  const { CUDA_VISIBLE_DEVICES: visible } = environment;
  const { ids, gpus } = usableGpus(all ?? [], visible);
  const { worker } = options;
  return {
    options: {
      ...options,
      worker: {
        ...worker,
        ...(isAuto && ids.length > 0 ? { devices: { gpus: ids } } : {}),
        ...(wanted.labels ? { labels: { ...machineLabels(gpus), ...worker.labels } } : {}),
      },
    },
    // nvidia-smi counts by PCI bus, CUDA by speed unless it is told; a given order stays.
    environment: isAuto && visible === undefined ? { CUDA_DEVICE_ORDER: 'PCI_BUS_ID', ...environment } : environment,
    found: sentence(all, ids, gpus),
  };
}

/** Labels a run may ask for. Of several GPUs they promise what holds for each: the least memory, one model or none. */
export function machineLabels(gpus: readonly Gpu[]): Labels {
  const memories = gpus.map(({ memoryMib }) => memoryMib).filter((mib) => mib !== undefined);
  const [model, ...others] = new Set(gpus.map((gpu) => gpu.model));
  return {
    'gpu.count': gpus.length,
    ...(memories.length > 0 && memories.length === gpus.length ? { 'gpu.memory_mib': Math.min(...memories) } : {}),
    ...(model !== undefined && others.length === 0 ? { 'gpu.model': model } : {}),
    'cpu.count': availableParallelism(),
    memory_mib: Math.floor(totalmem() / BYTES_PER_MIB),
    os: platform(),
    arch: arch(),
  };
}

function sentence(all: readonly Gpu[] | null, ids: readonly string[], gpus: readonly Gpu[]): string {
  if (all === null) return 'no GPUs: there is no nvidia-smi';
  if (ids.length === 0) return all.length === 0 ? 'no GPUs' : 'no GPUs: CUDA_VISIBLE_DEVICES leaves none';
  return `GPUs ${ids.map((id, index) => `${id} (${gpus[index]?.model ?? ''})`).join(', ')}`;
}
