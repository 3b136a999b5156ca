/** One WorkerService.Connect stream, as raw as the contract: facts go out numbered, whatever comes in is kept in order. */
import { create, fromBinary, type MessageInitShape, toBinary } from '@bufbuild/protobuf';
import { timestampFromMs } from '@bufbuild/protobuf/wkt';
import type { Client, ClientDuplexStream, Metadata } from '@grpc/grpc-js';
import {
  ConnectRequestSchema,
  type ConnectResponse,
  ConnectResponseSchema,
  type LogLevel,
  type RunStep,
  type Welcome,
  WorkerService,
} from '../../gen/yardmaster/v1/worker_service_pb.ts';
import { type EndStatus, endStatus, pathOf } from './conformance_calls.ts';

type Order = ConnectResponse['message'];
export type OrderCase = NonNullable<Order['case']>;
type OrderOf<C extends OrderCase> = Extract<Order, { case: C }>['value'];
export type Fact = NonNullable<MessageInitShape<typeof ConnectRequestSchema>['message']>;
export type HelloInit = Extract<Fact, { case: 'hello' }>['value'];
type Labels = Record<string, string | number | null>;

const UNNUMBERED: ReadonlySet<string | undefined> = new Set(['hello', 'heartbeat', 'stepProgressed', 'goodbye']);
/** A failing test shall say so well before the runner gives it up. */
const NEXT_MS_MAX = 8_000;

interface Waiter {
  readonly wants: (order: Order) => boolean;
  readonly resolve: (order: Order) => void;
  readonly reject: (error: Error) => void;
}

export class WorkerStream {
  /** Everything that came, in order. */
  readonly received: ConnectResponse[] = [];
  /** Resolves when the stream has ended, however; never rejects. */
  readonly ended: Promise<EndStatus>;
  isEnded = false;
  acknowledged = 0;
  sequence = 0;
  readonly #call: ClientDuplexStream<Uint8Array, ConnectResponse>;
  #unread: Order[] = [];
  #waiters: Waiter[] = [];
  #acknowledgedWaiters = new Set<() => void>();
  #welcome: Welcome | undefined;
  #heartbeats = 0;

  constructor(client: Client, metadata: Metadata) {
    this.#call = client.makeBidiStreamRequest(
      pathOf(WorkerService.method.connect),
      (bytes: Uint8Array) => Buffer.from(bytes),
      (bytes) => fromBinary(ConnectResponseSchema, bytes),
      metadata,
    );
    this.#call.on('data', (message) => this.#receive(message));
    this.#call.on('error', () => {});
    this.ended = new Promise((resolve) => {
      this.#call.on('status', (status) => {
        this.isEnded = true;
        const end = endStatus(status);
        for (const waiter of this.#waiters.splice(0))
          waiter.reject(this.#failure(`the stream ended: ${JSON.stringify(end)}`));
        for (const check of [...this.#acknowledgedWaiters]) check();
        resolve(end);
      });
    });
  }

  get welcome(): Welcome {
    if (this.#welcome === undefined) throw new Error('no welcome came yet');
    return this.#welcome;
  }

  get workerId(): string {
    return this.welcome.workerId;
  }

  // ---- out

  /** Sends with the next number, or 0 where the contract says so; the number is returned. */
  send(message: Fact): number {
    const sequence = UNNUMBERED.has(message.case) ? 0 : ++this.sequence;
    this.sendAs(sequence, message);
    return sequence;
  }

  sendAs(sequence: number, message: Fact): void {
    this.sendBytes(
      toBinary(ConnectRequestSchema, create(ConnectRequestSchema, { sequence: BigInt(sequence), message })),
    );
  }

  sendBytes(bytes: Uint8Array): void {
    this.#call.write(bytes);
  }

  async hello(hello: HelloInit): Promise<Welcome> {
    this.send({ case: 'hello', value: hello });
    this.#welcome = await this.next('welcome');
    return this.#welcome;
  }

  accept({ assignmentId }: { assignmentId: string }): number {
    return this.send({ case: 'stepAccepted', value: { assignmentId } });
  }

  succeed({ assignmentId }: { assignmentId: string }, output: unknown = null): number {
    return this.send({ case: 'stepSucceeded', value: { assignmentId, outputJson: JSON.stringify(output) } });
  }

  fail({ assignmentId }: { assignmentId: string }, message = 'it broke'): number {
    return this.send({ case: 'stepFailed', value: { assignmentId, error: { message } } });
  }

  giveBack({ assignmentId }: { assignmentId: string }): number {
    return this.send({ case: 'stepReturned', value: { assignmentId } });
  }

  upsert(labels: Labels): number {
    return this.send({ case: 'upsertLabels', value: { labels } });
  }

  logLines(
    { assignmentId }: { assignmentId: string },
    firstLineNumber: number,
    lines: { text: string; level?: LogLevel }[],
  ): number {
    return this.send({ case: 'stepLogged', value: { assignmentId, firstLineNumber: BigInt(firstLineNumber), lines } });
  }

  /** Accepts the next assignment and returns it. */
  async take(): Promise<RunStep> {
    const offer = await this.next('runStep');
    this.accept(offer);
    return offer;
  }

  /** Takes the next assignment and succeeds with it, all of it settled. */
  async work(output: unknown = null): Promise<RunStep> {
    const offer = await this.take();
    await this.settled(this.succeed(offer, output));
    return offer;
  }

  /** Sends a heartbeat and waits for its own answer: what the server had sent on this stream before has arrived by then. */
  async heartbeat(): Promise<OrderOf<'heartbeat'>> {
    this.#heartbeats += 1;
    const sendTime = timestampFromMs(this.#heartbeats);
    this.send({ case: 'heartbeat', value: { sendTime } });
    return this.next(
      'heartbeat',
      (answer) => answer.sendTime?.nanos === sendTime.nanos && answer.sendTime?.seconds === sendTime.seconds,
    );
  }

  /** Leaves in good order, and waits until the stream is over. */
  async leave(): Promise<EndStatus> {
    if (!this.isEnded) {
      if (this.#welcome === undefined) this.#call.cancel();
      else this.send({ case: 'goodbye', value: {} });
      this.#call.end();
    }
    return this.ended;
  }

  /** The end of the stream without a word. */
  async cut(): Promise<void> {
    this.#call.cancel();
    await this.ended;
  }

  /** Reads nothing more, as a process that stands still. */
  stopReading(): void {
    this.#call.pause();
  }

  readAgain(): void {
    this.#call.resume();
  }

  halfClose(): void {
    this.#call.end();
  }

  // ---- in

  /** The earliest message of this kind that nobody has read yet, now or when it comes. */
  async next<C extends OrderCase>(kind: C, fits: (value: OrderOf<C>) => boolean = () => true): Promise<OrderOf<C>> {
    const wants = (order: Order) => order.case === kind && fits(order.value as OrderOf<C>);
    const order = await this.#nextOrder(kind, wants);
    return order.value as OrderOf<C>;
  }

  /** Messages of this kind that have come and were not read. Meaningful only after a barrier. */
  unread<C extends OrderCase>(kind: C): OrderOf<C>[] {
    return this.#unread.filter((order) => order.case === kind).map((order) => order.value as OrderOf<C>);
  }

  /** Waits until the number is acknowledged. */
  settled(sequence: number): Promise<void> {
    return new Promise((resolve, reject) => {
      const done = (outcome: () => void) => {
        clearTimeout(timer);
        this.#acknowledgedWaiters.delete(check);
        outcome();
      };
      const check = () => {
        if (this.acknowledged >= sequence) done(resolve);
        else if (this.isEnded)
          done(() => reject(this.#failure(`the stream ended before ${sequence} was acknowledged`)));
      };
      const timer = setTimeout(
        () => done(() => reject(this.#failure(`${sequence} was not acknowledged`))),
        NEXT_MS_MAX,
      );
      this.#acknowledgedWaiters.add(check);
      check();
    });
  }

  #nextOrder(kind: string, wants: (order: Order) => boolean): Promise<Order> {
    const index = this.#unread.findIndex(wants);
    const [found] = index === -1 ? [] : this.#unread.splice(index, 1);
    if (found !== undefined) return Promise.resolve(found);
    if (this.isEnded) return Promise.reject(this.#failure(`no ${kind}, and the stream has ended`));
    return new Promise((resolve, reject) => {
      const timer = setTimeout(() => {
        this.#waiters = this.#waiters.filter((other) => other !== waiter);
        reject(this.#failure(`no ${kind} came within ${NEXT_MS_MAX} ms`));
      }, NEXT_MS_MAX);
      const settle =
        <T>(then: (value: T) => void) =>
        (value: T) => {
          clearTimeout(timer);
          then(value);
        };
      const waiter: Waiter = { wants, resolve: settle(resolve), reject: settle(reject) };
      this.#waiters.push(waiter);
    });
  }

  #receive(response: ConnectResponse): void {
    this.received.push(response);
    this.acknowledged = Number(response.acknowledged);
    const { message } = response;
    if (message.case !== undefined) {
      const waiter = this.#waiters.find(({ wants }) => wants(message));
      if (waiter === undefined) {
        this.#unread.push(message);
      } else {
        this.#waiters = this.#waiters.filter((other) => other !== waiter);
        waiter.resolve(message);
      }
    }
    for (const check of [...this.#acknowledgedWaiters]) check();
  }

  #failure(what: string): Error {
    const came = this.received.map(
      ({ acknowledged, message }) => `${message.case ?? 'acknowledgement'}@${acknowledged}`,
    );
    return new Error(`${what}; what came: ${came.slice(-40).join(', ') || 'nothing'}`);
  }
}
