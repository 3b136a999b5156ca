/** A server-streaming rpc by a stock @grpc/grpc-js client: what came is kept, and can be waited for. */
import {
  create,
  type DescMethod,
  fromBinary,
  type MessageInitShape,
  type MessageShape,
  toBinary,
} from '@bufbuild/protobuf';
import type { Client, ClientReadableStream } from '@grpc/grpc-js';
import { type EndStatus, endStatus, metadataOf, pathOf } from './conformance_calls.ts';
import { until } from './until.ts';

const WAIT_MS = 8_000;

export class Watching<M extends DescMethod> {
  /** Everything that came, in order. */
  readonly received: MessageShape<M['output']>[] = [];
  /** Resolves when the stream has ended, however. */
  readonly ended: Promise<EndStatus>;
  readonly #call: ClientReadableStream<MessageShape<M['output']>>;

  constructor(
    client: Client,
    method: M,
    request: MessageInitShape<M['input']>,
    metadata: Record<string, string> = {},
    deadlineMs?: number,
  ) {
    this.#call = client.makeServerStreamRequest(
      pathOf(method),
      (message: MessageInitShape<M['input']>) => Buffer.from(toBinary(method.input, create(method.input, message))),
      (bytes) => fromBinary(method.output, bytes) as MessageShape<M['output']>,
      request,
      metadataOf(metadata),
      deadlineMs === undefined ? {} : { deadline: Date.now() + deadlineMs },
    );
    this.#call.on('data', (message) => this.received.push(message));
    this.#call.on('error', () => {});
    this.ended = new Promise((resolve) => this.#call.on('status', (status) => resolve(endStatus(status))));
  }

  /** Until something that came fits. */
  async sees(what: string, fits: (message: MessageShape<M['output']>) => boolean): Promise<void> {
    const come = () => `waited for ${what}; ${this.received.length} messages came`;
    await until(() => this.received.some(fits), come, WAIT_MS);
  }

  /** Reads nothing more until `resume`: the transport fills up. */
  pause(): void {
    this.#call.pause();
  }

  resume(): void {
    this.#call.resume();
  }

  cancel(): void {
    this.#call.cancel();
  }
}
