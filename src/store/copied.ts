/**
 * Rows as COPY sends them. A query's rows cost the client ten times as much: it makes an object of each, property by
 * property, and a text of each value before it parses it.
 */
import type { Readable } from 'node:stream';
import { finished } from 'node:stream/promises';
import type { PendingQuery, Row, Sql } from 'postgres';

/** Before the rows: a signature of 11 bytes, 4 of flags, 4 that say how long what follows them is (nothing). */
const SIGNATURE = Buffer.from('PGCOPY\n\xff\r\n\0', 'latin1');
const HEADER_BYTES = SIGNATURE.length + 8;
/** In place of the number of columns: no more rows. */
const TRAILER = -1;
const NULL_BYTES = -1;

type Value = string | number | boolean | null;
/** The value that begins at `from`. */
type Read = (bytes: Buffer, from: number, length: number) => Value;

/** By the oids of the types: what else there is, the SELECT has to cast. */
const READERS: ReadonlyMap<number, Read> = new Map<number, Read>([
  [16, (bytes, from) => bytes[from] === 1],
  [21, (bytes, from) => bytes.readInt16BE(from)],
  [23, (bytes, from) => bytes.readInt32BE(from)],
  [25, (bytes, from, length) => bytes.toString('utf8', from, from + length)],
  [701, (bytes, from) => bytes.readDoubleBE(from)],
]);

interface Column {
  readonly name: string;
  readonly read: Read;
}

/**
 * Reads the rows of a SELECT without parameters, and calls `take` with each; rejects with what that throws. It is the same
 * object each time, with the values of the next row: making one of fifty properties costs more than all else. The first
 * `ownColumns` differ from row to row; those that follow mostly say the same as in the row before, and are then not read
 * again. The fragment is used twice, so it is made twice.
 */
export async function eachCopied<T extends object>(
  sql: Sql,
  select: () => PendingQuery<Row[]>,
  ownColumns: number,
  take: (row: T) => void,
): Promise<void> {
  const { columns } = await sql`${select()} LIMIT 0`;
  const read = rowReader<T>(columns.map(columnOf), ownColumns, take);
  const stream = await sql`COPY (${select()}) TO STDOUT (FORMAT binary)`.readable();
  let failed: { readonly error: unknown } | null = null;
  stream.on('data', (message: Buffer) => {
    // What comes after a failure is read all the same: there is no other way to get the connection back.
    if (failed !== null) return;
    try {
      read(message);
    } catch (error) {
      failed = { error };
    }
  });
  await finished(stream, { writable: false });
  goOnReading(stream);
  if (failed !== null) throw (failed as { readonly error: unknown }).error;
}

/**
 * The client (postgres.js 3.4) stops reading from its socket when the stream is full, and goes on when the stream asks
 * for more. But a stream that has got its end asks no more: when the last rows filled it, the socket was stopped for good,
 * and the next statement on this connection waited for its answer for ever.
 */
function goOnReading(stream: Readable): void {
  stream._read(0);
}

function columnOf({ name, type }: { readonly name: string; readonly type: number }): Column {
  const read = READERS.get(type);
  if (read === undefined) throw new Error(`column ${name} is of a type that is not read here: ${type}`);
  return { name, read };
}

/** Takes the messages of a COPY one after the other: one a row, the first with the header before it. */
function rowReader<T extends object>(columns: readonly Column[], ownColumns: number, take: (row: T) => void) {
  const own = columns.slice(0, ownColumns);
  const shared = columns.slice(ownColumns);
  // All properties from the start: an object that gets fifty one by one becomes slow.
  const row: Record<string, Value> = JSON.parse(
    JSON.stringify(Object.fromEntries(columns.map(({ name }) => [name, null]))),
  );
  let sharedBytes: Buffer = Buffer.alloc(0);
  let begun = false;

  return (message: Buffer): void => {
    let place = begun ? 0 : headerEnd(message);
    begun = true;
    if (place === message.length || message.readInt16BE(place) === TRAILER) return;
    place += 2;
    place = readColumns(row, own, message, place);
    if (sharedBytes.compare(message, place) !== 0) {
      readColumns(row, shared, message, place);
      sharedBytes = message.subarray(place);
    }
    take(row as T);
  };
}

function headerEnd(message: Buffer): number {
  if (!message.subarray(0, SIGNATURE.length).equals(SIGNATURE)) throw new Error('this is not what COPY sends');
  return HEADER_BYTES + message.readInt32BE(HEADER_BYTES - 4);
}

/** Where the columns end. */
function readColumns(row: Record<string, Value>, columns: readonly Column[], bytes: Buffer, from: number): number {
  let place = from;
  for (const { name, read } of columns) {
    const length = bytes.readInt32BE(place);
    place += 4;
    row[name] = length === NULL_BYTES ? null : read(bytes, place, length);
    if (length > 0) place += length;
  }
  return place;
}
