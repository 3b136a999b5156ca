/** Facts of an open stream: paced, turned into commands, and settled or refused when those are decided. */
import type { ConnectRequest, StepLogged, StepProgressed } from '../../../gen/yardmaster/v1/worker_service_pb.ts';
import { isRefusal, type Refusal, refuse } from '../../domain/refusal.ts';
import type { Command, CommandOf } from '../../engine/commands.ts';
import { clean } from '../convert/text.ts';
import type { Plane } from '../plane.ts';
import { checkLineNumbers, readFact, readLines } from './facts.ts';
import type { Incoming } from './incoming.ts';
import { type ConfirmLate, createConfirmLate } from './late_facts.ts';
import { createLinesFirst, type LinesFirst } from './lines_first.ts';
import { labelsUpsertedOrder } from './orders.ts';
import type { Order } from './outgoing.ts';
import { createPace, type Pace } from './pace.ts';

/** The stream whose facts these are. */
export interface IntakeStream {
  readonly plane: Plane;
  readonly connection: number;
  /** Of the worker this stream was opened for. */
  readonly workerId: string;
  push(order: Order): void;
  settle(sequence: number): void;
  refuse(sequence: number, refusal: Refusal): void;
}

/** Made with the first fact; what only some facts need, with the first of those: most streams are idle. */
export class Intake {
  private readonly stream: IntakeStream;
  private lines: LinesFirst | null = null;
  private confirmLate: ConfirmLate | null = null;
  private labelPace: Pace | null = null;
  private linePace: Pace | null = null;

  constructor(stream: IntakeStream) {
    this.stream = stream;
  }

  /** Takes every message of an open stream but hello, heartbeat and goodbye. */
  take(message: ConnectRequest['message'], incoming: Incoming): void {
    if (message.case === 'stepProgressed') this.progressed(message.value);
    else if (message.case === 'stepLogged') this.logged(incoming.sequence, message.value);
    else this.stated(message, incoming);
  }

  /** Calls `then` when no lines are under way any more: at once, or later. */
  linesSettled(then: () => void): void {
    if (this.lines === null) then();
    else this.lines.settled(then);
  }

  private progressed({ assignmentId, text, phase, fraction }: StepProgressed): void {
    const { plane, connection } = this.stream;
    const charactersMax = plane.limits.progressTextCharactersMax;
    const shorten = (long: string) => clean(long).slice(0, charactersMax);
    const progress = { text: shorten(text), phase: shorten(phase), fraction: fraction ?? null };
    plane.decide({ kind: 'progress_step', connection, assignmentId, progress }, (result) => {
      // Of progress the last word wins, and there will be another.
      if (isRefusal(result) && result.retryAfterMs === undefined) this.stream.refuse(0, result);
    });
  }

  private logged(sequence: number, message: StepLogged): void {
    const { plane, connection } = this.stream;
    const { clock, limits } = plane;
    this.lines ??= createLinesFirst();
    this.linePace ??= createPace(limits.logLinesPerSecondMax, clock.nowMs());
    const { assignmentId } = message;
    const firstLineNumber = Number(message.firstLineNumber);
    const refused = (refusal: Refusal) => {
      if (refusal.retryAfterMs !== undefined) this.lines?.postponed(assignmentId, firstLineNumber);
      this.stream.refuse(sequence, refusal);
    };
    const waitMs = this.linePace.take(message.lines.length, clock.nowMs());
    const bad = checkLineNumbers(message) ?? tooFast('step_logged', limits.logLinesPerSecondMax, 'lines', waitMs);
    if (bad) {
      refused(bad);
      return;
    }
    const stored = this.lines.begin(assignmentId, firstLineNumber);
    plane.decide({ kind: 'log_step', connection, assignmentId }, (result) => {
      if (isRefusal(result)) {
        refused(result);
        stored();
        return;
      }
      const lines = readLines(message, clock.nowMs(), limits);
      // Without a writer nobody decides here any more, and the stream is about to end: the lines come again.
      plane.logs()?.add({ assignmentId, ...result, firstLineNumber, lines }, () => {
        this.stream.settle(sequence);
        stored();
      });
    });
  }

  private stated(message: ConnectRequest['message'], { sequence, bytes }: Incoming): void {
    const { stream, lines } = this;
    const command = readFact(stream.connection, message, bytes, stream.plane.limits);
    if (isRefusal(command)) stream.refuse(sequence, command);
    else if (command.kind === 'upsert_labels') this.upserted(sequence, command);
    else if (lines !== null && (command.kind === 'succeed_step' || command.kind === 'fail_step')) {
      const again = () => stream.refuse(sequence, linesFirst());
      lines.after(command.assignmentId, () => this.decide(sequence, command), again);
    } else this.decide(sequence, command);
  }

  private decide(sequence: number, command: Command): void {
    const { stream } = this;
    stream.plane.decide(command, (result) => {
      if (!isRefusal(result)) stream.settle(sequence);
      else if ('assignmentId' in command) this.refusedFact(sequence, command, result);
      else stream.refuse(sequence, result);
    });
  }

  private refusedFact(sequence: number, fact: Parameters<ConfirmLate>[0], refusal: Refusal): void {
    const { stream } = this;
    this.confirmLate ??= createConfirmLate(stream.plane, () => stream.workerId);
    this.confirmLate(fact, refusal, (final) => {
      if (final === null) stream.settle(sequence);
      else stream.refuse(sequence, final);
    });
  }

  private upserted(sequence: number, command: CommandOf<'upsert_labels'>): void {
    const { stream } = this;
    const { clock, limits } = stream.plane;
    this.labelPace ??= createPace(limits.labelMessagesPerSecondMax, clock.nowMs());
    const waitMs = this.labelPace.take(1, clock.nowMs());
    const bad = tooFast('upsert_labels', limits.labelMessagesPerSecondMax, 'messages', waitMs);
    if (bad) {
      stream.refuse(sequence, bad);
      return;
    }
    stream.plane.decide(command, (result) => {
      if (isRefusal(result)) {
        stream.refuse(sequence, result);
        return;
      }
      stream.push(labelsUpsertedOrder(result));
      stream.settle(sequence);
    });
  }
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
