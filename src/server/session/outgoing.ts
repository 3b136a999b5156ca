/**
 * What a stream still has to send. Messages leave in order and together; an assignment whose input is not at hand yet
 * holds back only its own stream; a reader that does not keep up holds back nobody else and is reported.
 */
import { create } from '@bufbuild/protobuf';
import { type ConnectResponse, ConnectResponseSchema } from '../../../gen/yardmaster/v1/worker_service_pb.ts';

export type Order = ConnectResponse['message'];

/** What carries the bytes. */
export interface Transport {
  /** False: its buffer is full; it calls `drained` later. */
  write(message: ConnectResponse): boolean;
  /** Ends the stream: well, or with an error. */
  end(error?: unknown): void;
}

/** A stream with more than this waiting is not given more work. */
const OUTGOING_MESSAGES_MAX = 64;

/** Whoever lets this many wait does not read at all: its stream ends. */
export const UNREAD_MESSAGES_MAX = 10_000;

export interface Outgoing {
  push(order: Order): void;
  /** An assignment. One that is not known yet lets what follows it wait; rejected, it is left out. */
  pushOffer(assignmentId: string, order: Order | Promise<Order>, onWritten: () => void): void;
  /** Takes an assignment out that has not left yet; false: it has. */
  withdraw(assignmentId: string): boolean;
  /** Something new may be acknowledged: sent with the next message, or alone. */
  acknowledge(): void;
  drained(): void;
  /** Sends what is ready now, without waiting for the end of the turn. */
  flush(): void;
  /** Sends nothing more. */
  close(): void;
}

interface Item {
  order: Order | null;
  dropped: boolean;
  /** Empty: it is none. */
  readonly assignmentId: string;
  readonly onWritten: () => void;
}

export interface OutgoingOptions {
  readonly transport: Transport;
  readonly acknowledged: () => number;
  readonly onBackPressure: (on: boolean) => void;
  readonly onUnread: () => void;
}

export function createOutgoing({ transport, acknowledged, onBackPressure, onUnread }: OutgoingOptions): Outgoing {
  const items: Item[] = [];
  let sentAcknowledged = 0;
  let scheduled = false;
  let blocked = false;
  let pressed = false;
  let closed = false;

  function schedule(): void {
    if (scheduled || closed) return;
    scheduled = true;
    // At the end of the turn: what one commit releases for this stream leaves together, with one acknowledgement.
    queueMicrotask(() => {
      scheduled = false;
      flush();
    });
  }

  function flush(): void {
    while (!blocked && !closed) {
      const item = items[0];
      if (item === undefined || (item.order === null && !item.dropped)) break;
      items.shift();
      if (item.order === null) {
        // The deadline of what is never handed over takes the step away again.
        continue;
      }
      // Only the last message may acknowledge: a refusal must not come after the number that covers it.
      send(item.order, items.length === 0);
      item.onWritten();
    }
    if (!blocked && !closed && items.length === 0 && acknowledged() > sentAcknowledged) send({ case: undefined }, true);
    // Once pressed, until everything has gone: what was withdrawn must not come back at once.
    press(blocked && (pressed || items.length > OUTGOING_MESSAGES_MAX));
  }

  function send(order: Order, acknowledge: boolean): void {
    const upTo = acknowledge ? acknowledged() : sentAcknowledged;
    sentAcknowledged = upTo;
    blocked = !transport.write(create(ConnectResponseSchema, { acknowledged: BigInt(upTo), message: order }));
  }

  function add(item: Item): void {
    if (closed) return;
    if (items.length >= UNREAD_MESSAGES_MAX) {
      onUnread();
      return;
    }
    items.push(item);
    schedule();
  }

  function press(on: boolean): void {
    if (pressed === on) return;
    pressed = on;
    onBackPressure(on);
  }

  return {
    push(order) {
      add({ order, dropped: false, assignmentId: '', onWritten: () => {} });
    },
    pushOffer(assignmentId, order, onWritten) {
      if (!(order instanceof Promise)) {
        add({ order, dropped: false, assignmentId, onWritten });
        return;
      }
      const item: Item = { order: null, dropped: false, assignmentId, onWritten };
      add(item);
      order.then(
        (known) => {
          item.order = known;
          schedule();
        },
        () => {
          item.dropped = true;
          schedule();
        },
      );
    },
    withdraw(assignmentId) {
      const index = items.findIndex((item) => item.assignmentId === assignmentId);
      if (index === -1) return false;
      items.splice(index, 1);
      // What waited behind it may go.
      schedule();
      return true;
    },
    acknowledge: schedule,
    drained() {
      blocked = false;
      flush();
    },
    flush,
    close() {
      closed = true;
      items.length = 0;
    },
  };
}
