import { create } from '@bufbuild/protobuf';
import { TimestampSchema, timestampFromMs } from '@bufbuild/protobuf/wkt';
import fc from 'fast-check';
import { expect, it } from 'vitest';
import { ServerHeartbeatSchema } from '../../gen/yardmaster/v1/worker_service_pb.ts';
import { heartbeatOrder } from '../../src/server/session/orders.ts';

const seconds = fc.oneof(
  fc.constantFrom(0n, 1n, 127n, 128n, BigInt(Number.MAX_SAFE_INTEGER), BigInt(Number.MAX_SAFE_INTEGER) + 1n, -1n),
  fc.bigInt({ min: 1_700_000_000n, max: 4_000_000_000n }),
);
const nanos = fc.oneof(fc.constantFrom(0, 999_999_999, 2 ** 31 - 1, -1), fc.nat(999_999_999));
const time = fc.option(fc.record({ seconds, nanos }), { nil: undefined });

const set = <T>(name: string, value: T | undefined) => (value === undefined ? {} : { [name]: value });

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
