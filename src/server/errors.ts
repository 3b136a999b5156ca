/** The one error the server throws on purpose, and its way onto the wire. */
import { create, type MessageInitShape, toBinary } from '@bufbuild/protobuf';
import { anyPack } from '@bufbuild/protobuf/wkt';
import { Code } from '../../gen/google/rpc/code_pb.ts';
import { BadRequestSchema, ErrorInfoSchema } from '../../gen/google/rpc/error_details_pb.ts';
import { StatusSchema } from '../../gen/google/rpc/status_pb.ts';
import { REASONS } from '../domain/reasons.ts';
import { type FieldViolation, isRefusal, type Refusal, refuse } from '../domain/refusal.ts';
import { isTransient } from '../store/transient.ts';
import { clipBytes } from './convert/text.ts';

export const ERROR_DOMAIN = 'yardmaster';

/** Carries a refusal through code that throws. */
export class RefusedError extends Error {
  override readonly name = 'RefusedError';
  readonly refusal: Refusal;

  constructor(refusal: Refusal) {
    super(refusal.message);
    this.refusal = refusal;
  }
}

/** The value, or the refusal thrown. */
export function accepted<T>(value: T | Refusal): T {
  if (isRefusal(value)) throw new RefusedError(value);
  return value;
}

export function statusCode(refusal: Refusal): number {
  return Code[REASONS[refusal.refused]];
}

/** What a caller may be told of any error: a refusal as it is, a store that is away, anything else only as INTERNAL. */
export function refusalOf(error: unknown): Refusal {
  if (error instanceof RefusedError) return error.refusal;
  if (isTransient(error)) return refuse('STORE_UNAVAILABLE', 'the database does not answer: try again');
  return refuse('INTERNAL', 'the server failed to handle this request; its log says why');
}

/** Bytes of UTF-8. A refusal travels in headers, percent-encoded and as base64, and many clients take 8 KiB of those. */
const MESSAGE_BYTES_MAX = 1_024;
const DETAIL_BYTES_MAX = 256;
const FIELDS_BYTES_MAX = 1_024;

/** The refusal cut to what fits into an answer, whatever it quotes: the caller knows what it sent. */
export function bounded(refusal: Refusal): Refusal {
  const metadata = Object.entries(refusal.metadata).map(([key, value]) => [key, clipBytes(value, DETAIL_BYTES_MAX)]);
  const fields: FieldViolation[] = [];
  let bytesLeft = FIELDS_BYTES_MAX;
  for (const { field, description } of refusal.fields) {
    const shown = { field: clipBytes(field, DETAIL_BYTES_MAX), description: clipBytes(description, DETAIL_BYTES_MAX) };
    bytesLeft -= Buffer.byteLength(shown.field) + Buffer.byteLength(shown.description);
    if (bytesLeft < 0) break;
    fields.push(shown);
  }
  return {
    ...refusal,
    message: clipBytes(refusal.message, MESSAGE_BYTES_MAX),
    metadata: Object.fromEntries(metadata),
    fields,
  };
}

interface Details {
  readonly info: MessageInitShape<typeof ErrorInfoSchema>;
  /** null: no field is named. */
  readonly badRequest: MessageInitShape<typeof BadRequestSchema> | null;
}

/** What every error carries, whichever protocol it travels by. */
export function detailsOf(refusal: Refusal): Details {
  return {
    info: { reason: refusal.refused, domain: ERROR_DOMAIN, metadata: { ...refusal.metadata } },
    badRequest:
      refusal.fields.length === 0
        ? null
        : { fieldViolations: refusal.fields.map(({ field, description }) => ({ field, description })) },
  };
}

/** google.rpc.Status with one ErrorInfo, and a BadRequest when fields are named. */
export function statusBytes(refusal: Refusal): Uint8Array {
  const { info, badRequest } = detailsOf(refusal);
  const details = [anyPack(ErrorInfoSchema, create(ErrorInfoSchema, info))];
  if (badRequest !== null) details.push(anyPack(BadRequestSchema, create(BadRequestSchema, badRequest)));
  return toBinary(StatusSchema, create(StatusSchema, { code: statusCode(refusal), message: refusal.message, details }));
}
