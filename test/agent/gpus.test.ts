import { type ChildProcess, spawn } from 'node:child_process';
import { once } from 'node:events';
import { chmodSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, afterEach, describe, expect, it } from 'vitest';
import { DeviceKind } from '../../gen/yardmaster/v1/worker_pb.ts';
import { machineLabels } from '../../src/cli/agent/detect.ts';
import { parseGpus, queryGpus, usableGpus } from '../../src/cli/agent/gpus.ts';
import { until } from '../support/until.ts';
import { usePlane } from './support.ts';

const plane = usePlane();
const folder = mkdtempSync(join(tmpdir(), 'yardmaster-gpus-'));
const children: ChildProcess[] = [];
afterEach(async () => {
  const ends = children.splice(0).filter((child) => child.exitCode === null && child.signalCode === null);
  await Promise.all(
    ends.map((child) => {
      child.kill('SIGTERM');
      return once(child, 'exit');
    }),
  );
});
afterAll(() => rmSync(folder, { recursive: true }));

const TWO = '0, GPU-aaaa-1, 81559, NVIDIA H100 80GB HBM3\n1, GPU-bbbb-2, 40960, NVIDIA A100, SXM4\n';

let count = 0;

/** An environment with an nvidia-smi of this machine's own on its path. */
function withSmi(script: string, rest: NodeJS.ProcessEnv = {}): NodeJS.ProcessEnv {
  count += 1;
  const bin = mkdtempSync(join(folder, `bin-${count}-`));
  const file = join(bin, 'nvidia-smi');
  writeFileSync(file, `#!/bin/sh\n${script}\n`);
  chmodSync(file, 0o755);
  const { CUDA_VISIBLE_DEVICES: _ofThisProcess, CUDA_DEVICE_ORDER: _too, ...own } = process.env;
  return { ...own, ...rest, PATH: `${bin}:${process.env.PATH}` };
}

const printing = (text: string) => `cat <<'END'\n${text.trimEnd()}\nEND`;

describe('nvidia-smi', () => {
  it('is asked for number, uuid, memory and model', async () => {
    const gpus = await queryGpus(
      withSmi(`[ "$1" = --query-gpu=index,uuid,memory.total,name ] || exit 9\n${printing(TWO)}`),
    );
    expect(gpus).toEqual([
      { index: '0', uuid: 'GPU-aaaa-1', memoryMib: 81_559, model: 'NVIDIA H100 80GB HBM3' },
      { index: '1', uuid: 'GPU-bbbb-2', memoryMib: 40_960, model: 'NVIDIA A100, SXM4' },
    ]);
    expect(parseGpus('0, GPU-x, [N/A], GB10\n')).toMatchObject([{ memoryMib: undefined, model: 'GB10' }]);
  });

  it('need not be there, and may know of none', async () => {
    expect(await queryGpus({ PATH: join(folder, 'nothing-here') })).toBeNull();
    expect(await queryGpus(withSmi('echo No devices were found; exit 6'))).toEqual([]);
    expect(await queryGpus(withSmi(''))).toEqual([]);
  });

  it('that fails, or says something else, is no machine without GPUs', async () => {
    await expect(queryGpus(withSmi('echo driver mismatch >&2; exit 18'))).rejects.toThrow(
      'nvidia-smi failed: driver mismatch',
    );
    await expect(queryGpus(withSmi('echo hello'))).rejects.toThrow('nvidia-smi said "hello"');
  });

  it('CUDA_VISIBLE_DEVICES leaves some, by number or uuid, and none behind one that is not there', () => {
    const gpus = parseGpus(`${TWO}2, GPU-cccc-3, 24576, NVIDIA L4\n`);
    expect(usableGpus(gpus, undefined).ids).toEqual(['0', '1', '2']);
    expect(usableGpus(gpus, '2, 0').ids).toEqual(['2', '0']);
    expect(usableGpus(gpus, 'GPU-bbbb').gpus).toEqual([gpus[1]]);
    expect(usableGpus(gpus, '1,-1,0').ids).toEqual(['1']);
    expect(usableGpus(gpus, '').ids).toEqual([]);
  });

  it('labels promise what holds for each GPU', () => {
    const [h100, a100] = parseGpus(TWO);
    if (h100 === undefined || a100 === undefined) throw new Error('there are two');
    expect(machineLabels([h100, h100])).toMatchObject({
      'gpu.count': 2,
      'gpu.memory_mib': 81_559,
      'gpu.model': 'NVIDIA H100 80GB HBM3',
    });
    const mixed = machineLabels([h100, a100]);
    expect(mixed).toMatchObject({ 'gpu.count': 2, 'gpu.memory_mib': 40_960, os: process.platform });
    expect(mixed).not.toHaveProperty('gpu.model');
    const none = machineLabels([]);
    expect(none).toMatchObject({ 'gpu.count': 0, 'cpu.count': expect.any(Number), memory_mib: expect.any(Number) });
    expect(Object.keys(none)).not.toContain('gpu.memory_mib');
  });
});

/** An agent process that runs `command` in a shell. */
function start(action: string, environment: NodeJS.ProcessEnv, args: readonly string[], command = 'true') {
  const main = new URL('main.ts', import.meta.url).pathname;
  const words = ['--address', plane.address, '--action', action, ...args, '--shell', '--', command];
  const child = spawn(process.execPath, ['--import', 'tsx', main, ...words], {
    env: environment,
    stdio: ['ignore', 'ignore', 'pipe'],
  });
  children.push(child);
  const said = { text: '' };
  child.stderr.on('data', (data) => (said.text += data));
  const ended = once(child, 'exit').then(([code]) => code as number | null);
  const says = (text: string) =>
    until(
      () => said.text.includes(text),
      () => said.text,
      15_000,
    );
  return { said, ended, says };
}

const DEVICES = 'printf \'"%s %s"\' "$CUDA_VISIBLE_DEVICES" "$CUDA_DEVICE_ORDER" > $YARDMASTER_OUTPUT';

async function worker(name: string) {
  return (await plane.admin.getWorker({ name })).worker;
}

describe('an agent on a machine with GPUs', () => {
  it('--gpus auto lends them out, a slot for each, and the command sees its own', async () => {
    const args = ['--name', 'auto', '--gpus', 'auto', '--detect', '--label', 'gpu.model=mine'];
    const agent = start('auto', withSmi(printing(TWO)), args, DEVICES);
    await agent.says('connected as auto');
    expect(agent.said.text).toContain('GPUs 0 (NVIDIA H100 80GB HBM3), 1 (NVIDIA A100, SXM4)');
    expect(await worker('auto')).toMatchObject({
      slots: 2,
      devices: { gpuIds: ['0', '1'] },
      labels: { 'gpu.count': 2, 'gpu.memory_mib': 40_960, 'gpu.model': 'mine' },
    });
    const what = { case: 'step', value: { action: 'auto', device: DeviceKind.GPU, noDeviceFallback: true } } as const;
    const runId = await plane.submit('auto', { what });
    expect((await plane.untilState(runId, 'SUCCEEDED')).outputJson).toBe('"0 PCI_BUS_ID"');
    const cpu = { case: 'step', value: { action: 'auto', device: DeviceKind.CPU } } as const;
    const onCpu = await plane.submit('auto', { what: cpu });
    expect((await plane.untilState(onCpu, 'SUCCEEDED')).outputJson).toBe('" PCI_BUS_ID"');
  });

  it('--gpus auto keeps to what CUDA_VISIBLE_DEVICES leaves', async () => {
    const agent = start('left', withSmi(printing(TWO), { CUDA_VISIBLE_DEVICES: '1' }), [
      '--name',
      'left',
      '--gpus',
      'auto',
    ]);
    await agent.says('connected as left');
    expect(await worker('left')).toMatchObject({ slots: 1, devices: { gpuIds: ['1'] } });
  });

  it('--gpus auto without an nvidia-smi is a worker without GPUs; one that fails ends the agent', async () => {
    const { PATH = '', ...rest } = process.env;
    const bare = start('bare', { ...rest, PATH }, ['--name', 'bare', '--gpus', 'auto', '--detect']);
    await bare.says('connected as bare');
    expect(bare.said.text).toContain('no GPUs: there is no nvidia-smi');
    expect(await worker('bare')).toMatchObject({ slots: 1, labels: { 'gpu.count': 0 } });
    const broken = start('broken', withSmi('echo no driver >&2; exit 9'), ['--name', 'broken', '--gpus', 'auto']);
    expect(await broken.ended).toBe(1);
    expect(broken.said.text).toContain('nvidia-smi failed: no driver');
  });

  it('--gpus names them in any spelling', async () => {
    const agent = start('named', process.env, ['--name', 'named', '--gpus', '0,   ,1 , 2  ,2 , 4'], DEVICES);
    await agent.says('connected as named');
    expect(await worker('named')).toMatchObject({ slots: 4, devices: { gpuIds: ['0', '1', '2', '4'] } });
  });

  it('is who YARDMASTER_WORKER_ID says: registered first, started by id', async () => {
    const registered = await plane.admin.registerWorker({ name: 'registered', tags: ['gpu-a100'] });
    const workerId = registered.worker?.workerId ?? '';
    const agent = start('by-id', { ...process.env, YARDMASTER_WORKER_ID: workerId }, []);
    await agent.says('connected as registered');
    const runId = await plane.submit('by-id', { runsOn: ['gpu-a100'] });
    const run = await plane.untilState(runId, 'SUCCEEDED');
    expect(run.steps[0]?.attempts[0]?.workerId).toBe(workerId);
  });
});
