/**
 * What a stream still has to send. Messages leave in order and together; an assignment whose input is not at hand yet
 * holds back only its own stream; a reader that does not keep up holds back nobody else and is reported.
 */
import type { ConnectResponse } from '../../../gen/yardmaster/v1/worker_service_pb.ts';

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

interface Item {
  order: Order | null;
  dropped: boolean;
  /** Empty: it is none. */
  readonly assignmentId: string;
  readonly onWritten: () => void;
}

/** The stream whose messages these are. */
export interface OutgoingStream {
  readonly transport: Transport;
  /** Everything up to and including this number may be acknowledged. */
  readonly acknowledged: number;
  onBackPressure(on: boolean): void;
  onUnread(): void;
}

/** In place of a list of its own while nothing waits: one that was used keeps room for 17. */
const NOTHING: Item[] = [];

const nobodyAsks = () => {};

const NOW = Promise.resolve();

export class Outgoing {
  private readonly stream: OutgoingStream;
  private items: Item[] = NOTHING;
  private sentAcknowledged = 0;
  private scheduled = false;
  private blocked = false;
  private pressed = false;
  private closed = false;

  constructor(stream: OutgoingStream) {
    this.stream = stream;
  }

  push(order: Order): void {
    this.add({ order, dropped: false, assignmentId: '', onWritten: nobodyAsks });
  }

  /** An assignment. One that is not known yet lets what follows it wait; rejected, it is left out. */
  pushOffer(assignmentId: string, order: Order | Promise<Order>, onWritten: () => void): void {
    if (!(order instanceof Promise)) {
      this.add({ order, dropped: false, assignmentId, onWritten });
      return;
    }
    const item: Item = { order: null, dropped: false, assignmentId, onWritten };
    this.add(item);
    order.then(
      (known) => {
        item.order = known;
        this.schedule();
      },
      () => {
        item.dropped = true;
        this.schedule();
      },
    );
  }

  /** Takes an assignment out that has not left yet; false: it has. */
  withdraw(assignmentId: string): boolean {
    const index = this.items.findIndex((item) => item.assignmentId === assignmentId);
    if (index === -1) return false;
    this.items.splice(index, 1);
    // What waited behind it may go.
    this.schedule();
    return true;
  }

  /** Something new may be acknowledged: sent with the next message, or alone. */
  acknowledge(): void {
    this.schedule();
  }

  drained(): void {
    this.blocked = false;
    this.flush();
  }

  /** Sends what is ready now, without waiting for the end of the turn. */
  flush(): void {
    while (!this.blocked && !this.closed) {
      const item = this.items[0];
      if (item === undefined || (item.order === null && !item.dropped)) break;
      this.items.shift();
      if (item.order === null) {
        // The deadline of what is never handed over takes the step away again.
        continue;
      }
      // Only the last message may acknowledge: a refusal must not come after the number that covers it.
      this.send(item.order, this.items.length === 0);
      item.onWritten();
    }
    if (this.items.length === 0) this.items = NOTHING;
    const silent = this.blocked || this.closed || this.items.length > 0;
    if (!silent && this.stream.acknowledged > this.sentAcknowledged) this.send({ case: undefined }, true);
    // Once pressed, until everything has gone: what was withdrawn must not come back at once.
    this.press(this.blocked && (this.pressed || this.items.length > OUTGOING_MESSAGES_MAX));
  }

  /** Sends nothing more. */
  close(): void {
    this.closed = true;
    this.items = NOTHING;
  }

  private add(item: Item): void {
    if (this.closed) return;
    if (this.items.length >= UNREAD_MESSAGES_MAX) {
      this.stream.onUnread();
      return;
    }
    if (this.items === NOTHING) this.items = [item];
    else this.items.push(item);
    this.schedule();
  }

  private schedule(): void {
    if (this.scheduled || this.closed) return;
    this.scheduled = true;
    // At the end of the turn: what one commit releases for this stream leaves together, with one acknowledgement.
    // Not queueMicrotask: node makes an async resource of each, which costs a microsecond a message.
    void NOW.then(() => {
      this.scheduled = false;
      this.flush();
    });
  }

  private send(order: Order, acknowledge: boolean): void {
    if (acknowledge) this.sentAcknowledged = this.stream.acknowledged;
    const acknowledged = BigInt(this.sentAcknowledged);
    // What `create` makes, without its walk over all fields: every message passes here.
    const message: ConnectResponse = { $typeName: 'yardmaster.v1.ConnectResponse', acknowledged, message: order };
    this.blocked = !this.stream.transport.write(message);
  }

  private press(on: boolean): void {
    if (this.pressed === on) return;
    this.pressed = on;
    this.stream.onBackPressure(on);
  }
}
