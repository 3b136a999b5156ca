/**
 * Messages from bytes, at a fraction of the library's price, for the same reason and in the same way as `to_bytes.ts`: what
 * is not plain (unknown fields, a field twice, numbers that are negative or long, deep nesting) is begun again by the
 * library, and so is whatever is wrong, so that what comes out, or is thrown, is always the library's.
 */
import {
  type BinaryReadOptions,
  create,
  type DescField,
  type DescMessage,
  fromBinary,
  type MessageShape,
  ScalarType,
} from '@bufbuild/protobuf';
import { getTextEncoding, WireType } from '@bufbuild/protobuf/wire';
import { Edition, isWrapperDesc } from '@bufbuild/protobuf/wkt';

/** Reads one value at the place where the reading is. */
type Read = () => unknown;
type Values = Record<string, unknown>;

interface FieldReader {
  /** As it must be on the wire, with the number. */
  readonly tag: number;
  readonly read: (message: Values) => void;
}

/** Thrown where it is not plain; made once, since making one takes longer than reading a message. */
const NOT_PLAIN = new Error('not plain');
/** Far below the library's own limit, whatever it is set to. */
const DEPTH_MAX = 32;
const INT32_MAX = 0x7fff_ffff;
const UINT32_MAX = 0xffff_ffff;
/** What the ninth byte of a number counts; longer ones are negative, or wrong. */
const SCALE_MAX = 128 ** 8;
const DOUBLE_BYTES = 8;
/** From this length on a call into the runtime is quicker than looking at each character. */
const LONG_BYTES = 64;

const NOTHING = Buffer.alloc(0);
let bytes: Buffer = NOTHING;
let at = 0;
let depth = 0;

/** The same message as `fromBinary(schema, source, options)`. */
export function fromBytes<Desc extends DescMessage>(
  schema: Desc,
  source: Uint8Array,
  options?: Partial<BinaryReadOptions>,
): MessageShape<Desc> {
  return readPlain(schema, source) ?? fromBinary(schema, source, options);
}

/** null: not plain. */
export function readPlain<Desc extends DescMessage>(schema: Desc, source: Uint8Array): MessageShape<Desc> | null {
  bytes = Buffer.isBuffer(source) ? source : Buffer.from(source.buffer, source.byteOffset, source.byteLength);
  at = 0;
  depth = 0;
  try {
    return readerOf(schema)(bytes.length) as MessageShape<Desc>;
  } catch (error) {
    if (error !== NOT_PLAIN) throw error;
    return null;
  } finally {
    bytes = NOTHING;
  }
}

/** Reads a message that ends there. */
type ReadMessage = (end: number) => Values;

const readers = new Map<DescMessage, ReadMessage>();

function readerOf(schema: DescMessage): ReadMessage {
  let reader = readers.get(schema);
  if (reader === undefined) {
    // A type that contains itself finds this one.
    readers.set(schema, (end) => (readers.get(schema) ?? doubt)(end));
    reader = compile(schema);
    readers.set(schema, reader);
  }
  return reader;
}

function doubt(): never {
  throw NOT_PLAIN;
}

function compile(schema: DescMessage): ReadMessage {
  if (schema.file.edition !== Edition.EDITION_PROTO3) return doubt;
  const empty = emptyOf(schema);
  const fields: FieldReader[] = [];
  for (const field of schema.fields) {
    const reader = fieldReader(field);
    if (reader !== null) fields[field.number] = reader;
  }
  return (end) => {
    if (depth === DEPTH_MAX) throw NOT_PLAIN;
    depth += 1;
    const message = empty();
    while (at < end) {
      const tag = readTag();
      const field = fields[tag >>> 3];
      if (field === undefined || field.tag !== tag) throw NOT_PLAIN;
      field.read(message);
    }
    if (at !== end) throw NOT_PLAIN;
    depth -= 1;
    return message;
  };
}

/** Makes what `create` makes. Field by field: a copy by `{ ...one }` of twenty fields takes five times as long. */
function emptyOf(schema: DescMessage): () => Values {
  const one = create(schema) as unknown as Values;
  const names = Object.keys(one);
  const makes = names.map((name) => {
    const value = one[name];
    if (Array.isArray(value)) return () => [];
    if (typeof value !== 'object') return null;
    return schema.oneofs.some(({ localName }) => localName === name) ? () => ({ case: undefined }) : () => ({});
  });
  return () => {
    const message: Values = {};
    for (let index = 0; index < names.length; index++) {
      const name = names[index] as string;
      const make = makes[index];
      message[name] = make ? make() : one[name];
    }
    return message;
  };
}

/** null: for the library. */
function fieldReader(field: DescField): FieldReader | null {
  const { localName, oneof, number } = field;
  switch (field.fieldKind) {
    case 'list':
      return listReader(field);
    case 'map':
      return mapReader(field);
    case 'message': {
      const read = messageRead(field.message);
      if (read === null) return null;
      const tag = tagOf(number, WireType.LengthDelimited);
      return oneof ? { tag, read: setCase(oneof.localName, localName, read) } : { tag, read: setOnce(localName, read) };
    }
    default: {
      const scalar = field.fieldKind === 'enum' ? scalarRead(ScalarType.INT32, false) : scalarOf(field);
      if (scalar === null || (field.fieldKind === 'enum' && !field.enum.open)) return null;
      const tag = tagOf(number, scalar.wire);
      const { read } = scalar;
      if (oneof) return { tag, read: setCase(oneof.localName, localName, read) };
      return {
        tag,
        read(message) {
          message[localName] = read();
        },
      };
    }
  }
}

function scalarOf(field: {
  readonly scalar: ScalarType;
  readonly longAsString: boolean;
  readonly utf8Validation: boolean;
}) {
  return field.longAsString ? null : scalarRead(field.scalar, field.utf8Validation);
}

/** A message that comes twice is merged, which is for the library. */
function setOnce(name: string, read: Read): (message: Values) => void {
  return (message) => {
    if (message[name] !== undefined) throw NOT_PLAIN;
    message[name] = read();
  };
}

function setCase(group: string, name: string, read: Read): (message: Values) => void {
  return (message) => {
    const set = message[group] as { case: string | undefined; value?: unknown };
    if (set.case !== undefined) throw NOT_PLAIN;
    message[group] = { case: name, value: read() };
  };
}

function listReader(field: DescField & { fieldKind: 'list' }): FieldReader | null {
  const { localName, number } = field;
  // Of numbers there are two ways to be a list, and no long ones in the contract.
  const isText = field.listKind === 'scalar' && field.scalar === ScalarType.STRING;
  const read =
    field.listKind === 'message' ? messageRead(field.message) : isText ? textRead(field.utf8Validation) : null;
  if (read === null) return null;
  return {
    tag: tagOf(number, WireType.LengthDelimited),
    read(message) {
      (message[localName] as unknown[]).push(read());
    },
  };
}

const KEY_TAG = tagOf(1, WireType.LengthDelimited);
const VALUE_TAG = tagOf(2, WireType.LengthDelimited);

function mapReader(field: DescField & { fieldKind: 'map' }): FieldReader | null {
  const { localName, number } = field;
  if (field.mapKey !== ScalarType.STRING || field.mapKind !== 'scalar' || field.scalar !== ScalarType.STRING)
    return null;
  const read = textRead(field.utf8Validation);
  return {
    tag: tagOf(number, WireType.LengthDelimited),
    read(message) {
      const end = readEnd();
      if (readTag() !== KEY_TAG) throw NOT_PLAIN;
      const key = read();
      if (key === '__proto__' || readTag() !== VALUE_TAG) throw NOT_PLAIN;
      (message[localName] as Record<string, string>)[key] = read();
      if (at !== end) throw NOT_PLAIN;
    },
  };
}

function messageRead(schema: DescMessage): Read | null {
  // As a field these are held as something else than a message.
  if (isWrapperDesc(schema) || schema.typeName === 'google.protobuf.Struct') return null;
  const reader = readerOf(schema);
  return () => reader(readEnd());
}

function scalarRead(
  type: ScalarType,
  utf8Validation: boolean,
): { readonly wire: WireType; readonly read: Read } | null {
  switch (type) {
    case ScalarType.STRING:
      return { wire: WireType.LengthDelimited, read: textRead(utf8Validation) };
    case ScalarType.BOOL:
      return { wire: WireType.Varint, read: () => readVarint(1) === 1 };
    case ScalarType.INT32:
      return { wire: WireType.Varint, read: () => readVarint(INT32_MAX) };
    case ScalarType.UINT32:
      return { wire: WireType.Varint, read: () => readVarint(UINT32_MAX) };
    case ScalarType.INT64:
    case ScalarType.UINT64:
      return { wire: WireType.Varint, read: () => BigInt(readVarint(Number.MAX_SAFE_INTEGER)) };
    case ScalarType.DOUBLE:
      return { wire: WireType.Bit64, read: readDouble };
    default:
      return null;
  }
}

function tagOf(number: number, type: WireType): number {
  return number * 8 + type;
}

/** Of one byte, or of two that need to be two. */
function readTag(): number {
  const first = bytes[at++] as number;
  if (first < 128) return first;
  const second = bytes[at++] as number;
  if (second > 0 && second < 128) return (first & 127) | (second << 7);
  throw NOT_PLAIN;
}

function readVarint(max: number): number {
  let value = 0;
  let scale = 1;
  for (;;) {
    // Behind the end there is nothing: undefined is not less than 128, and makes what follows not a number.
    const byte = bytes[at++] as number;
    if (byte < 128) {
      value += byte * scale;
      if (value <= max) return value;
      throw NOT_PLAIN;
    }
    value += (byte - 128) * scale;
    scale *= 128;
    if (!(value <= max) || scale > SCALE_MAX) throw NOT_PLAIN;
  }
}

/** Where what comes next ends, by its length. */
function readEnd(): number {
  const length = readVarint(UINT32_MAX);
  const end = at + length;
  if (end > bytes.length) throw NOT_PLAIN;
  return end;
}

function readDouble(): number {
  if (at + DOUBLE_BYTES > bytes.length) throw NOT_PLAIN;
  at += DOUBLE_BYTES;
  return bytes.readDoubleLE(at - DOUBLE_BYTES);
}

function textRead(utf8Validation: boolean): () => string {
  const { decodeUtf8 } = getTextEncoding();
  return () => {
    // Not in one expression with `at`: reading the length moves it.
    const length = readVarint(UINT32_MAX);
    const from = at;
    at += length;
    if (at > bytes.length) throw NOT_PLAIN;
    if (length === 0) return '';
    if (length < LONG_BYTES && isPlainText(from)) return bytes.toString('latin1', from, at);
    return decodeUtf8(bytes.subarray(from, at), utf8Validation);
  };
}

/** From there to the place of the reading: characters that are one byte each. */
function isPlainText(from: number): boolean {
  for (let index = from; index < at; index++) if ((bytes[index] as number) > 127) return false;
  return true;
}
