// What the protobuf runtime does with values JSON does not have. The conversion has to refuse these itself, because decoding takes them;
// when one of these tests fails after an update, look there.
import { create, fromBinary, toBinary } from '@bufbuild/protobuf';
import { BinaryReader, BinaryWriter, WireType } from '@bufbuild/protobuf/wire';
import { EmptySchema, type Struct, StructSchema, type Value, ValueSchema } from '@bufbuild/protobuf/wkt';
import { describe, expect, test } from 'vitest';
import { ScheduleRunRequestSchema } from '../../gen/yardmaster/v1/admin_service_pb.ts';
import { ConnectRequestSchema } from '../../gen/yardmaster/v1/worker_service_pb.ts';

const UPSERT_LABELS = ConnectRequestSchema.field.upsertLabels.number;
const LABELS = 1;

function value(kind: Value['kind']): Value {
  return create(ValueSchema, { kind });
}

function embed(fieldNumber: number, bytes: Uint8Array): Uint8Array {
  return new BinaryWriter().tag(fieldNumber, WireType.LengthDelimited).bytes(bytes).finish();
}

/** An UpsertLabels message on the wire with one label, written through Value so that nothing checks it. */
function upsert(key: string, label: Value): Uint8Array {
  const entry = new BinaryWriter().tag(1, WireType.LengthDelimited).string(key).finish();
  const encoded = embed(2, toBinary(ValueSchema, label));
  const struct = embed(1, Buffer.concat([entry, encoded]));
  return embed(UPSERT_LABELS, embed(LABELS, struct));
}

function decodedLabels(bytes: Uint8Array) {
  const { message } = fromBinary(ConnectRequestSchema, bytes);
  return message.case === 'upsertLabels' ? message.value.labels : undefined;
}

/** The bytes of an embedded message, undecoded. */
function embedded(bytes: Uint8Array, fieldNumber: number): Uint8Array {
  const fields = fromBinary(EmptySchema, bytes).$unknown ?? [];
  const parts = fields
    .filter((field) => field.no === fieldNumber && field.wireType === WireType.LengthDelimited)
    .map((field) => new BinaryReader(field.data).bytes());
  return Buffer.concat(parts);
}

function labelsAsSent(bytes: Uint8Array): Struct {
  return fromBinary(StructSchema, embedded(embedded(bytes, UPSERT_LABELS), LABELS));
}

function nestedLists(depth: number): Value {
  let inner = value({ case: 'numberValue', value: 1 });
  for (let i = 0; i < depth; i++) {
    inner = value({ case: 'listValue', value: { $typeName: 'google.protobuf.ListValue', values: [inner] } });
  }
  return inner;
}

describe('a Struct field, decoded as a plain object', () => {
  test.each([Number.NaN, Number.POSITIVE_INFINITY, Number.NEGATIVE_INFINITY])('keeps %s', (number) => {
    expect(decodedLabels(upsert('a', value({ case: 'numberValue', value: number })))).toEqual({ a: number });
  });

  test('turns a value without a kind into null, which would remove the label', () => {
    const bytes = upsert('a', value({ case: undefined }));
    expect(decodedLabels(bytes)).toEqual({ a: null });
    expect(labelsAsSent(bytes).fields.a?.kind).toEqual({ case: undefined });
  });

  test('tells a null that was sent only when read as a Struct message', () => {
    const bytes = upsert('a', value({ case: 'nullValue', value: 0 }));
    expect(decodedLabels(bytes)).toEqual({ a: null });
    expect(labelsAsSent(bytes).fields.a?.kind).toEqual({ case: 'nullValue', value: 0 });
  });

  test('loses the key __proto__ without a word; as a Struct message it shows in the prototype', () => {
    const bytes = upsert('__proto__', value({ case: 'stringValue', value: 'x' }));
    expect(Object.keys(decodedLabels(bytes) ?? {})).toEqual([]);
    expect(Object.getPrototypeOf(labelsAsSent(bytes).fields)).not.toBe(Object.prototype);
  });
});

describe('a Value field', () => {
  test.each([
    value({ case: undefined }),
    value({ case: 'numberValue', value: Number.NaN }),
    value({ case: 'numberValue', value: Number.POSITIVE_INFINITY }),
  ])('is decoded as it was sent: $kind', (sent) => {
    const bytes = embed(ScheduleRunRequestSchema.field.input.number, toBinary(ValueSchema, sent));
    expect(fromBinary(ScheduleRunRequestSchema, bytes).input).toEqual(sent);
  });

  test('nested 64 deep needs more than the default recursion limit: each list or object takes two levels', () => {
    const bytes = embed(ScheduleRunRequestSchema.field.input.number, toBinary(ValueSchema, nestedLists(64)));
    expect(() => fromBinary(ScheduleRunRequestSchema, bytes)).toThrow(/maximum recursion depth of 100/);
    expect(fromBinary(ScheduleRunRequestSchema, bytes, { recursionLimit: 1000 }).input).toEqual(nestedLists(64));
  });
});
