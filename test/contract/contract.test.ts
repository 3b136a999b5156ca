// The rules written beside the fields of the contract: what they let through, and which field they name when they do not.
import { create, type DescMessage, type MessageInitShape, toBinary } from '@bufbuild/protobuf';
import { pathToString } from '@bufbuild/protobuf/reflect';
import { FileDescriptorProtoSchema, type Value, ValueSchema } from '@bufbuild/protobuf/wkt';
import { createValidator } from '@bufbuild/protovalidate';
import { file_buf_validate_validate as evaluated } from '@bufbuild/protovalidate/gen/buf/validate/validate_pb.js';
import { describe, expect, test } from 'vitest';
import { file_buf_validate_validate as vendored } from '../../gen/buf/validate/validate_pb.ts';
import {
  CancelRunRequestSchema,
  GetRunRequestSchema,
  GetWorkerRequestSchema,
  GetWorkflowRequestSchema,
  ListRunsRequestSchema,
  ListWorkersRequestSchema,
  PutNamespaceRequestSchema,
  PutWorkflowRequestSchema,
  RegisterWorkerRequestSchema,
  ScheduleRunRequestSchema,
  ScheduleRunsRequestSchema,
  UpdateRunRequestSchema,
} from '../../gen/yardmaster/v1/admin_service_pb.ts';
import { Comparator, RunState } from '../../gen/yardmaster/v1/run_pb.ts';
import { WorkerState } from '../../gen/yardmaster/v1/worker_pb.ts';
import { ConnectRequestSchema, HelloSchema } from '../../gen/yardmaster/v1/worker_service_pb.ts';

const validator = createValidator();

/** The paths of the fields a message is refused for; none: it is valid. */
function refusedFields<Desc extends DescMessage>(schema: Desc, init: MessageInitShape<Desc>): string[] {
  const result = validator.validate(schema, create(schema, init));
  if (result.kind === 'error') throw result.error;
  return result.violations?.map((violation) => pathToString(violation.field)) ?? [];
}

interface Case {
  title: string;
  refused: () => string[];
  expected: string[];
}

function valid<Desc extends DescMessage>(title: string, schema: Desc, init: MessageInitShape<Desc>): Case {
  return invalid(title, schema, init);
}

function invalid<Desc extends DescMessage>(
  title: string,
  schema: Desc,
  init: MessageInitShape<Desc>,
  ...expected: string[]
): Case {
  return { title: `${schema.name}: ${title}`, refused: () => refusedFields(schema, init), expected };
}

type StreamMessage = NonNullable<MessageInitShape<typeof ConnectRequestSchema>['message']>;

function validFact(title: string, message: StreamMessage): Case {
  return valid(title, ConnectRequestSchema, { sequence: 1n, message });
}

function invalidFact(title: string, message: StreamMessage, ...expected: string[]): Case {
  return invalid(title, ConnectRequestSchema, { sequence: 1n, message }, ...expected);
}

function run(cases: Case[]) {
  test.each(cases)('$title', ({ refused, expected }) => {
    expect(refused()).toEqual(expected);
  });
}

function numberValue(value: number): Value {
  return create(ValueSchema, { kind: { case: 'numberValue', value } });
}

function nested(depth: number): Value {
  let value = numberValue(1);
  for (let i = 0; i < depth; i++) {
    value = create(ValueSchema, { kind: { case: 'listValue', value: { values: [value] } } });
  }
  return value;
}

const assignmentId = '0190d3a4-7a7b-7c3e-9c1f-5a8e2b7d4f10';
const step = { action: 'train' };
const what = { case: 'step', value: step } as const;
const negative = { nanos: -1 };
const zero = {};
const UNKNOWN_ENUM_VALUE = 99 as never;

test('the vendored rules are those the validator evaluates', () => {
  expect(toBinary(FileDescriptorProtoSchema, vendored.proto)).toEqual(
    toBinary(FileDescriptorProtoSchema, evaluated.proto),
  );
});

describe("a worker's messages", () => {
  run([
    valid('without a kind is left to the session to refuse', ConnectRequestSchema, { sequence: 1n }),
    valid('no sequence is left to the session to judge', ConnectRequestSchema, {
      message: { case: 'stepAccepted', value: { assignmentId } },
    }),
    validFact('hello of a default worker', { case: 'hello', value: {} }),
    validFact('heartbeat without a time', { case: 'heartbeat', value: {} }),
    validFact('accepted, with an id of another form', { case: 'stepAccepted', value: { assignmentId: 'a-1' } }),
    invalidFact('accepted without an id', { case: 'stepAccepted', value: {} }, 'step_accepted.assignment_id'),
    invalidFact(
      'accepted with a huge id',
      { case: 'stepAccepted', value: { assignmentId: 'x'.repeat(129) } },
      'step_accepted.assignment_id',
    ),
    validFact('returned for a reason of a newer client', {
      case: 'stepReturned',
      value: { assignmentId, reason: UNKNOWN_ENUM_VALUE },
    }),
    invalidFact('returned without an id', { case: 'stepReturned', value: {} }, 'step_returned.assignment_id'),
    ...[0, 0.5, 1].map((fraction) =>
      validFact(`progress ${fraction}`, { case: 'stepProgressed', value: { assignmentId, fraction } }),
    ),
    ...[-0.1, 1.1, Number.NaN, Number.POSITIVE_INFINITY].map((fraction) =>
      invalidFact(
        `progress ${fraction}`,
        { case: 'stepProgressed', value: { assignmentId, fraction } },
        'step_progressed.fraction',
      ),
    ),
    validFact('log with a level of a newer client', {
      case: 'stepLogged',
      value: { assignmentId, firstLineNumber: 1n, lines: [{ text: 'x', level: UNKNOWN_ENUM_VALUE }] },
    }),
    validFact('log line over the limit, which is cut', {
      case: 'stepLogged',
      value: { assignmentId, firstLineNumber: 1n, lines: [{ text: 'x'.repeat(100_000) }] },
    }),
    invalidFact(
      'log with line number 0',
      { case: 'stepLogged', value: { assignmentId, lines: [{ text: 'x' }] } },
      'step_logged.first_line_number',
    ),
    invalidFact(
      'log without lines',
      { case: 'stepLogged', value: { assignmentId, firstLineNumber: 1n } },
      'step_logged.lines',
    ),
    validFact('success without an output', { case: 'stepSucceeded', value: { assignmentId } }),
    validFact('success with a large output', {
      case: 'stepSucceeded',
      value: { assignmentId, outputJson: JSON.stringify('x'.repeat(5_000_000)) },
    }),
    invalidFact('success without an id', { case: 'stepSucceeded', value: {} }, 'step_succeeded.assignment_id'),
    validFact('failure without an error', { case: 'stepFailed', value: { assignmentId } }),
    invalidFact(
      'failure with a huge reason',
      { case: 'stepFailed', value: { assignmentId, error: { reason: 'X'.repeat(257) } } },
      'step_failed.error.reason',
    ),
    invalidFact('cancelled without an id', { case: 'stepCancelled', value: {} }, 'step_cancelled.assignment_id'),
    invalidFact('invalid input without an id', { case: 'inputInvalid', value: {} }, 'input_invalid.assignment_id'),
    validFact('no slots left', { case: 'slotsChanged', value: { slots: 0 } }),
    invalidFact(
      'more slots than any worker has',
      { case: 'slotsChanged', value: { slots: 1_000_001 } },
      'slots_changed.slots',
    ),
    validFact('labels, whose limits are configured', {
      case: 'upsertLabels',
      value: { labels: { a: 1, b: 'x', c: null, [`k${'x'.repeat(500)}`]: Number.NaN } },
    }),
    validFact('goodbye', { case: 'goodbye', value: {} }),
  ]);
});

describe('hello', () => {
  run([
    valid('all fields', HelloSchema, {
      name: 'gpu-1',
      tags: ['gpu'],
      labels: { memory: 128 },
      actions: ['train'],
      slots: 2,
      devices: { gpuIds: ['0', '1'], cpuSlots: 4 },
      nickname: 'alice',
      sdk: { name: 'x', version: '1', language: 'node' },
      resume: { sessionId: 's', heldAssignmentIds: [assignmentId] },
    }),
    invalid('an unnamed action', HelloSchema, { actions: ['train', ''] }, 'actions[1]'),
    invalid('an unnamed GPU', HelloSchema, { devices: { gpuIds: [''] } }, 'devices.gpu_ids[0]'),
    invalid('resume without a session', HelloSchema, { resume: {} }, 'resume.session_id'),
    invalid(
      'resume with an empty assignment',
      HelloSchema,
      { resume: { sessionId: 's', heldAssignmentIds: [assignmentId, ''] } },
      'resume.held_assignment_ids[1]',
    ),
    invalid('more tags than any limit allows', HelloSchema, { tags: Array(4097).fill('t') }, 'tags'),
  ]);
});

describe('scheduling', () => {
  const label = { key: 'memory', value: numberValue(256), comparator: Comparator.GREATER_THAN };
  run([
    valid('a step alone', ScheduleRunRequestSchema, { what }),
    valid('a workflow, all fields', ScheduleRunRequestSchema, {
      what: { case: 'workflow', value: 'nightly' },
      workflowVersion: 1,
      input: nested(64),
      runsOn: ['gpu'],
      desiredLabels: [label],
      scheduleTimeout: zero,
      executionTimeout: { seconds: 60n },
      concurrency: { key: 'k', limit: 1 },
      metadata: { owner: 'alice' },
      requestId: 'r',
    }),
    invalid('nothing to run', ScheduleRunRequestSchema, {}, 'what'),
    invalid('a nameless workflow', ScheduleRunRequestSchema, { what: { case: 'workflow', value: '' } }, 'workflow'),
    invalid(
      'a version below 1',
      ScheduleRunRequestSchema,
      { what: { case: 'workflow', value: 'w' }, workflowVersion: 0 },
      'workflow_version',
    ),
    invalid('a step without an action', ScheduleRunRequestSchema, { what: { case: 'step', value: {} } }, 'step.action'),
    ...(['scheduleTimeout', 'executionTimeout'] as const).map((field) =>
      invalid(
        `negative ${field}`,
        ScheduleRunRequestSchema,
        { what, [field]: negative },
        field === 'scheduleTimeout' ? 'schedule_timeout' : 'execution_timeout',
      ),
    ),
    invalid(
      'negative durations of a step',
      ScheduleRunRequestSchema,
      {
        what: {
          case: 'step',
          value: { ...step, progressTimeout: negative, reconnectGrace: negative, retry: { initialBackoff: negative } },
        },
      },
      'step.progress_timeout',
      'step.reconnect_grace',
      'step.retry.initial_backoff',
    ),
    valid('unlimited worker losses', ScheduleRunRequestSchema, {
      what: { case: 'step', value: { ...step, retry: { maxAttempts: 3, backoffFactor: 1.5, maxWorkerLosses: -1 } } },
    }),
    invalid(
      'a senseless retry',
      ScheduleRunRequestSchema,
      {
        what: {
          case: 'step',
          value: { ...step, retry: { maxAttempts: 0, backoffFactor: Number.NaN, maxWorkerLosses: -2 } },
        },
      },
      'step.retry.max_attempts',
      'step.retry.backoff_factor',
      'step.retry.max_worker_losses',
    ),
    invalid(
      'an unknown comparator',
      ScheduleRunRequestSchema,
      { what, desiredLabels: [label, { ...label, comparator: UNKNOWN_ENUM_VALUE }] },
      'desired_labels[1].comparator',
    ),
    invalid(
      'a label without a key',
      ScheduleRunRequestSchema,
      { what, desiredLabels: [{ ...label, key: '' }] },
      'desired_labels[0].key',
    ),
    invalid(
      'unknown priority, sticky and device',
      ScheduleRunRequestSchema,
      {
        what: { case: 'step', value: { ...step, device: UNKNOWN_ENUM_VALUE } },
        priority: UNKNOWN_ENUM_VALUE,
        sticky: UNKNOWN_ENUM_VALUE,
      },
      'step.device',
      'priority',
      'sticky',
    ),
    invalid('concurrency without a key', ScheduleRunRequestSchema, { what, concurrency: {} }, 'concurrency.key'),
    invalid(
      'concurrency of none',
      ScheduleRunRequestSchema,
      { what, concurrency: { key: 'k', limit: 0 } },
      'concurrency.limit',
    ),
    invalid('an empty dependency', ScheduleRunRequestSchema, { what, dependsOnRunIds: [''] }, 'depends_on_run_ids[0]'),
    invalid('metadata without a key', ScheduleRunRequestSchema, { what, metadata: { '': 'x' } }, 'metadata[""]'),
    valid('1000 runs', ScheduleRunsRequestSchema, { runs: Array(1000).fill({ what }) }),
    invalid('no runs', ScheduleRunsRequestSchema, {}, 'runs'),
    invalid('1001 runs', ScheduleRunsRequestSchema, { runs: Array(1001).fill({ what }) }, 'runs'),
    invalid('one bad run among good ones', ScheduleRunsRequestSchema, { runs: [{ what }, {}] }, 'runs[1].what'),
    valid('a workflow', PutWorkflowRequestSchema, { name: 'w', steps: [step] }),
    invalid('a workflow of nothing', PutWorkflowRequestSchema, { name: 'w' }, 'steps'),
    invalid('a nameless workflow', PutWorkflowRequestSchema, { steps: [step] }, 'name'),
  ]);
});

describe('other requests', () => {
  run([
    valid('a generated name', RegisterWorkerRequestSchema, {}),
    valid('by id', GetWorkerRequestSchema, { workerId: 'w' }),
    valid('by name', GetWorkerRequestSchema, { name: 'gpu-1' }),
    invalid('neither id nor name', GetWorkerRequestSchema, {}, ''),
    invalid('both id and name', GetWorkerRequestSchema, { workerId: 'w', name: 'gpu-1' }, ''),
    valid('by id', GetRunRequestSchema, { runId: 'r' }),
    valid('by workflow and number', GetRunRequestSchema, { workflow: 'w', number: 3n }),
    invalid('neither id nor workflow', GetRunRequestSchema, { number: 3n }, ''),
    valid('the newest version', GetWorkflowRequestSchema, { name: 'w' }),
    invalid('a version below 1', GetWorkflowRequestSchema, { name: 'w', version: 0 }, 'version'),
    valid('a page above the maximum, which is clamped', ListRunsRequestSchema, { pageSize: 4_294_967_295 }),
    valid('a state', ListRunsRequestSchema, { states: [RunState.FAILED] }),
    invalid('no known state', ListRunsRequestSchema, { states: [RunState.FAILED, UNKNOWN_ENUM_VALUE] }, 'states[1]'),
    invalid('no state', ListWorkersRequestSchema, { states: [WorkerState.UNSPECIFIED] }, 'states[0]'),
    invalid('a huge page token', ListWorkersRequestSchema, { pageToken: 'x'.repeat(4097) }, 'page_token'),
    valid('an edit', UpdateRunRequestSchema, { runId: 'r', runsOn: {} }),
    invalid('an edit of nothing', UpdateRunRequestSchema, {}, 'run_id'),
    invalid('an unknown mode', CancelRunRequestSchema, { runId: 'r', mode: UNKNOWN_ENUM_VALUE }, 'mode'),
    valid('keeping runs for ever', PutNamespaceRequestSchema, { namespace: { name: 'n', retention: zero } }),
    invalid('no namespace', PutNamespaceRequestSchema, {}, 'namespace'),
    invalid(
      'keeping runs for less than nothing',
      PutNamespaceRequestSchema,
      { namespace: { name: 'n', retention: negative } },
      'namespace.retention',
    ),
  ]);
});
