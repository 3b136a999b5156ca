/** The quickstart's story: runs, who should get each, and why. */
import type { MessageInitShape } from '@bufbuild/protobuf';
import { create } from '@bufbuild/protobuf';
import { ValueSchema } from '@bufbuild/protobuf/wkt';
import type {
  PutWorkflowRequestSchema,
  ScheduleRunRequestSchema,
} from '../../../gen/yardmaster/v1/admin_service_pb.ts';
import { Comparator, Sticky } from '../../../gen/yardmaster/v1/run_pb.ts';

interface ChapterBase {
  readonly title: string;
  readonly request: MessageInitShape<typeof ScheduleRunRequestSchema>;
  readonly why: string;
}

/** A run of one step that somebody gets. */
export interface PlacedChapter extends ChapterBase {
  readonly kind: 'placed';
  readonly expectedWorker: string;
  /** Set: nobody may take the run until this worker says so of itself. */
  readonly waitsFor?: { readonly worker: string; readonly labels: Readonly<Record<string, string>> };
}

/** A run of a workflow, all of whose steps one worker gets. */
export interface StickyChapter extends ChapterBase {
  readonly kind: 'sticky';
  readonly workflow: MessageInitShape<typeof PutWorkflowRequestSchema>;
  readonly stepNames: readonly string[];
  readonly expectedWorker: string;
}

/** A run that nobody can take: it times out, and says why. */
export interface TimedOutChapter extends ChapterBase {
  readonly kind: 'timed out';
  /** Part of what it must say. */
  readonly expectedSummary: RegExp;
}

export type Chapter = PlacedChapter | StickyChapter | TimedOutChapter;

const step = { case: 'step', value: { action: 'train' } } as const;
const text = (value: string) => create(ValueSchema, { kind: { case: 'stringValue', value } });
const number = (value: number) => create(ValueSchema, { kind: { case: 'numberValue', value } });

export const STORY: readonly Chapter[] = [
  {
    kind: 'placed',
    title: 'A tag: runs_on [gpu-T4]',
    request: { what: step, runsOn: ['gpu-T4'] },
    expectedWorker: 'quickstart-t4',
    why: 'it alone carries the tag gpu-T4',
  },
  {
    kind: 'placed',
    title: 'A required label: memory > 256',
    request: {
      what: step,
      desiredLabels: [{ key: 'memory', comparator: Comparator.GREATER_THAN, value: number(256) }],
    },
    expectedWorker: 'quickstart-a100',
    why: 'its memory is 512; the others have 16 and 64',
  },
  {
    kind: 'placed',
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
    kind: 'placed',
    title: 'A label nobody has yet: model = sdxl',
    request: { what: step, runsOn: ['gpu'], desiredLabels: [{ key: 'model', value: text('sdxl') }] },
    expectedWorker: 'quickstart-a100',
    why: 'it has just said model = sdxl, and the waiting run was matched in the same turn',
    waitsFor: { worker: 'quickstart-a100', labels: { model: 'sdxl' } },
  },
  {
    kind: 'sticky',
    title: 'A HARD sticky workflow: load (memory > 256), then train, which asks for nothing',
    workflow: {
      name: 'quickstart-finetune',
      sticky: Sticky.HARD,
      steps: [
        {
          name: 'load',
          action: 'train',
          desiredLabels: [{ key: 'memory', comparator: Comparator.GREATER_THAN, value: number(256) }],
        },
        { name: 'train', action: 'train', needs: ['load'] },
      ],
    },
    request: { what: { case: 'workflow', value: 'quickstart-finetune' } },
    stepNames: ['load', 'train'],
    expectedWorker: 'quickstart-a100',
    why: 'the first step pinned the run to it; the idle others may not take the second',
  },
  {
    kind: 'timed out',
    title: 'A label nobody will have: memory > 1024, waiting 1 s at most',
    request: {
      what: step,
      desiredLabels: [{ key: 'memory', comparator: Comparator.GREATER_THAN, value: number(1024) }],
      scheduleTimeout: { seconds: 1n },
    },
    expectedSummary: /memory > 1024: the nearest, "quickstart-/,
    why: 'a run that nobody takes ends when its time is over, and says what was missing',
  },
];
