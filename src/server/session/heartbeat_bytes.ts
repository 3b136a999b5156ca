/**
 * Heartbeats on the wire. They are all that an idle fleet says, thousands a second, and the generated code reads and
 * writes messages by walking over their descriptors: 2 and 4 µs each where this takes a tenth. It says null to all that is
 * not plainly a heartbeat, and that is for the generated code.
 */
import { fromBinary } from '@bufbuild/protobuf';
import { type Timestamp, TimestampSchema } from '@bufbuild/protobuf/wkt';
import type { ConnectRequest, ConnectResponse } from '../../../gen/yardmaster/v1/worker_service_pb.ts';

// Tags: the number of the field, and how it is encoded (0: a varint, 2: a length and so many bytes).
const tag = (field: number, encoding: 0 | 2) => (field << 3) | encoding;
const REQUEST_HEARTBEAT = tag(3, 2);
const RESPONSE_ACKNOWLEDGED = tag(1, 0);
const RESPONSE_HEARTBEAT = tag(7, 2);
const SEND_TIME = tag(1, 2);
const SERVER_TIME = tag(2, 2);
const SECONDS = tag(1, 0);
const NANOS = tag(2, 0);

/** Lengths below this, and with them everything here, are one byte. */
const SHORT_MAX = 0x7f;
/** An acknowledgement (11 bytes), and two times (22 each) within a message. */
const RESPONSE_BYTES_MAX = 64;

export function readHeartbeat(bytes: Uint8Array): ConnectRequest | null {
  const { length } = bytes;
  if (length > SHORT_MAX || bytes[0] !== REQUEST_HEARTBEAT || bytes[1] !== length - 2) return null;
  if (length === 2) return request();
  if (bytes[2] !== SEND_TIME || bytes[3] !== length - 4) return null;
  return request(fromBinary(TimestampSchema, bytes.subarray(4)));
}

function request(sendTime?: Timestamp): ConnectRequest {
  const time = sendTime === undefined ? {} : { sendTime };
  const value = { $typeName: 'yardmaster.v1.WorkerHeartbeat', ...time } as const;
  return { $typeName: 'yardmaster.v1.ConnectRequest', sequence: 0n, message: { case: 'heartbeat', value } };
}

export function writeHeartbeat({ acknowledged, message }: ConnectResponse): Buffer | null {
  if (message.case !== 'heartbeat') return null;
  const { sendTime, serverTime } = message.value;
  if (!isPlain(sendTime) || !isPlain(serverTime)) return null;
  const bytes = Buffer.allocUnsafe(RESPONSE_BYTES_MAX);
  let at = acknowledged === 0n ? 0 : putNumber(bytes, 0, RESPONSE_ACKNOWLEDGED, Number(acknowledged));
  bytes[at] = RESPONSE_HEARTBEAT;
  const from = at + 2;
  at = putTime(bytes, from, SEND_TIME, sendTime);
  at = putTime(bytes, at, SERVER_TIME, serverTime);
  bytes[from - 1] = at - from;
  return bytes.subarray(0, at);
}

/** What is negative is encoded in another way, and what is beyond a number's precision too. */
function isPlain(time: Timestamp | undefined): boolean {
  return time === undefined || (time.seconds >= 0n && time.seconds <= Number.MAX_SAFE_INTEGER && time.nanos >= 0);
}

function putTime(bytes: Buffer, start: number, timeTag: number, time: Timestamp | undefined): number {
  if (time === undefined) return start;
  bytes[start] = timeTag;
  const from = start + 2;
  let at = from;
  // What is 0 is left out.
  if (time.seconds !== 0n) at = putNumber(bytes, at, SECONDS, Number(time.seconds));
  if (time.nanos !== 0) at = putNumber(bytes, at, NANOS, time.nanos);
  bytes[from - 1] = at - from;
  return at;
}

/** A varint: seven bits a byte, the lowest first; the eighth says that there are more. */
function putNumber(bytes: Buffer, start: number, numberTag: number, value: number): number {
  bytes[start] = numberTag;
  let at = start + 1;
  let rest = value;
  for (; rest > 0x7f; rest = Math.floor(rest / 0x80)) bytes[at++] = (rest % 0x80) | 0x80;
  bytes[at++] = rest;
  return at;
}
