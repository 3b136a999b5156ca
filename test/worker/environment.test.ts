import fc from 'fast-check';
import { afterEach, describe, expect, it } from 'vitest';
import { parseGpuIds } from '../../src/domain/devices.ts';
import { withIdentity } from '../../src/worker/environment.ts';
import { helloOf } from '../../src/worker/hello.ts';
import { createWorker, parseGpuIds as parseGpuIdsOfSdk } from '../../src/worker/index.ts';

const actions = { train: () => null };

describe('who a worker is', () => {
  afterEach(() => {
    delete process.env.YARDMASTER_WORKER_ID;
  });

  it('YARDMASTER_WORKER_ID, unless it was given an id or a name', () => {
    const environment = { YARDMASTER_WORKER_ID: 'registered-before' };
    expect(withIdentity({ actions }, environment).workerId).toBe('registered-before');
    expect(withIdentity({ actions, workerId: 'given' }, environment).workerId).toBe('given');
    expect(withIdentity({ actions, name: 'box' }, environment).workerId).toBeUndefined();
    expect(withIdentity({ actions }, { YARDMASTER_WORKER_ID: '' }).workerId).toBeUndefined();
    expect(withIdentity({ actions }, {}).workerId).toBeUndefined();
  });

  it('but not in the command of an agent, whose id it is', () => {
    const environment = { YARDMASTER_WORKER_ID: 'of the agent', YARDMASTER_ASSIGNMENT_ID: 'a' };
    expect(withIdentity({ actions }, environment).workerId).toBeUndefined();
  });

  it.each([false, true])('is read when the worker is made (thread: %s)', (thread) => {
    process.env.YARDMASTER_WORKER_ID = 'registered-before';
    expect(createWorker({ actions, thread }).id).toBe('registered-before');
  });
});

describe('the GPU string', () => {
  it.each([
    ['', []],
    ['0', ['0']],
    [',,0', ['0']],
    ['0,   ,1 , 2  ,2 , 4', ['0', '1', '2', '4']],
  ])('%j', (text, ids) => {
    expect(parseGpuIdsOfSdk(text)).toEqual(ids);
    expect(helloOf({ actions, devices: { gpus: text } }).devices?.gpuIds).toEqual(ids);
  });

  it('means to the SDK what it means to the rules', () => {
    const character = fc.constantFrom('0', '1', '2', ',', ',', ' ', '\t', '\n', 'GPU-a', '\u00a0');
    fc.assert(
      fc.property(fc.array(character, { maxLength: 20 }), (characters) => {
        const text = characters.join('');
        expect(parseGpuIdsOfSdk(text)).toEqual(parseGpuIds(text));
        expect(helloOf({ actions, devices: { gpus: text.split(',') } }).devices?.gpuIds).toEqual(parseGpuIds(text));
      }),
    );
  });
});
