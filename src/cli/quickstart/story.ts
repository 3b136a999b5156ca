/** The quickstart's story: runs, who should get each, and why. */
import type { MessageInitShape } from '@bufbuild/protobuf';
import { create } from '@bufbuild/protobuf';
import { ValueSchema } from '@bufbuild/protobuf/wkt';
import type { ScheduleRunRequestSchema } from '../../../gen/yardmaster/v1/admin_service_pb.ts';
import { Comparator } from '../../../gen/yardmaster/v1/run_pb.ts';

export interface Chapter {
  readonly title: string;
  readonly request: MessageInitShape<typeof ScheduleRunRequestSchema>;
  readonly expectedWorker: string;
  readonly why: string;
  /** Set: nobody may take the run until this worker says so of itself. */
  readonly waitsFor?: { readonly worker: string; readonly labels: Readonly<Record<string, string>> };
}

const step = { case: 'step', value: { action: 'train' } } as const;
const text = (value: string) => create(ValueSchema, { kind: { case: 'stringValue', value } });
const number = (value: number) => create(ValueSchema, { kind: { case: 'numberValue', value } });

export const STORY: readonly Chapter[] = [
  {
    title: 'A tag: runs_on [gpu-T4]',
    request: { what: step, runsOn: ['gpu-T4'] },
    expectedWorker: 'quickstart-t4',
    why: 'it alone carries the tag gpu-T4',
  },
  {
    title: 'A required label: memory > 256',
    request: {
      what: step,
      desiredLabels: [{ key: 'memory', comparator: Comparator.GREATER_THAN, value: number(256) }],
    },
    expectedWorker: 'quickstart-a100',
    why: 'its memory is 512; the others have 16 and 64',
  },
  {
    title: 'A weighted preference: runs_on [gpu], model = mistral (weight 100), memory > 256 (weight 50)',
    request: {
      what: step,
      runsOn: ['gpu'],
      desiredLabels: [
        { key: 'model', value: text('mistral'), required: false, weight: 100 },
        { key: 'memory', comparator: Comparator.GREATER_THAN, value: number(256), required: false, weight: 50 },
      ],
    },
    expectedWorker: 'quickstart-t4',
    why: 'both GPUs may; a matched weight of 100 ranks before one of 50',
  },
  {
    title: 'A label nobody has yet: model = sdxl',
    request: { what: step, runsOn: ['gpu'], desiredLabels: [{ key: 'model', value: text('sdxl') }] },
    expectedWorker: 'quickstart-a100',
    why: 'it has just said model = sdxl, and the waiting run was matched in the same turn',
    waitsFor: { worker: 'quickstart-a100', labels: { model: 'sdxl' } },
  },
];
