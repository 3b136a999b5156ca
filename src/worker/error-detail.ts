/** The machine-readable part of a gRPC error. */
import { fromBinary } from '@bufbuild/protobuf';
import { anyUnpack } from '@bufbuild/protobuf/wkt';
import { ErrorInfoSchema } from '../../gen/google/rpc/error_details_pb.ts';
import { StatusSchema } from '../../gen/google/rpc/status_pb.ts';

export interface ErrorDetail {
  /** UPPER_SNAKE; empty: none was given. */
  reason: string;
  metadata: Readonly<Record<string, string>>;
}

/** Reads google.rpc.ErrorInfo out of the bytes of a google.rpc.Status; what cannot be read counts as not given. */
export function errorDetail(status: Uint8Array | undefined): ErrorDetail {
  const none = { reason: '', metadata: {} };
  if (status === undefined) return none;
  try {
    for (const any of fromBinary(StatusSchema, status).details) {
      const info = anyUnpack(any, ErrorInfoSchema);
      if (info !== undefined) return { reason: info.reason, metadata: info.metadata };
    }
  } catch {
    // Details are a comfort; the status itself has said what matters.
  }
  return none;
}
