/** Desired labels for tests: short to write, and labels that no client library would let through, byte by byte. */
import { create, type MessageInitShape, toBinary } from '@bufbuild/protobuf';
import { BinaryWriter, WireType } from '@bufbuild/protobuf/wire';
import { StructSchema, type ValueSchema } from '@bufbuild/protobuf/wkt';
import { Comparator, type DesiredLabelSchema } from '../../gen/yardmaster/v1/run_pb.ts';

export type DesiredInit = MessageInitShape<typeof DesiredLabelSchema>;
type ValueInit = MessageInitShape<typeof ValueSchema>;

export function labelValue(value: string | number): ValueInit {
  return typeof value === 'string'
    ? { kind: { case: 'stringValue', value } }
    : { kind: { case: 'numberValue', value } };
}

/** One condition; a list stands for `values`, null for none. */
export function desired(
  key: string,
  comparator: keyof typeof Comparator,
  operand: string | number | readonly (string | number)[] | null,
): DesiredInit {
  const named = { key, comparator: Comparator[comparator] };
  if (operand === null) return named;
  if (typeof operand === 'object') return { ...named, values: operand.map(labelValue) };
  return { ...named, value: labelValue(operand) };
}

/** A preference: it ranks and never excludes. */
export function optional(key: string, weight?: number): DesiredInit {
  return { ...desired(key, 'EXISTS', null), required: false, ...(weight === undefined ? {} : { weight }) };
}

const UPSERT_LABELS_FIELD = 4;

/** upsert_labels with any Struct, also one that JSON cannot express. */
export function upsertBytes(sequence: number, fields: Record<string, ValueInit>): Uint8Array {
  const struct = toBinary(StructSchema, create(StructSchema, { fields } as MessageInitShape<typeof StructSchema>));
  const upsert = new BinaryWriter().tag(1, WireType.LengthDelimited).bytes(struct).finish();
  return new BinaryWriter()
    .tag(1, WireType.Varint)
    .uint64(sequence)
    .tag(UPSERT_LABELS_FIELD, WireType.LengthDelimited)
    .bytes(upsert)
    .finish();
}
