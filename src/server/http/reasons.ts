/**
 * What connect-node itself cannot read it refuses without a reason of ours. Where people meet that, in the JSON of an
 * answer by Connect, the reason is added on the way out.
 */
import { create, toBinary, toJson } from '@bufbuild/protobuf';
import type { UniversalServerResponse } from '@connectrpc/connect/protocol';
import { ErrorInfoSchema } from '../../../gen/google/rpc/error_details_pb.ts';
import type { Reason } from '../../domain/reasons.ts';
import { ERROR_DOMAIN } from '../errors.ts';

/** By Connect's name of the status; the others are not about what was sent. */
const REASON_BY_CODE: Readonly<Record<string, Reason>> = {
  invalid_argument: 'INVALID_FIELD',
  resource_exhausted: 'MESSAGE_TOO_LARGE',
};

export async function withReason(answer: UniversalServerResponse): Promise<UniversalServerResponse> {
  const isJson = answer.header?.get('content-type') === 'application/json';
  if (answer.status < 400 || !isJson || answer.header?.has('content-encoding') || answer.body === undefined)
    return answer;
  const chunks: Uint8Array[] = [];
  for await (const chunk of answer.body) chunks.push(chunk);
  const body = Buffer.concat(chunks);
  const error = JSON.parse(body.toString()) as { readonly code: string; readonly details?: unknown };
  const reason = error.details === undefined ? REASON_BY_CODE[error.code] : undefined;
  if (reason === undefined) return { ...answer, body: one(body) };
  const explained = Buffer.from(JSON.stringify({ ...error, details: [detail(reason)] }));
  answer.header?.set('content-length', String(explained.length));
  return { ...answer, body: one(explained) };
}

function detail(reason: Reason): object {
  const info = create(ErrorInfoSchema, { reason, domain: ERROR_DOMAIN });
  const value = Buffer.from(toBinary(ErrorInfoSchema, info)).toString('base64').replace(/=+$/, '');
  return { type: ErrorInfoSchema.typeName, debug: toJson(ErrorInfoSchema, info), value };
}

async function* one(chunk: Uint8Array): AsyncGenerator<Uint8Array> {
  yield chunk;
}
