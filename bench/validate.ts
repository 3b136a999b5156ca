// What decoding and checking cost per message, in microseconds: `npx tsx bench/validate.ts [milliseconds per measurement]`.
// Every message passes both once, so their sum bounds what one core can take in.
import {
  create,
  type DescMessage,
  fromBinary,
  type MessageInitShape,
  type MessageShape,
  toBinary,
} from '@bufbuild/protobuf';
import { timestampNow, ValueSchema } from '@bufbuild/protobuf/wkt';
import { createValidator } from '@bufbuild/protovalidate';
import { ScheduleRunRequestSchema } from '../gen/yardmaster/v1/admin_service_pb.ts';
import { Comparator } from '../gen/yardmaster/v1/run_pb.ts';
import { ConnectRequestSchema, LogLevel } from '../gen/yardmaster/v1/worker_service_pb.ts';

const MEASURE_MS = Number(process.argv[2] ?? 500);
const WARM_UP_MS = MEASURE_MS / 2;
const ROUNDS = 5;
const BATCH = 200;

const assignmentId = '0190d3a4-7a7b-7c3e-9c1f-5a8e2b7d4f10';
const validator = createValidator();

interface Case {
  name: string;
  bytes: Uint8Array;
  decode: () => unknown;
  validate: () => { kind: string };
}

function subject<Desc extends DescMessage>(name: string, schema: Desc, message: MessageShape<Desc>): Case {
  const bytes = toBinary(schema, message);
  return {
    name,
    bytes,
    decode: () => fromBinary(schema, bytes),
    validate: () => validator.validate(schema, message),
  };
}

type StreamMessage = NonNullable<MessageInitShape<typeof ConnectRequestSchema>['message']>;

function streamMessage(name: string, message: StreamMessage): Case {
  return subject(name, ConnectRequestSchema, create(ConnectRequestSchema, { sequence: 7n, message }));
}

function logLine(index: number) {
  const text = `epoch ${index}: loss 0.1234, accuracy 0.987, 12.3 samples a second`;
  return { time: timestampNow(), level: LogLevel.INFO, text };
}

function cases(): Case[] {
  const lines = Array.from({ length: 100 }, (_, i) => logLine(i));
  const labels = Object.fromEntries(
    Array.from({ length: 8 }, (_, i) => [`label-${i}`, i % 2 === 0 ? i * 100 : `value-${i}`]),
  );
  const progress = { assignmentId, text: 'epoch 3 of 10', fraction: 0.3, phase: 'train' };
  const outputJson = JSON.stringify({ text: 'x'.repeat(1013) });
  return [
    streamMessage('StepAccepted', { case: 'stepAccepted', value: { assignmentId } }),
    streamMessage('StepProgressed', { case: 'stepProgressed', value: progress }),
    streamMessage('StepSucceeded, 1 KiB', { case: 'stepSucceeded', value: { assignmentId, outputJson } }),
    streamMessage('UpsertLabels, 8 labels', { case: 'upsertLabels', value: { labels } }),
    streamMessage('StepLogged, 100 lines', { case: 'stepLogged', value: { assignmentId, firstLineNumber: 1n, lines } }),
    subject('ScheduleRun', ScheduleRunRequestSchema, scheduleRun(false)),
    subject('ScheduleRun, 2 durations', ScheduleRunRequestSchema, scheduleRun(true)),
  ];
}

function scheduleRun(withDurations: boolean) {
  const timeout = { seconds: 60n };
  return create(ScheduleRunRequestSchema, {
    what: {
      case: 'step',
      value: {
        action: 'train',
        desiredLabels: [
          {
            key: 'memory',
            value: create(ValueSchema, { kind: { case: 'numberValue', value: 256 } }),
            comparator: Comparator.GREATER_THAN,
          },
        ],
        ...(withDurations ? { executionTimeout: timeout } : {}),
      },
    },
    inputJson: JSON.stringify({ file: 's3://a.tar' }),
    runsOn: ['gpu-A100'],
    requestId: assignmentId,
    ...(withDurations ? { scheduleTimeout: timeout } : {}),
  });
}

/** Runs for about the given time; microseconds per call. */
function microseconds(call: () => unknown, forMs: number): number {
  const start = performance.now();
  let calls = 0;
  let elapsed = 0;
  while (elapsed < forMs) {
    for (let i = 0; i < BATCH; i++) call();
    calls += BATCH;
    elapsed = performance.now() - start;
  }
  return (elapsed * 1000) / calls;
}

/** The best of several rounds: on a shared machine the least disturbed one says most about the code. */
function measure(call: () => unknown): number {
  microseconds(call, WARM_UP_MS);
  return Math.min(...Array.from({ length: ROUNDS }, () => microseconds(call, MEASURE_MS / ROUNDS)));
}

console.log(`node ${process.version}; best of ${ROUNDS} rounds; microseconds per message`);
console.log(`${'message'.padEnd(26)}${'bytes'.padStart(8)}${'fromBinary'.padStart(12)}${'validate'.padStart(12)}`);
for (const { name, bytes, decode, validate } of cases()) {
  if (validate().kind !== 'valid') throw new Error(`${name} is not valid`);
  const cells = [measure(decode), measure(validate)].map((us) => us.toFixed(2).padStart(12));
  console.log(`${name.padEnd(26)}${String(bytes.length).padStart(8)}${cells.join('')}`);
}
