/** What an rpc is: written once, mounted on every listener. */
import type { DescMethod, DescService, MessageInitShape, MessageShape } from '@bufbuild/protobuf';

/** Who asks, and until when the answer is wanted. */
export interface Caller {
  readonly namespace: string;
  /** Aborted when the caller has gone or its deadline is over. */
  readonly signal: AbortSignal;
}

type Unary<M extends DescMethod> = (
  request: MessageShape<M['input']>,
  caller: Caller,
) => Promise<MessageInitShape<M['output']>>;
type ServerStreaming<M extends DescMethod> = (
  request: MessageShape<M['input']>,
  caller: Caller,
) => AsyncIterable<MessageInitShape<M['output']>>;

/** The rpcs of a service, but for streams from the client; one that is missing answers UNIMPLEMENTED. */
export type Implementation<S extends DescService> = {
  readonly [K in keyof S['method']]?: S['method'][K]['methodKind'] extends 'unary'
    ? Unary<S['method'][K]>
    : S['method'][K]['methodKind'] extends 'server_streaming'
      ? ServerStreaming<S['method'][K]>
      : never;
};
