/** Facts of an open stream: paced, turned into commands, and settled or refused when those are decided. */
import type { ConnectRequest, StepLogged, StepProgressed } from '../../../gen/yardmaster/v1/worker_service_pb.ts';
import { isRefusal, type Refusal, refuse } from '../../domain/refusal.ts';
import type { Command, CommandOf } from '../../engine/commands.ts';
import { clean } from '../convert/text.ts';
import type { Plane } from '../plane.ts';
import { checkLineNumbers, readFact, readLines } from './facts.ts';
import type { Incoming } from './incoming.ts';
import { createConfirmLate } from './late_facts.ts';
import type { LinesFirst } from './lines_first.ts';
import { heartbeatOrder, labelsUpsertedOrder } from './orders.ts';
import type { Order } from './outgoing.ts';
import { createPace } from './pace.ts';

export interface IntakeOptions {
  readonly plane: Plane;
  readonly connection: number;
  /** Of the worker this stream was opened for. */
  readonly workerId: () => string;
  readonly lines: LinesFirst;
  readonly push: (order: Order) => void;
  readonly settle: (sequence: number) => void;
  readonly refuse: (sequence: number, refusal: Refusal) => void;
}

/** Takes every message of an open stream but hello and goodbye. */
export type Intake = (message: ConnectRequest['message'], incoming: Incoming) => void;

export function createIntake(options: IntakeOptions): Intake {
  const { plane, connection, push, settle } = options;
  const { clock, limits } = plane;
  const confirmLate = createConfirmLate(plane, options.workerId);
  const labelPace = createPace(limits.labelMessagesPerSecondMax, clock.nowMs());
  const linePace = createPace(limits.logLinesPerSecondMax, clock.nowMs());

  function progressed({ assignmentId, text, phase, fraction }: StepProgressed): void {
    const progress = { text: shorten(text), phase: shorten(phase), fraction: fraction ?? null };
    plane.decide({ kind: 'progress_step', connection, assignmentId, progress }, (result) => {
      // Of progress the last word wins, and there will be another.
      if (isRefusal(result) && result.retryAfterMs === undefined) options.refuse(0, result);
    });
  }

  function shorten(text: string): string {
    return clean(text).slice(0, limits.progressTextCharactersMax);
  }

  function logged(sequence: number, message: StepLogged): void {
    const { assignmentId } = message;
    const firstLineNumber = Number(message.firstLineNumber);
    const refused = (refusal: Refusal) => {
      if (refusal.retryAfterMs !== undefined) options.lines.postponed(assignmentId, firstLineNumber);
      options.refuse(sequence, refusal);
    };
    const waitMs = linePace.take(message.lines.length, clock.nowMs());
    const bad = checkLineNumbers(message) ?? tooFast('step_logged', limits.logLinesPerSecondMax, 'lines', waitMs);
    if (bad) {
      refused(bad);
      return;
    }
    const stored = options.lines.begin(assignmentId, firstLineNumber);
    plane.decide({ kind: 'log_step', connection, assignmentId }, (result) => {
      if (isRefusal(result)) {
        refused(result);
        stored();
        return;
      }
      const lines = readLines(message, clock.nowMs(), limits);
      // Without a writer nobody decides here any more, and the stream is about to end: the lines come again.
      plane.logs()?.add({ assignmentId, ...result, firstLineNumber, lines }, () => {
        settle(sequence);
        stored();
      });
    });
  }

  function stated(message: ConnectRequest['message'], { sequence, bytes }: Incoming): void {
    const command = readFact(connection, message, bytes, limits);
    if (isRefusal(command)) options.refuse(sequence, command);
    else if (command.kind === 'upsert_labels') upserted(sequence, command);
    else if (command.kind === 'succeed_step' || command.kind === 'fail_step') {
      const again = () => options.refuse(sequence, linesFirst());
      options.lines.after(command.assignmentId, () => decide(sequence, command), again);
    } else decide(sequence, command);
  }

  function decide(sequence: number, command: Command): void {
    plane.decide(command, (result) => {
      if (!isRefusal(result)) settle(sequence);
      else if ('assignmentId' in command) confirmLate(command, result, (final) => answer(sequence, final));
      else options.refuse(sequence, result);
    });
  }

  function answer(sequence: number, refusal: Refusal | null): void {
    if (refusal === null) settle(sequence);
    else options.refuse(sequence, refusal);
  }

  function upserted(sequence: number, command: CommandOf<'upsert_labels'>): void {
    const waitMs = labelPace.take(1, clock.nowMs());
    const bad = tooFast('upsert_labels', limits.labelMessagesPerSecondMax, 'messages', waitMs);
    if (bad) {
      options.refuse(sequence, bad);
      return;
    }
    plane.decide(command, (result) => {
      if (isRefusal(result)) {
        options.refuse(sequence, result);
        return;
      }
      push(labelsUpsertedOrder(result));
      settle(sequence);
    });
  }

  return (message, incoming) => {
    switch (message.case) {
      case 'heartbeat':
        plane.decide({ kind: 'heartbeat', connection }, () => {});
        push(heartbeatOrder(message.value.sendTime, clock.nowMs()));
        return;
      case 'stepProgressed':
        progressed(message.value);
        return;
      case 'stepLogged':
        logged(incoming.sequence, message.value);
        return;
      default:
        stated(message, incoming);
    }
  };
}

/** Its lines have to come again, and it after them. */
const LINES_AGAIN_MS = 100;

function linesFirst(): Refusal {
  const message = `lines of this assignment that came before have to come again first; send the same again after ${LINES_AGAIN_MS} ms`;
  return { ...refuse('RATE_LIMITED', message), retryAfterMs: LINES_AGAIN_MS };
}

/** null while the pace allows it. */
function tooFast(field: string, perSecond: number, unit: string, waitMs: number): Refusal | null {
  if (waitMs === 0) return null;
  const message = `${field}: more than ${perSecond} ${unit} in a second; send the same again after ${waitMs} ms`;
  return { ...refuse('RATE_LIMITED', message, { field, limit: String(perSecond) }), retryAfterMs: waitMs };
}
