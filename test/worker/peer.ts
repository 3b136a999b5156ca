/** The server's end of one stream, in the hands of a test. */
import { create, type MessageInitShape } from '@bufbuild/protobuf';
import {
  type ConnectRequest,
  type ConnectResponse,
  ConnectResponseSchema,
  type RunStepSchema,
  type WelcomeSchema,
} from '../../gen/yardmaster/v1/worker_service_pb.ts';

type RequestCase = Exclude<ConnectRequest['message']['case'], undefined>;
type Got<Case extends RequestCase> = {
  sequence: number;
  value: Extract<ConnectRequest['message'], { case: Case }>['value'];
};

export interface PeerOutput {
  send(response: ConnectResponse): void;
  /** Ends the stream; a code makes it an error. `details` are bytes of google.rpc.Status. */
  end(code?: number, message?: string, details?: Uint8Array): void;
}

export class Peer {
  readonly #output: PeerOutput;
  readonly #inbox: ConnectRequest[] = [];
  #reader: (() => void) | undefined;
  /** Every message so far, in order. */
  readonly all: ConnectRequest[] = [];
  /** Request metadata. */
  readonly metadata: Record<string, string>;
  /** The worker has ended its half, or cut the stream. */
  readonly gone: Promise<void>;
  #markGone: () => void = () => {};
  isGone = false;

  constructor(output: PeerOutput, metadata: Record<string, string> = {}) {
    this.#output = output;
    this.metadata = metadata;
    this.gone = new Promise((resolve) => {
      this.#markGone = () => {
        this.isGone = true;
        resolve();
      };
    });
  }

  heard(request: ConnectRequest): void {
    this.all.push(request);
    this.#inbox.push(request);
    this.#reader?.();
  }

  left(): void {
    this.#markGone();
  }

  /** The next message that is no heartbeat. */
  async next(): Promise<ConnectRequest> {
    for (;;) {
      const request = this.#inbox.shift();
      if (request === undefined) {
        await new Promise<void>((resolve) => {
          this.#reader = resolve;
        });
      } else if (request.message.case !== 'heartbeat') return request;
    }
  }

  /** The next message, which must be of this kind. */
  async take<Case extends RequestCase>(wanted: Case): Promise<Got<Case>> {
    const { sequence, message } = await this.next();
    if (message.case !== wanted) {
      throw new Error(`expected ${wanted}, got ${message.case}: ${JSON.stringify(message.value, bigints)}`);
    }
    return { sequence: Number(sequence), value: message.value as Got<Case>['value'] };
  }

  /** Kinds of the messages nobody has taken. */
  waiting(): string[] {
    return this.#inbox.map(({ message }) => String(message.case));
  }

  send(message: MessageInitShape<typeof ConnectResponseSchema>['message'], acknowledged = 0): void {
    const response = { acknowledged: BigInt(acknowledged), ...(message ? { message } : {}) };
    this.#output.send(create(ConnectResponseSchema, response));
  }

  acknowledge(upTo: number): void {
    this.send({ case: 'heartbeat', value: {} }, upTo);
  }

  welcome(value: MessageInitShape<typeof WelcomeSchema> = {}): void {
    this.send({
      case: 'welcome',
      value: { workerId: 'w-1', name: 'one', sessionId: 's-1', namespace: 'default', ...value },
    });
  }

  runStep(assignmentId: string, value: MessageInitShape<typeof RunStepSchema> = {}): void {
    const inputJson = '{"n":1}';
    this.send({
      case: 'runStep',
      value: {
        assignmentId,
        runId: `run-${assignmentId}`,
        action: 'work',
        attempt: 1,
        inputJson,
        ...value,
      },
    });
  }

  refuse(sequence: number, reason: string, retryAfterMs?: number): void {
    const value = { sequence: BigInt(sequence), code: 9, reason, message: `no: ${reason}` };
    const seconds = BigInt(Math.floor((retryAfterMs ?? 0) / 1000));
    const retryAfter = { seconds, nanos: ((retryAfterMs ?? 0) % 1000) * 1_000_000 };
    this.send({
      case: 'refused',
      value: retryAfterMs === undefined ? value : { ...value, retryAfter },
    });
  }

  /** Cuts the stream. */
  end(code?: number, message?: string, details?: Uint8Array): void {
    this.#output.end(code, message, details);
  }
}

/** Hands out peers as streams open. */
export class Peers {
  readonly #arrived: Peer[] = [];
  readonly #readers: ((peer: Peer) => void)[] = [];
  /** Streams opened so far. */
  count = 0;

  add(peer: Peer): void {
    this.count += 1;
    const reader = this.#readers.shift();
    if (reader) reader(peer);
    else this.#arrived.push(peer);
  }

  next(): Promise<Peer> {
    const peer = this.#arrived.shift();
    if (peer) return Promise.resolve(peer);
    return new Promise((resolve) => this.#readers.push(resolve));
  }
}

function bigints(_key: string, value: unknown): unknown {
  return typeof value === 'bigint' ? Number(value) : value;
}
