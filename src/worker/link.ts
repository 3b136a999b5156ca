/** Keeps a stream open under the session: opens it, opens the next one, and knows when there is no point. */
import { status as Status } from '@grpc/grpc-js';
import type { ConnectRequest } from '../../gen/yardmaster/v1/worker_service_pb.ts';
import { type Backoff, backoffMs } from '../lib/backoff.ts';
import type { Clock, Timer } from '../lib/clock.ts';
import type { OpenStream, Stream, StreamEnd } from './connection.ts';
import { errorDetail } from './error-detail.ts';
import { ConnectRefusedError, LabelsRefusedError } from './errors.ts';
import type { Session } from './session.ts';

const BACKOFF: Backoff = { initialMs: 100, factor: 2, maxMs: 10_000 };

/** With these a hello is refused for what it says, and would be refused again. */
const PERMANENT: ReadonlySet<number> = new Set([
  Status.INVALID_ARGUMENT,
  Status.NOT_FOUND,
  Status.ALREADY_EXISTS,
  Status.PERMISSION_DENIED,
  Status.FAILED_PRECONDITION,
  Status.UNIMPLEMENTED,
  Status.UNAUTHENTICATED,
]);

/** An SDK always says hello first: if none was seen, the network or a pause held it back. */
const LATE_HELLO = 'HELLO_EXPECTED';

export interface LinkPorts {
  clock: Clock;
  /** Uniform in [0, 1). */
  fraction(): number;
  openStream: OpenStream;
  session(): Session;
  /** The session's state may have changed. */
  turned(): void;
  disconnected(reason: string, retryInMs: number): void;
  refused(error: ConnectRefusedError): void;
}

export class Link {
  readonly #ports: LinkPorts;
  #stream: Stream | undefined;
  #welcomed = false;
  #attempt = 0;
  #timer: Timer | undefined;
  /** When the server wants this worker back, while such an order stands. */
  #orderedMs: number | undefined;
  #stopping = false;

  constructor(ports: LinkPorts) {
    this.#ports = ports;
  }

  get isUp(): boolean {
    return this.#stream !== undefined;
  }

  open(): void {
    const { clock } = this.#ports;
    const session = this.#ports.session();
    this.#welcomed = false;
    this.#orderedMs = undefined;
    const stream = this.#ports.openStream({
      received: (response) => {
        if (this.#stream !== stream) return;
        session.received(response, clock.nowMs());
        this.#ports.turned();
      },
      ended: (end) => {
        if (this.#stream === stream) this.#ended(end);
      },
    });
    this.#stream = stream;
    session.opened(clock.nowMs());
  }

  write(request: ConnectRequest): void {
    this.#stream?.write(request);
  }

  welcomed(): void {
    this.#welcomed = true;
    this.#attempt = 0;
  }

  /** The stream is dead or to be given up; the next one comes after the backoff. */
  hangUp(reason: string): void {
    if (this.#stream === undefined) return;
    this.#stream.destroy();
    this.#lost(reason);
  }

  /** The server asks for a new stream after `delayMs`; the old one serves until then. */
  reconnect(delayMs: number): void {
    this.#orderedMs = this.#ports.clock.nowMs() + delayMs;
    this.#after(delayMs, () => {
      this.#stream?.destroy();
      this.#stream = undefined;
      this.#ports.session().closed();
      this.open();
    });
  }

  /** Writes no more and waits for nothing: the server ends the stream, and none follows. */
  halfClose(): void {
    this.#stopping = true;
    this.#timer?.clear();
    this.#stream?.end();
  }

  stop(): void {
    this.#stopping = true;
    this.#timer?.clear();
    this.#stream?.destroy();
    this.#stream = undefined;
  }

  #ended(end: StreamEnd): void {
    const { reason, metadata } = errorDetail(end.details);
    if (this.#welcomed || this.#stopping || !PERMANENT.has(end.code) || reason === LATE_HELLO) {
      this.#lost(`${end.codeName}: ${end.message}`);
      return;
    }
    const { labels } = this.#ports.session();
    const aboutLabels = new LabelsRefusedError(reason || end.codeName, end.message, metadata);
    this.#stream = undefined;
    // A reconnecting hello carries upserts nobody has answered: they must not lock this worker out.
    if (end.code === Status.INVALID_ARGUMENT && labels.rejectHello(aboutLabels)) {
      this.#ports.session().closed();
      this.open();
      return;
    }
    this.#ports.session().closed();
    this.#ports.refused(new ConnectRefusedError(end.codeName, reason, end.message));
    this.#ports.turned();
  }

  #lost(reason: string): void {
    this.#stream = undefined;
    this.#ports.session().closed();
    if (!this.#stopping) {
      const backOffMs = backoffMs(BACKOFF, this.#attempt, this.#ports.fraction());
      this.#attempt += 1;
      const orderedInMs = (this.#orderedMs ?? 0) - this.#ports.clock.nowMs();
      const retryInMs = orderedInMs > 0 ? orderedInMs : backOffMs;
      this.#ports.disconnected(reason, retryInMs);
      this.#after(retryInMs, () => this.open());
    }
    this.#ports.turned();
  }

  #after(delayMs: number, run: () => void): void {
    this.#timer?.clear();
    // A worker without a stream has nothing else that keeps its process alive.
    this.#timer = this.#ports.clock.after(Math.ceil(delayMs), run, true);
  }
}
