/** What may come when on a stream. Pure. */
import { type ConnectRequest, ConnectRequestSchema } from '../../../gen/yardmaster/v1/worker_service_pb.ts';
import type { Limits } from '../../domain/limits.ts';
import { type Refusal, refuse, refuseLimit } from '../../domain/refusal.ts';
import { checkShape } from '../validate.ts';
import type { Incoming } from './incoming.ts';

/** Messages that are not settled, and so carry no number. */
const UNNUMBERED: ReadonlySet<ConnectRequest['message']['case']> = new Set([
  'hello',
  'heartbeat',
  'stepProgressed',
  'goodbye',
]);

/** A kind that is unknown here is numbered if its sender numbered it. */
export function isNumbered({ message, sequence }: Incoming): boolean {
  const kind = message?.message.case;
  return kind === undefined ? sequence !== 0 : !UNNUMBERED.has(kind);
}

/** A breach ends the stream: nothing that follows could be understood. */
export function breachOf(incoming: Incoming, isFirst: boolean, expectedSequence: number): Refusal | null {
  const kind = incoming.message?.message.case;
  if (isFirst !== (kind === 'hello')) {
    return isFirst
      ? refuse('HELLO_EXPECTED', 'the first message of a stream must be hello')
      : refuse('SECOND_HELLO', 'hello comes once, and first');
  }
  const expected = isNumbered(incoming) ? expectedSequence : 0;
  if (incoming.sequence === expected) return null;
  return refuse(
    'INVALID_SEQUENCE',
    `sequence: is ${incoming.sequence}, expected ${expected} (${kind ?? 'unknown message'})`,
  );
}

/** What is wrong with one message by itself: it is refused, and the stream stays up. */
export function faultOf({ bytes, message }: Incoming, limits: Limits): Refusal | null {
  if (bytes.length > limits.messageBytesMax) {
    return { ...refuseLimit('message', bytes.length, limits.messageBytesMax, 'bytes'), refused: 'MESSAGE_TOO_LARGE' };
  }
  if (message === null) return refuse('INVALID_FIELD', 'the message cannot be decoded');
  if (message.message.case === undefined)
    return refuse('UNKNOWN_MESSAGE', 'this server does not know this kind of message');
  return checkShape(ConnectRequestSchema, message);
}
