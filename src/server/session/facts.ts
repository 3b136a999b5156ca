/** Messages of an open stream as commands: what is checked of each, and which command it is. */

import { type Timestamp, timestampMs } from '@bufbuild/protobuf/wkt';
import {
  type ConnectRequest,
  type InputInvalid,
  LogLevel,
  type StepFailed,
  type StepLogged,
  ReturnReason as WireReason,
} from '../../../gen/yardmaster/v1/worker_service_pb.ts';
import type { Limits } from '../../domain/limits.ts';
import { isRefusal, type Refusal, refuse, refuseField } from '../../domain/refusal.ts';
import type { Command, ReturnReason } from '../../engine/commands.ts';
import type { StepFailure } from '../../engine/state.ts';
import type { LogEntry } from '../../store/logs.ts';
import { checkJsonText } from '../convert/json_text.ts';
import { readLabelPatch, UPSERT_LABELS } from '../convert/labels.ts';
import { clean } from '../convert/text.ts';
import { isPossibleTime } from '../convert/time.ts';

type Message = ConnectRequest['message'];

/** Longest texts of a failure that are kept, UTF-16 units; the rest is cut. */
const FAILURE_MESSAGE_MAX = 16_384;
const FAILURE_STACK_MAX = 65_536;

const RETURN_REASONS: Readonly<Record<number, ReturnReason>> = {
  [WireReason.STALE_LABELS]: 'STALE_LABELS',
  [WireReason.NOT_READY]: 'NOT_READY',
  [WireReason.SHUTTING_DOWN]: 'SHUTTING_DOWN',
};

/** The command a sequenced message states, except logs, which are stored elsewhere. */
export function readFact(connection: number, message: Message, bytes: Uint8Array, limits: Limits): Command | Refusal {
  switch (message.case) {
    case 'upsertLabels': {
      const patch = readLabelPatch('upsert_labels.labels', bytes, UPSERT_LABELS);
      return isRefusal(patch) ? patch : { kind: 'upsert_labels', connection, patch };
    }
    case 'stepAccepted':
      return { kind: 'accept_step', connection, assignmentId: message.value.assignmentId };
    case 'stepReturned': {
      const { assignmentId, reason, detail } = message.value;
      return {
        kind: 'return_step',
        connection,
        assignmentId,
        reason: RETURN_REASONS[reason] ?? 'OTHER',
        detail: clean(detail),
      };
    }
    case 'stepSucceeded': {
      const outputJson = message.value.outputJson === '' ? 'null' : message.value.outputJson;
      const bad = checkJsonText('step_succeeded.output_json', outputJson, limits);
      return bad ?? { kind: 'succeed_step', connection, assignmentId: message.value.assignmentId, outputJson };
    }
    case 'stepFailed':
      return {
        kind: 'fail_step',
        connection,
        assignmentId: message.value.assignmentId,
        failure: readFailure(message.value),
      };
    case 'stepCancelled':
      return { kind: 'confirm_cancel', connection, assignmentId: message.value.assignmentId };
    case 'slotsChanged':
      return { kind: 'change_slots', connection, slots: message.value.slots };
    case 'inputInvalid':
      return readInputInvalid(connection, message.value);
    default:
      return refuse('UNKNOWN_MESSAGE', 'this server does not know this kind of message');
  }
}

function readInputInvalid(connection: number, { assignmentId, stepName, reason }: InputInvalid): Command {
  const said = clean(reason).slice(0, FAILURE_MESSAGE_MAX);
  return { kind: 'report_input_invalid', connection, assignmentId, stepName, reason: said };
}

function readFailure({ error }: StepFailed): StepFailure {
  return {
    reason: error?.reason === 'RESULT_REFUSED' ? 'RESULT_REFUSED' : 'APPLICATION',
    type: clean(error?.type ?? '').slice(0, FAILURE_MESSAGE_MAX),
    message: clean(error?.message ?? '').slice(0, FAILURE_MESSAGE_MAX),
    stack: clean(error?.stack ?? '').slice(0, FAILURE_STACK_MAX),
    retryable: error?.retryable ?? null,
  };
}

/** Log lines as they are stored: cleaned, and cut at the limit with the count of what was left out. */
export function readLines(logged: StepLogged, nowMs: number, limits: Limits): LogEntry[] {
  return logged.lines.map((line) => ({
    lineMs: lineTime(line.time, nowMs),
    level: line.level >= LogLevel.DEBUG && line.level <= LogLevel.ERROR ? line.level : LogLevel.INFO,
    text: cut(clean(line.text), limits.logLineBytesMax),
  }));
}

/** The worker's clock, unless it shows what cannot be a time, nor be stored as one. */
function lineTime(time: Timestamp | undefined, nowMs: number): number {
  return time !== undefined && isPossibleTime(time) ? timestampMs(time) : nowMs;
}

/** Line numbers are kept as numbers; nobody counts further. */
export function checkLineNumbers({ firstLineNumber, lines }: StepLogged): Refusal | null {
  const last = firstLineNumber + BigInt(lines.length - 1);
  if (last <= BigInt(Number.MAX_SAFE_INTEGER)) return null;
  return refuseField('INVALID_FIELD', 'step_logged.first_line_number', `${firstLineNumber} is beyond what is counted`);
}

function cut(text: string, bytesMax: number): string {
  const bytes = Buffer.byteLength(text);
  if (bytes <= bytesMax) return text;
  const note = ` … (${bytes} bytes, cut at ${bytesMax})`;
  const kept = Buffer.from(text).subarray(0, bytesMax - Buffer.byteLength(note));
  // A cut inside a character leaves a replacement mark at the end: it goes too.
  return kept.toString('utf8').replace(/\ufffd+$/, '') + note;
}
