import { expect, it, vi } from 'vitest';
import type { ConnectResponse } from '../../gen/yardmaster/v1/worker_service_pb.ts';
import { createOutgoing, type Order, UNREAD_MESSAGES_MAX } from '../../src/server/session/outgoing.ts';

const order: Order = { case: undefined };

/** A stream whose buffer is full or not, as the test says. */
function stream(room: boolean) {
  const written: ConnectResponse[] = [];
  const onUnread = vi.fn();
  const onBackPressure = vi.fn();
  const transport = {
    write(message: ConnectResponse) {
      written.push(message);
      return room;
    },
    end() {},
  };
  const outgoing = createOutgoing({ transport, acknowledged: () => 0, onBackPressure, onUnread });
  return { outgoing, written, onUnread, onBackPressure };
}

it('an order that never becomes known counts as handed over, and what follows it leaves', async () => {
  const { outgoing, written } = stream(true);
  const handedOver = vi.fn();
  const lost = Promise.reject(new Error('the input cannot be read'));
  outgoing.pushLater(lost, handedOver);
  outgoing.push(order);
  await expect(lost).rejects.toThrow();
  await vi.waitFor(() => expect(written).toHaveLength(1));
  expect(handedOver).toHaveBeenCalledOnce();
});

it('a stream that is never read is pressed first, and given up when too much waits for it', () => {
  const { outgoing, written, onUnread, onBackPressure } = stream(false);
  outgoing.push(order);
  outgoing.flush();
  for (let index = 0; index < UNREAD_MESSAGES_MAX; index++) outgoing.push(order);
  outgoing.flush();
  expect(written).toHaveLength(1);
  expect(onBackPressure).toHaveBeenCalledWith(true);
  expect(onUnread).not.toHaveBeenCalled();
  outgoing.push(order);
  expect(onUnread).toHaveBeenCalledOnce();
});
