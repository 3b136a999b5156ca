import { expect, it } from 'vitest';
import type { WorkerFacts } from '../../src/domain/feasibility.ts';
import { waitingVerdict } from '../../src/domain/verdict.ts';

const demand = { namespace: 'default', action: 'train', runsOn: ['gpu'], desired: [], pin: null, device: null };

function worker(facts: Partial<WorkerFacts> = {}): WorkerFacts {
  return {
    workerId: 'worker-1',
    name: 'alpha',
    namespace: 'default',
    tags: new Set(['gpu']),
    labels: new Map(),
    actions: new Set(['train']),
    slots: 1,
    slotsUsed: 1,
    devices: null,
    devicesInUse: { gpuIds: new Set(), cpus: 0 },
    draining: false,
    notReadyReason: null,
    ...facts,
  };
}

const elsewhere = worker({ namespace: 'other' });
const otherAction = worker({ actions: new Set(['infer']) });
const otherTags = worker({ tags: new Set(['cpu']) });
const draining = worker({ draining: true });
const away = worker({ notReadyReason: 'DISCONNECTED' });

it.each([
  ['NO_SUCH_ACTION', []],
  ['NO_SUCH_ACTION', [otherAction, elsewhere]],
  ['UNSATISFIABLE_NOW', [otherAction, otherTags]],
  ['DRAINING', [otherTags, draining]],
  ['NOT_READY', [draining, away]],
  ['NOT_READY', [away, draining]],
  ['BUSY', [draining, away, worker()]],
] as const)('%s', (verdict, workers) => {
  expect(waitingVerdict(demand, 'LEGACY', workers)).toBe(verdict);
});
