/** The quick way to bytes and back must be the library's in all that can be told from outside, and must not be left out for what is usual. */
import {
  create,
  type DescField,
  type DescMessage,
  fromBinary,
  type Message,
  type MessageInitShape,
  ScalarType,
  toBinary,
} from '@bufbuild/protobuf';
import { isWrapperDesc } from '@bufbuild/protobuf/wkt';
import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { ErrorInfoSchema } from '../../gen/google/rpc/error_details_pb.ts';
import {
  GetStatsResponseSchema,
  ListRunsRequestSchema,
  PutWorkflowRequestSchema,
  ScheduleRunRequestSchema,
  ScheduleRunResponseSchema,
  ScheduleRunsRequestSchema,
  WatchWorkersResponseSchema,
} from '../../gen/yardmaster/v1/admin_service_pb.ts';
import {
  ConnectRequestSchema,
  ConnectResponseSchema,
  GetQueueDepthResponseSchema,
} from '../../gen/yardmaster/v1/worker_service_pb.ts';
import { fromBytes, readPlain } from '../../src/lib/wire/from_bytes.ts';
import { toBytes, writePlain } from '../../src/lib/wire/to_bytes.ts';

type Init = Record<string, unknown>;

/** Between them they have every message of the contract that is sent often, and fields of every kind. */
const SCHEMAS: readonly DescMessage[] = [
  ScheduleRunRequestSchema,
  ScheduleRunsRequestSchema,
  ScheduleRunResponseSchema,
  ListRunsRequestSchema,
  PutWorkflowRequestSchema,
  GetQueueDepthResponseSchema,
  GetStatsResponseSchema,
  WatchWorkersResponseSchema,
  ConnectRequestSchema,
  ConnectResponseSchema,
  ErrorInfoSchema,
];

const text = fc.oneof(
  fc.constantFrom('', 'a', 'submit', 'é', '🚂', '\ud800', '\ufeff', 'a\u0000b', 'default'),
  fc
    .tuple(fc.constantFrom('a', 'é', '🚂'), fc.constantFrom(14, 41, 42, 43, 63, 64, 127, 128, 200, 20_000))
    .map(([character, length]) => character.repeat(length)),
);
const int32 = fc.constantFrom(0, 1, 2, 127, 128, 300, 2 ** 31 - 1, -1, -(2 ** 31));
const uint32 = fc.constantFrom(0, 1, 127, 128, 16_384, 2 ** 31, 2 ** 32 - 1);
const uint64 = fc.constantFrom(0n, 1n, 127n, 2n ** 32n, 2n ** 53n - 1n, 2n ** 53n, 2n ** 63n - 1n);
const double = fc.constantFrom(0, -0, 1, 0.5, -3.25, Number.NaN, Number.POSITIVE_INFINITY, Number.MIN_VALUE);

/** Anything of the field's type, and now and then what is none. */
function scalar(type: ScalarType): fc.Arbitrary<unknown> {
  switch (type) {
    case ScalarType.STRING:
      return text;
    case ScalarType.BOOL:
      return fc.boolean();
    case ScalarType.BYTES:
      return fc.uint8Array({ maxLength: 3 });
    case ScalarType.DOUBLE:
    case ScalarType.FLOAT:
      return double;
    case ScalarType.UINT32:
      return uint32;
    case ScalarType.UINT64:
      return uint64;
    case ScalarType.INT64:
      return fc.oneof(uint64, fc.constantFrom(-1n, -(2n ** 63n)));
    default:
      return int32;
  }
}

function one(field: DescField, depth: number): fc.Arbitrary<unknown> {
  if (field.message !== undefined) {
    if (isWrapperDesc(field.message)) return scalar((field.message.fields[0] as { scalar: ScalarType }).scalar);
    if (field.message.typeName === 'google.protobuf.Struct' && field.parent.typeName !== 'google.protobuf.Value')
      return fc.constantFrom({}, { a: 1 }, { a: [null, { b: 'c' }] });
    return init(field.message, depth - 1);
  }
  return field.enum === undefined ? scalar(field.scalar as ScalarType) : fc.constantFrom(0, 1, 2, 99);
}

function value(field: DescField, depth: number): fc.Arbitrary<unknown> {
  if (field.fieldKind === 'list') return fc.array(one(field, depth), { maxLength: 2 });
  if (field.fieldKind === 'map')
    return fc.dictionary(fc.constantFrom('', 'a', '__proto__', 'key é'), one(field, depth), { maxKeys: 2 });
  return one(field, depth);
}

/** Shapes to make messages from, or the messages themselves. */
function init(schema: DescMessage, depth: number): fc.Arbitrary<Init> {
  const shapes: Record<string, fc.Arbitrary<unknown>> = {};
  for (const member of depth <= 0 ? [] : schema.members) {
    if (member.kind === 'field') shapes[member.localName] = value(member, depth);
    else
      shapes[member.localName] = fc.oneof(
        ...member.fields.map((field) => fc.record({ case: fc.constant(field.localName), value: one(field, depth) })),
        fc.constant({ case: undefined }),
      );
  }
  const shape = fc.record(shapes, { requiredKeys: [] }) as fc.Arbitrary<Init>;
  return fc
    .tuple(shape, fc.boolean())
    .map(([given, made]) => (made ? (create(schema, given as never) as never) : given));
}

/** What comes of it, or what is said instead. */
function outcome(attempt: () => unknown): unknown {
  try {
    return { is: attempt() };
  } catch (error) {
    return { thrown: (error as Error).message };
  }
}

const libraryBytes = (schema: DescMessage, given: MessageInitShape<DescMessage>) =>
  Buffer.from(toBinary(schema, create(schema, given)));

const BODY = {
  what: { case: 'step', value: { action: 'encode', desiredLabels: [{ key: 'gpu', weight: 3 }] } },
  inputJson: '{"file":"s3://a"}',
  scheduleTimeout: { seconds: 90n },
  metadata: { team: 'video' },
  runsOn: ['linux'],
  requestId: '0190c3a1-7b2e-7c11-9f00-3a2b1c0d9e8f',
} as const;

describe('messages to bytes and back', () => {
  it.each(SCHEMAS.map((schema) => [schema.name, schema] as const))('%s: as the library', (_, schema) => {
    fc.assert(
      fc.property(init(schema, 3), fc.nat(), fc.nat(255), fc.nat(), (given, place, byte, cut) => {
        const shape = given as MessageInitShape<DescMessage>;
        const expected = outcome(() => libraryBytes(schema, shape));
        expect(outcome(() => toBytes(schema, shape))).toStrictEqual(expected);
        const bytes = (expected as { is?: Buffer }).is;
        if (bytes === undefined) return;
        const spoilt = Buffer.from(bytes);
        if (bytes.length > 0) spoilt[place % bytes.length] = byte;
        for (const each of [bytes, new Uint8Array(bytes), spoilt, bytes.subarray(0, cut % (bytes.length + 1))])
          expect(outcome(() => fromBytes(schema, each))).toStrictEqual(outcome(() => fromBinary(schema, each)));
      }),
      { numRuns: 12 },
    );
  });

  it('reads hostile bytes as the library does', () => {
    fc.assert(
      fc.property(fc.uint8Array({ maxLength: 40 }), (bytes) => {
        const read = outcome(() => fromBytes(ScheduleRunRequestSchema, bytes));
        expect(read).toStrictEqual(outcome(() => fromBinary(ScheduleRunRequestSchema, bytes)));
      }),
      { numRuns: 1_000 },
    );
  });

  it('keeps what it does not know, and merges what comes twice', () => {
    const bytes = libraryBytes(ScheduleRunRequestSchema, BODY);
    const unknown = Buffer.concat([bytes, Buffer.from([0xfa, 0x7f, 1, 7])]);
    const read = fromBytes(ScheduleRunRequestSchema, unknown);
    expect(read.$unknown).toHaveLength(1);
    expect(toBytes(ScheduleRunRequestSchema, read)).toStrictEqual(unknown);
    const twice = Buffer.concat([bytes, bytes]);
    expect(fromBytes(ScheduleRunRequestSchema, twice)).toStrictEqual(fromBinary(ScheduleRunRequestSchema, twice));
  });

  it('refuses what is of another type as the library does', () => {
    for (const bad of [
      { inputJson: 5 },
      { priority: 'high' },
      { runsOn: [null] },
      { metadata: { a: 1 } },
      { runsOn: 'x' },
    ]) {
      const shape = { ...BODY, ...bad } as unknown as MessageInitShape<DescMessage>;
      const expected = outcome(() => libraryBytes(ScheduleRunRequestSchema, shape));
      expect(outcome(() => toBytes(ScheduleRunRequestSchema, shape))).toStrictEqual(expected);
    }
  });

  it('takes what is usual itself', () => {
    const run = {
      runId: BODY.requestId,
      state: 1,
      number: 7n,
      createTime: { seconds: 1_790_000_000n, nanos: 5_000_000 },
    };
    const usual: readonly (readonly [DescMessage, object])[] = [
      [ScheduleRunRequestSchema, BODY],
      [ScheduleRunsRequestSchema, { runs: Array(300).fill(BODY) }],
      [ScheduleRunResponseSchema, { run: { ...run, steps: [{ name: 'é', attempts: [{ number: 1 }] }] } }],
    ];
    for (const [schema, shape] of usual) {
      const bytes = writePlain(schema, shape as Message);
      expect(bytes).not.toBeNull();
      expect(readPlain(schema, bytes as Buffer)).toStrictEqual(create(schema, shape as Message));
    }
  });
});
