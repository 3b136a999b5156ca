/** The GPUs of this machine, as nvidia-smi tells them. */
import { execFile } from 'node:child_process';
import { parseGpuIds } from '../../worker/index.ts';

/** A driver that hangs must not keep the agent from saying so. */
const QUERY_MS_MAX = 10_000;
const QUERY = ['--query-gpu=index,uuid,memory.total,name', '--format=csv,noheader,nounits'];
/** The model comes last: it may have a comma in it. */
const LINE = /^\s*(\d+)\s*,\s*([^,\s]+)\s*,\s*([^,]*?)\s*,\s*(.*?)\s*$/;
const NONE = /no devices were found/i;

export interface Gpu {
  /** Its number in the order of the PCI bus. */
  readonly index: string;
  readonly uuid: string;
  /** undefined: the driver does not say, as for some that share the machine's memory. */
  readonly memoryMib: number | undefined;
  readonly model: string;
}

/** null: there is no nvidia-smi. Rejects when there is one that cannot say: a machine with a broken driver has GPUs. */
export async function queryGpus(environment: NodeJS.ProcessEnv): Promise<Gpu[] | null> {
  const { error, stdout, stderr } = await run(environment);
  if (error?.code === 'ENOENT') return null;
  if (NONE.test(stdout + stderr)) return [];
  if (error !== null) throw new Error(`nvidia-smi failed: ${(stderr || stdout).trim() || error.message}`);
  return parseGpus(stdout);
}

export function parseGpus(text: string): Gpu[] {
  const lines = text.split('\n').filter((line) => line.trim() !== '');
  return lines.map((line) => {
    const [, index, uuid, memory = '', model] = LINE.exec(line) ?? [];
    if (index === undefined || uuid === undefined || model === undefined)
      throw new Error(`nvidia-smi said ${JSON.stringify(line)}, and not index, uuid, memory and name`);
    return { index, uuid, memoryMib: /^\d+$/.test(memory) ? Number(memory) : undefined, model };
  });
}

/**
 * Those this process may use, by the id to use them with. Whoever started it may have left it some only: then
 * CUDA_VISIBLE_DEVICES names them, by number or by (the beginning of) their uuid.
 */
export function usableGpus(gpus: readonly Gpu[], visible: string | undefined): { ids: string[]; gpus: Gpu[] } {
  if (visible === undefined) return { ids: gpus.map(({ index }) => index), gpus: [...gpus] };
  const found: { id: string; gpu: Gpu }[] = [];
  for (const id of parseGpuIds(visible)) {
    const gpu = gpus.find(({ index, uuid }) => id === index || (id.startsWith('GPU-') && uuid.startsWith(id)));
    // As CUDA reads it: nothing behind the first that is not there.
    if (gpu === undefined) break;
    found.push({ id, gpu });
  }
  return { ids: found.map(({ id }) => id), gpus: found.map(({ gpu }) => gpu) };
}

interface Answer {
  readonly error: { readonly code?: unknown; readonly message: string } | null;
  readonly stdout: string;
  readonly stderr: string;
}

function run(env: NodeJS.ProcessEnv): Promise<Answer> {
  return new Promise((resolve) => {
    execFile('nvidia-smi', QUERY, { env, timeout: QUERY_MS_MAX }, (error, stdout, stderr) =>
      resolve({ error, stdout, stderr }),
    );
  });
}
