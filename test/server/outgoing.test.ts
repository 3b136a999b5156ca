import { expect, it, vi } from 'vitest';
import type { ConnectResponse } from '../../gen/yardmaster/v1/worker_service_pb.ts';
import { type Order, Outgoing, UNREAD_MESSAGES_MAX } from '../../src/server/session/outgoing.ts';

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
  const outgoing = new Outgoing({ transport, acknowledged: 0, onBackPressure, onUnread });
  return { outgoing, written, onUnread, onBackPressure };
}

it('an assignment that never becomes known is left out, and what follows it leaves', async () => {
  const { outgoing, written } = stream(true);
  const handedOver = vi.fn();
  const lost = Promise.reject(new Error('the input cannot be read'));
  outgoing.pushOffer('lost', lost, handedOver);
  outgoing.push(order);
  await expect(lost).rejects.toThrow();
  await vi.waitFor(() => expect(written).toHaveLength(1));
  expect(handedOver).not.toHaveBeenCalled();
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

it('an assignment can be taken out until it has left', async () => {
  const { outgoing, written } = stream(false);
  const handedOver = vi.fn();
  outgoing.pushOffer('sent', order, handedOver);
  outgoing.flush();
  outgoing.pushOffer('waits', order, handedOver);
  outgoing.pushOffer('unknown yet', new Promise(() => {}), handedOver);
  expect(['sent', 'waits', 'unknown yet', 'waits'].map((id) => outgoing.withdraw(id))).toEqual([
    false,
    true,
    true,
    false,
  ]);
  outgoing.drained();
  expect(written).toHaveLength(1);
  expect(handedOver).toHaveBeenCalledOnce();
});

it('a stream that was pressed stays so until all of it has gone', () => {
  const { outgoing, onBackPressure } = stream(false);
  for (let index = 0; index < 70; index++) outgoing.pushOffer(`${index}`, order, () => {});
  outgoing.flush();
  expect(onBackPressure.mock.calls).toEqual([[true]]);
  for (let index = 0; index < 70; index++) outgoing.withdraw(`${index}`);
  outgoing.flush();
  expect(onBackPressure.mock.calls).toEqual([[true]]);
  outgoing.drained();
  expect(onBackPressure.mock.calls).toEqual([[true], [false]]);
});
