/**
 * Messages to bytes, at a tenth of the library's price: that one looks at every field of every message by reflection,
 * which took 25 µs for the answer to one submission. Here a type of message becomes a list of functions, once. What is not
 * plain (unknown fields, a value of another type than its field's, types with a shape of their own) is the library's to
 * write, or to refuse: the bytes are always those that it would have written.
 */
import {
  create,
  type DescField,
  type DescMessage,
  type MessageInitShape,
  ScalarType,
  toBinary,
} from '@bufbuild/protobuf';
import { WireType } from '@bufbuild/protobuf/wire';
import { Edition, FeatureSet_FieldPresence, isWrapperDesc } from '@bufbuild/protobuf/wkt';
import { begin, closeLength, finish, openLength, putBytes, putDouble, putText, putVarint } from './room.ts';

/** False: not plain, and what was put is void. */
type Write = (value: unknown) => boolean;
type Values = Readonly<Record<string, unknown>>;

const INT32_MAX = 0x7fff_ffff;
const UINT32_MAX = 0xffff_ffff;
const EXACT_MAX = BigInt(Number.MAX_SAFE_INTEGER);

/** The same bytes as `toBinary(schema, create(schema, message))`. */
export function toBytes<Desc extends DescMessage>(schema: Desc, message: MessageInitShape<Desc>): Buffer {
  const plain = writePlain(schema, message);
  if (plain !== null) return plain;
  const { buffer, byteOffset, byteLength } = toBinary(schema, create(schema, message));
  return Buffer.from(buffer, byteOffset, byteLength);
}

/** null: not plain. */
export function writePlain<Desc extends DescMessage>(schema: Desc, message: MessageInitShape<Desc>): Buffer | null {
  begin();
  return writeOf(schema)(message) ? finish() : null;
}

const NOT_PLAIN: Write = () => false;
const writes = new Map<DescMessage, Write>();

function writeOf(schema: DescMessage): Write {
  let write = writes.get(schema);
  if (write === undefined) {
    // A type that contains itself finds this one.
    writes.set(schema, (value) => (writes.get(schema) ?? NOT_PLAIN)(value));
    write = compile(schema);
    writes.set(schema, write);
  }
  return write;
}

function compile(schema: DescMessage): Write {
  if (schema.file.edition !== Edition.EDITION_PROTO3) return NOT_PLAIN;
  // In the order in which the library writes them.
  const fields = [...schema.fields].sort((a, b) => a.number - b.number).map(fieldWrite);
  return (message) => {
    if (typeof message !== 'object' || message === null || (message as Values).$unknown !== undefined) return false;
    for (const write of fields) if (!write(message)) return false;
    return true;
  };
}

/** Of the message that has the field. */
function fieldWrite(field: DescField): Write {
  const { localName, oneof } = field;
  const write = valueWrite(field);
  if (oneof !== undefined) {
    const group = oneof.localName;
    return (message) => {
      const set = (message as Values)[group] as { readonly case?: string; readonly value?: unknown } | undefined | null;
      return set === undefined || (set !== null && (set.case !== localName || write(set.value)));
    };
  }
  const zero = field.presence === FeatureSet_FieldPresence.IMPLICIT ? zeroOf(field) : undefined;
  const isDouble = field.fieldKind === 'scalar' && field.scalar === ScalarType.DOUBLE;
  return (message) => {
    const value = (message as Values)[localName];
    // Of a double the negative zero says something.
    return value === undefined || (value === zero && !(isDouble && Object.is(value, -0))) || write(value);
  };
}

/** What is left out because it says nothing. */
function zeroOf(field: DescField): unknown {
  if (field.fieldKind === 'enum') return 0;
  if (field.fieldKind !== 'scalar') return undefined;
  switch (field.scalar) {
    case ScalarType.STRING:
      return '';
    case ScalarType.BOOL:
      return false;
    case ScalarType.INT64:
    case ScalarType.UINT64:
      return 0n;
    default:
      return 0;
  }
}

function valueWrite(field: DescField): Write {
  switch (field.fieldKind) {
    case 'message':
      return messageWrite(field.number, field.message);
    case 'list':
      return listWrite(field);
    case 'map':
      return field.mapKind === 'scalar' && field.scalar === ScalarType.STRING && field.mapKey === ScalarType.STRING
        ? mapWrite(field.number)
        : EMPTY_MAP;
    case 'enum':
      return scalarWrite(field.number, ScalarType.INT32);
    case 'scalar':
      return scalarWrite(field.number, field.scalar);
  }
}

function messageWrite(number: number, schema: DescMessage): Write {
  // As a field these are held as something else than a message.
  if (isWrapperDesc(schema) || schema.typeName === 'google.protobuf.Struct') return NOT_PLAIN;
  const tag = tagOf(number, WireType.LengthDelimited);
  const write = writeOf(schema);
  return (value) => {
    putVarint(tag);
    const from = openLength();
    if (!write(value)) return false;
    closeLength(from);
    return true;
  };
}

function listWrite(field: DescField & { fieldKind: 'list' }): Write {
  if (field.listKind === 'message') return eachWrite(messageWrite(field.number, field.message));
  // Numbers share one length, and the contract has no list of them where a microsecond counts.
  return field.listKind === 'scalar' && field.scalar === ScalarType.STRING
    ? eachWrite(scalarWrite(field.number, ScalarType.STRING))
    : EMPTY_LIST;
}

const EMPTY_LIST: Write = (value) => Array.isArray(value) && value.length === 0;
const EMPTY_MAP: Write = (value) => typeof value === 'object' && value !== null && Object.keys(value).length === 0;

function eachWrite(write: Write): Write {
  return (value) => {
    if (!Array.isArray(value)) return false;
    for (const item of value) if (!write(item)) return false;
    return true;
  };
}

const KEY_TAG = tagOf(1, WireType.LengthDelimited);
const VALUE_TAG = tagOf(2, WireType.LengthDelimited);

function mapWrite(number: number): Write {
  const tag = tagOf(number, WireType.LengthDelimited);
  return (value) => {
    if (typeof value !== 'object' || value === null) return false;
    for (const [key, text] of Object.entries(value)) {
      if (typeof text !== 'string') return false;
      putVarint(tag);
      const from = openLength();
      putVarint(KEY_TAG);
      putText(key);
      putVarint(VALUE_TAG);
      putText(text);
      closeLength(from);
    }
    return true;
  };
}

function scalarWrite(number: number, type: ScalarType): Write {
  switch (type) {
    case ScalarType.STRING:
      return textWrite(tagOf(number, WireType.LengthDelimited));
    case ScalarType.BYTES:
      return bytesWrite(tagOf(number, WireType.LengthDelimited));
    case ScalarType.BOOL:
      return flagWrite(tagOf(number, WireType.Varint));
    case ScalarType.INT32:
      return numberWrite(tagOf(number, WireType.Varint), INT32_MAX);
    case ScalarType.UINT32:
      return numberWrite(tagOf(number, WireType.Varint), UINT32_MAX);
    case ScalarType.INT64:
    case ScalarType.UINT64:
      return longWrite(tagOf(number, WireType.Varint));
    case ScalarType.DOUBLE:
      return doubleWrite(tagOf(number, WireType.Bit64));
    default:
      return NOT_PLAIN;
  }
}

function tagOf(number: number, type: WireType): number {
  return number * 8 + type;
}

function textWrite(tag: number): Write {
  return (value) => {
    if (typeof value !== 'string') return false;
    putVarint(tag);
    putText(value);
    return true;
  };
}

function bytesWrite(tag: number): Write {
  return (value) => {
    // Whether no bytes are nothing depends on the field.
    if (!(value instanceof Uint8Array) || value.length === 0) return false;
    putVarint(tag);
    putBytes(value);
    return true;
  };
}

function flagWrite(tag: number): Write {
  return (value) => {
    if (typeof value !== 'boolean') return false;
    putVarint(tag);
    putVarint(value ? 1 : 0);
    return true;
  };
}

function numberWrite(tag: number, max: number): Write {
  return (value) => {
    if (typeof value !== 'number' || !Number.isInteger(value) || value < 0 || value > max) return false;
    putVarint(tag);
    putVarint(value);
    return true;
  };
}

function longWrite(tag: number): Write {
  return (value) => {
    if (typeof value !== 'bigint' || value < 0n || value > EXACT_MAX) return false;
    putVarint(tag);
    putVarint(Number(value));
    return true;
  };
}

function doubleWrite(tag: number): Write {
  return (value) => {
    if (typeof value !== 'number') return false;
    putVarint(tag);
    putDouble(value);
    return true;
  };
}
