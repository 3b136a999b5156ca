import { create, fromBinary, toBinary } from '@bufbuild/protobuf';
import { TimestampSchema, timestampFromMs } from '@bufbuild/protobuf/wkt';
import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import {
  ConnectRequestSchema,
  ConnectResponseSchema,
  type ServerHeartbeat,
  ServerHeartbeatSchema,
} from '../../gen/yardmaster/v1/worker_service_pb.ts';
import { readHeartbeat, writeHeartbeat } from '../../src/server/session/heartbeat_bytes.ts';
import { heartbeatOrder } from '../../src/server/session/orders.ts';

const seconds = fc.oneof(
  fc.constantFrom(0n, 1n, 127n, 128n, BigInt(Number.MAX_SAFE_INTEGER), BigInt(Number.MAX_SAFE_INTEGER) + 1n, -1n),
  fc.bigInt({ min: 1_700_000_000n, max: 4_000_000_000n }),
);
const nanos = fc.oneof(fc.constantFrom(0, 999_999_999, 2 ** 31 - 1, -1), fc.nat(999_999_999));
const time = fc.option(fc.record({ seconds, nanos }), { nil: undefined });
const acknowledged = fc.oneof(fc.constantFrom(0n, 1n, 127n, 128n), fc.bigInt({ min: 0n, max: 2n ** 53n - 1n }));

const set = <T>(name: string, value: T | undefined) => (value === undefined ? {} : { [name]: value });
const beat = (sendTime?: { seconds: bigint; nanos: number }) =>
  toBinary(
    ConnectRequestSchema,
    create(ConnectRequestSchema, { message: { case: 'heartbeat', value: set('sendTime', sendTime) } }),
  );
const answer = (upTo: bigint, value: Partial<ServerHeartbeat>) =>
  create(ConnectResponseSchema, { acknowledged: upTo, message: { case: 'heartbeat', value } });

it('the answer to a heartbeat is the message that the generated code makes', () => {
  fc.assert(
    fc.property(fc.double({ min: 0, max: 4e12, noNaN: true }), time, (nowMs, sent) => {
      const sendTime = sent === undefined ? undefined : create(TimestampSchema, sent);
      const made = create(ServerHeartbeatSchema, {
        serverTime: timestampFromMs(Math.round(nowMs)),
        ...set('sendTime', sendTime),
      });
      expect(heartbeatOrder(sendTime, nowMs)).toEqual({ case: 'heartbeat', value: made });
    }),
  );
});

describe('bytes of a heartbeat', () => {
  it('are read as the generated code reads them', () => {
    fc.assert(
      fc.property(time, (sendTime) => {
        const bytes = beat(sendTime);
        expect(readHeartbeat(bytes)).toEqual(fromBinary(ConnectRequestSchema, bytes));
      }),
    );
  });

  it('are written as the generated code writes them, or not at all', () => {
    let written = 0;
    fc.assert(
      fc.property(acknowledged, time, time, (upTo, sendTime, serverTime) => {
        const message = answer(upTo, { ...set('sendTime', sendTime), ...set('serverTime', serverTime) });
        const bytes = writeHeartbeat(message);
        if (bytes === null) return;
        written += 1;
        expect(bytes).toEqual(Buffer.from(toBinary(ConnectResponseSchema, message)));
      }),
    );
    expect(written).toBeGreaterThan(20);
  });

  it('are not what anything else is taken for', () => {
    const anything = fc.oneof(
      fc.uint8Array({ maxLength: 40 }),
      // Nearly one.
      fc.tuple(time, fc.uint8Array({ maxLength: 3 })).map(([sendTime, rest]) => Buffer.concat([beat(sendTime), rest])),
      fc.tuple(time, fc.nat(20), fc.nat(255)).map(([sendTime, at, byte]) => {
        const bytes = beat(sendTime);
        if (at < bytes.length) bytes[at] = byte;
        return bytes;
      }),
    );
    fc.assert(
      fc.property(anything, (bytes) => {
        const read = outcome(() => readHeartbeat(bytes));
        if (read !== null) expect(read).toEqual(outcome(() => fromBinary(ConnectRequestSchema, bytes)));
      }),
      { numRuns: 2_000 },
    );
    expect(writeHeartbeat(create(ConnectResponseSchema, { acknowledged: 1n }))).toBeNull();
  });
});

/** What cannot be decoded is all one. */
function outcome<T>(read: () => T): T | 'undecodable' {
  try {
    return read();
  } catch {
    return 'undecodable';
  }
}
