/** Rpcs by a stock @grpc/grpc-js client: messages by the generated schemas, errors decoded with their details. */
import {
  create,
  type DescMethod,
  type DescService,
  fromBinary,
  type MessageInitShape,
  type MessageShape,
  toBinary,
} from '@bufbuild/protobuf';
import { anyUnpack } from '@bufbuild/protobuf/wkt';
import { type Client, Metadata, type StatusObject } from '@grpc/grpc-js';
import { BadRequestSchema, ErrorInfoSchema } from '../../gen/google/rpc/error_details_pb.ts';
import { StatusSchema } from '../../gen/google/rpc/status_pb.ts';

type UnaryNames<S extends DescService> = {
  [K in keyof S['method']]: S['method'][K]['methodKind'] extends 'unary' ? K : never;
}[keyof S['method']];

/** The unary rpcs of a service as functions; metadata is given as plain text. */
export type Calls<S extends DescService> = {
  readonly [K in UnaryNames<S>]: (
    request: MessageInitShape<S['method'][K]['input']>,
    metadata?: Record<string, string>,
  ) => Promise<MessageShape<S['method'][K]['output']>>;
};

/** What a call or a stream ended with. */
export interface EndStatus {
  readonly code: number;
  readonly message: string;
  /** Of its ErrorInfo; undefined without one. */
  readonly reason: string | undefined;
  readonly domain: string | undefined;
  readonly metadata: Readonly<Record<string, string>>;
  /** Of its BadRequest. */
  readonly fields: readonly { readonly field: string; readonly description: string }[];
}

class RpcError extends Error {
  readonly status: EndStatus;

  constructor(method: string, status: EndStatus) {
    super(`${method}: ${status.code} ${status.reason ?? ''} ${status.message}`);
    this.status = status;
  }
}

export function callsOf<S extends DescService>(client: () => Client, service: S): Calls<S> {
  const unary = service.methods.filter(({ methodKind }) => methodKind === 'unary');
  const calls = unary.map((method) => [
    method.localName,
    (request: object, metadata?: Record<string, string>) => call(client(), method, request, metadataOf(metadata)),
  ]);
  return Object.fromEntries(calls) as Calls<S>;
}

function call(client: Client, method: DescMethod, request: object, metadata: Metadata): Promise<unknown> {
  return new Promise((resolve, reject) => {
    client.makeUnaryRequest(
      pathOf(method),
      (message: object) => Buffer.from(toBinary(method.input, create(method.input, message as never))),
      (bytes) => fromBinary(method.output, bytes),
      request,
      metadata,
      (error, answer) => {
        if (error) reject(new RpcError(method.name, endStatus(error)));
        else resolve(answer);
      },
    );
  });
}

/** Reads a server-streaming rpc to its end. */
export function readStream<M extends DescMethod>(
  client: Client,
  method: M,
  request: MessageInitShape<M['input']>,
): Promise<{ messages: MessageShape<M['output']>[]; status: EndStatus }> {
  return new Promise((resolve) => {
    const messages: MessageShape<M['output']>[] = [];
    const call = client.makeServerStreamRequest(
      pathOf(method),
      (message: MessageInitShape<M['input']>) => Buffer.from(toBinary(method.input, create(method.input, message))),
      (bytes) => fromBinary(method.output, bytes),
      request,
    );
    call.on('data', (message) => messages.push(message));
    call.on('error', () => {});
    call.on('status', (status) => resolve({ messages, status: endStatus(status) }));
  });
}

export function pathOf(method: DescMethod): string {
  return `/${method.parent.typeName}/${method.name}`;
}

export function metadataOf(entries: Record<string, string> = {}): Metadata {
  const metadata = new Metadata();
  for (const [key, value] of Object.entries(entries)) metadata.set(key, value);
  return metadata;
}

export function endStatus({ code, details, metadata }: Partial<StatusObject>): EndStatus {
  const [bytes] = metadata?.get('grpc-status-details-bin') ?? [];
  const status = bytes === undefined ? undefined : fromBinary(StatusSchema, bytes as Buffer);
  const infos = (status?.details ?? [])
    .map((any) => anyUnpack(any, ErrorInfoSchema))
    .filter((info) => info !== undefined);
  const bad = (status?.details ?? [])
    .map((any) => anyUnpack(any, BadRequestSchema))
    .find((found) => found !== undefined);
  if (infos.length > 1) throw new Error('an error carries more than one ErrorInfo');
  if (status !== undefined && status.code !== code) throw new Error('grpc-status and its details disagree');
  return {
    code: code ?? -1,
    message: details ?? '',
    reason: infos[0]?.reason,
    domain: infos[0]?.domain,
    metadata: { ...infos[0]?.metadata },
    fields: (bad?.fieldViolations ?? []).map(({ field, description }) => ({ field, description })),
  };
}

/** What a call that must fail failed with. */
export async function failureOf(call: Promise<unknown>): Promise<EndStatus> {
  const outcome = await call.then(
    (answer) => ({ answer }),
    (error: unknown) => error,
  );
  if (outcome instanceof RpcError) return outcome.status;
  if (outcome instanceof Error) throw outcome;
  throw new Error('the call succeeded, and had to fail');
}
