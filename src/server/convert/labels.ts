/** Labels and desired labels between the wire and the rules. */
import { fromBinary } from '@bufbuild/protobuf';
import { BinaryReader, WireType } from '@bufbuild/protobuf/wire';
import { EmptySchema, StructSchema, type Value } from '@bufbuild/protobuf/wkt';
import {
  Comparator as WireComparator,
  type DesiredLabel as WireDesiredLabel,
} from '../../../gen/yardmaster/v1/run_pb.ts';
import type {
  Comparator,
  DesiredLabel,
  DesiredLabelDraft,
  LabelPatch,
  Labels,
  LabelValue,
} from '../../domain/labels.ts';
import { parseDesiredLabel } from '../../domain/labels.ts';
import type { Limits } from '../../domain/limits.ts';
import { isRefusal, type Refusal, refuseField, refuseLimit } from '../../domain/refusal.ts';

const COMPARATORS: Readonly<Record<number, Comparator>> = {
  [WireComparator.UNSPECIFIED]: 'EQUAL',
  [WireComparator.EQUAL]: 'EQUAL',
  [WireComparator.NOT_EQUAL]: 'NOT_EQUAL',
  [WireComparator.GREATER_THAN]: 'GREATER_THAN',
  [WireComparator.GREATER_THAN_OR_EQUAL]: 'GREATER_THAN_OR_EQUAL',
  [WireComparator.LESS_THAN]: 'LESS_THAN',
  [WireComparator.LESS_THAN_OR_EQUAL]: 'LESS_THAN_OR_EQUAL',
  [WireComparator.IN]: 'IN',
  [WireComparator.NOT_IN]: 'NOT_IN',
  [WireComparator.EXISTS]: 'EXISTS',
  [WireComparator.NOT_EXISTS]: 'NOT_EXISTS',
};

export function readDesiredLabels(
  field: string,
  labels: readonly WireDesiredLabel[],
  limits: Limits,
): DesiredLabel[] | Refusal {
  if (labels.length > limits.desiredLabelsMax)
    return refuseLimit(field, labels.length, limits.desiredLabelsMax, 'desired labels');
  const read: DesiredLabel[] = [];
  for (const [index, label] of labels.entries()) {
    const draft = draftOf(label);
    if (draft === null)
      return refuseField('INVALID_LABEL', `${field}[${index}].comparator`, `${label.comparator} is not a comparator`);
    const desired = parseDesiredLabel(`${field}[${index}]`, draft, limits);
    if (isRefusal(desired)) return desired;
    read.push(desired);
  }
  return read;
}

function draftOf(label: WireDesiredLabel): DesiredLabelDraft | null {
  const comparator = COMPARATORS[label.comparator];
  if (comparator === undefined) return null;
  return {
    key: label.key,
    comparator,
    ...(label.value ? { value: labelValue(label.value) } : {}),
    values: label.values.map(labelValue),
    ...(label.required === undefined ? {} : { required: label.required }),
    ...(label.weight === undefined ? {} : { weight: label.weight }),
  };
}

/** null: neither a string nor a number. */
function labelValue(value: Value): LabelValue | null {
  if (value.kind.case === 'stringValue' || value.kind.case === 'numberValue') return value.kind.value;
  return null;
}

/** Where a labels Struct sits in a ConnectRequest, as field numbers. */
export const HELLO_LABELS = [2, 4] as const;
export const UPSERT_LABELS = [4, 1] as const;

/**
 * The labels as they were sent. The generated type turns a Struct into a plain object, in which a value without a
 * kind becomes null (which would remove the label) and a key `__proto__` vanishes; so they are read from the bytes.
 */
export function readLabelPatch(
  field: string,
  bytes: Uint8Array,
  path: readonly [number, number],
): LabelPatch | Refusal {
  const { fields } = fromBinary(StructSchema, embedded(embedded(bytes, path[0]), path[1]));
  if (Object.getPrototypeOf(fields) !== Object.prototype)
    return refuseField('INVALID_LABEL', `${field}["__proto__"]`, 'is not a usable key');
  const patch = new Map<string, LabelValue | null>();
  for (const [key, value] of Object.entries(fields)) {
    if (value.kind.case === 'nullValue') {
      patch.set(key, null);
      continue;
    }
    const read = labelValue(value);
    if (read === null) {
      return refuseField(
        'INVALID_LABEL',
        `${field}["${key.slice(0, 40)}"]`,
        'must be a string, a finite number, or null to remove it',
      );
    }
    patch.set(key, read);
  }
  return patch;
}

/** The bytes of a message field; several occurrences are merged by concatenation, as protobuf defines it. */
function embedded(bytes: Uint8Array, fieldNumber: number): Uint8Array {
  const unknown = fromBinary(EmptySchema, bytes).$unknown ?? [];
  const parts = unknown
    .filter((field) => field.no === fieldNumber && field.wireType === WireType.LengthDelimited)
    .map((field) => new BinaryReader(field.data).bytes());
  return parts.length === 1 ? (parts[0] as Uint8Array) : Buffer.concat(parts);
}

export function writeLabels(labels: Labels): Record<string, LabelValue> {
  return Object.fromEntries(labels);
}
