/** A message as it came: its bytes are kept, since its size is checked by us and its labels are read from them. */
import { fromBinary } from '@bufbuild/protobuf';
import { BinaryReader, WireType } from '@bufbuild/protobuf/wire';
import { EmptySchema } from '@bufbuild/protobuf/wkt';
import { type ConnectRequest, ConnectRequestSchema } from '../../../gen/yardmaster/v1/worker_service_pb.ts';
import { fromBytes } from '../../lib/wire/from_bytes.ts';

export interface Incoming {
  readonly bytes: Uint8Array;
  /** null: it cannot be decoded. */
  readonly message: ConnectRequest | null;
  /** As it was sent, or 0 when not even that can be read. */
  readonly sequence: number;
}

const SEQUENCE_FIELD = 1;

/** Never throws: a message that cannot be decoded is refused by the session, and its stream stays up. */
export function readIncoming(bytes: Uint8Array): Incoming {
  try {
    const message = fromBytes(ConnectRequestSchema, bytes);
    return { bytes, message, sequence: Number(message.sequence) };
  } catch {
    return { bytes, message: null, sequence: sequenceOf(bytes) };
  }
}

function sequenceOf(bytes: Uint8Array): number {
  try {
    const fields = fromBinary(EmptySchema, bytes).$unknown ?? [];
    const field = fields.find(({ no, wireType }) => no === SEQUENCE_FIELD && wireType === WireType.Varint);
    return field === undefined ? 0 : Number(new BinaryReader(field.data).uint64());
  } catch {
    return 0;
  }
}
