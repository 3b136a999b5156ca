/** What went wrong, in a form a program can act on. */
import { fromBinary } from '@bufbuild/protobuf';
import { Code, ConnectError } from '@connectrpc/connect';
import type { Metadata, StatusObject } from '@grpc/grpc-js';
import { BadRequestSchema, ErrorInfoSchema } from '../../gen/google/rpc/error_details_pb.ts';
import { StatusSchema } from '../../gen/google/rpc/status_pb.ts';

export interface ErrorReason {
  code: Code;
  /** UPPER_SNAKE, for example RUN_NOT_FOUND; empty when the error did not come from the control plane itself. */
  reason: string;
  metadata: Readonly<Record<string, string>>;
  /** Which fields of the request are wrong, and how; empty unless the code is InvalidArgument. */
  fields: readonly { field: string; description: string }[];
  /** For a person; without the code. */
  message: string;
}

/** Reads google.rpc.ErrorInfo and google.rpc.BadRequest out of anything a client call has thrown. */
export function errorReason(error: unknown): ErrorReason {
  const connectError = ConnectError.from(error);
  const info = connectError.findDetails(ErrorInfoSchema)[0];
  const fields = connectError
    .findDetails(BadRequestSchema)
    .flatMap((request) => request.fieldViolations)
    .map(({ field, description }) => ({ field, description }));
  return {
    code: connectError.code,
    reason: info?.reason ?? '',
    metadata: info?.metadata ?? {},
    fields,
    message: connectError.rawMessage,
  };
}

/** gRPC and Connect number their codes alike; a code out of range is Unknown. */
export function connectErrorOf(status: StatusObject): ConnectError {
  const number: number = status.code;
  const known = number >= Code.Canceled && number <= Code.Unauthenticated;
  const code: Code = known ? number : Code.Unknown;
  const error = new ConnectError(status.details, code, headersOf(status.metadata));
  error.details = detailsOf(status.metadata);
  return error;
}

export function headersOf(metadata: Metadata): Headers {
  const headers = new Headers();
  for (const key of Object.keys(metadata.getMap())) {
    for (const value of metadata.get(key)) {
      headers.append(key, typeof value === 'string' ? value : value.toString('base64'));
    }
  }
  return headers;
}

function detailsOf(metadata: Metadata): ConnectError['details'] {
  const bytes = metadata.get('grpc-status-details-bin')[0];
  if (bytes === undefined || typeof bytes === 'string') return [];
  try {
    return fromBinary(StatusSchema, bytes).details.map(({ typeUrl, value }) => ({
      type: typeUrl.slice(typeUrl.lastIndexOf('/') + 1),
      value,
    }));
  } catch {
    return [];
  }
}
