/**
 * The work this worker holds and what it has to say about it. Pure: time comes in, messages leave through `Wire`,
 * which is there only while a welcomed stream is.
 */
import { durationMs } from '@bufbuild/protobuf/wkt';
import type { LogLevel, Refused, ReturnReason } from '../../gen/yardmaster/v1/worker_service_pb.ts';
import { AssignmentAbortedError } from './errors.ts';
import type { WorkerEvent } from './events.ts';
import * as facts from './facts.ts';
import { LOG_WINDOW_MS, STREAM_LIMITS_DEFAULT, type StreamLimits } from './limits.ts';
import { LogBook } from './logs.ts';
import { Outbox } from './outbox.ts';
import { endFact, type Outcome } from './outcome.ts';
import { Pace } from './pace.ts';
import { type Progress, ProgressBook } from './progress.ts';

export interface Wire {
  /** Sends under the next sequence number of the stream, and returns it. */
  sequenced(message: facts.StreamMessage): number;
  /** Sends under number 0. */
  unsequenced(message: facts.StreamMessage): void;
}

export interface ReportPorts {
  /** Aborts the signal of a handler that is running. */
  abort(assignmentId: string, error: AssignmentAbortedError): void;
  event(event: WorkerEvent): void;
}

interface Held {
  running: boolean;
  aborted: AssignmentAbortedError | undefined;
  /** The one follow-up to a refused result has been made; a second refusal is the last word. */
  followedUp: boolean;
}

export class Reports {
  readonly #ports: ReportPorts;
  readonly #held = new Map<string, Held>();
  readonly #outbox = new Outbox();
  readonly #logs = new LogBook();
  readonly #progress = new ProgressBook();
  #limits: StreamLimits = STREAM_LIMITS_DEFAULT;
  #linePace = new Pace(STREAM_LIMITS_DEFAULT.logLinesPerSecond);
  #wire: Wire | undefined;
  #running = 0;
  #flushLogsMs = Number.POSITIVE_INFINITY;
  #pumpMs = Number.POSITIVE_INFINITY;

  constructor(ports: ReportPorts) {
    this.#ports = ports;
  }

  /** Handlers that have not ended, aborted ones included. */
  get runningCount(): number {
    return this.#running;
  }

  /** Assignments that have ended here, and whose end no server has settled yet. */
  get unsettledCount(): number {
    return this.#held.size - this.#running;
  }

  /** Every assignment whose end is not yet seen settled. */
  heldIds(): string[] {
    return [...this.#held.keys()];
  }

  holds(assignmentId: string): boolean {
    return this.#held.has(assignmentId);
  }

  get dueMs(): number {
    if (this.#wire === undefined) return Number.POSITIVE_INFINITY;
    return Math.min(this.#flushLogsMs, this.#pumpMs, this.#progress.dueMs);
  }

  accept(assignmentId: string, nowMs: number): void {
    this.#held.set(assignmentId, { running: true, aborted: undefined, followedUp: false });
    this.#running += 1;
    this.#say(facts.accepted(assignmentId), nowMs);
  }

  giveBack(assignmentId: string, reason: ReturnReason, detail: string, nowMs: number): void {
    this.#holdEnded(assignmentId);
    this.#say(facts.returned(assignmentId, reason, detail), nowMs);
  }

  slotsChanged(slots: number, nowMs: number): void {
    this.#say(facts.slotsChanged(slots), nowMs);
  }

  /** A handler ended: its last progress and lines go first, then how it ended. */
  finished(assignmentId: string, outcome: Outcome, nowMs: number): void {
    const held = this.#held.get(assignmentId);
    if (held === undefined || !held.running) return;
    held.running = false;
    this.#running -= 1;
    const progress = this.#progress.last(assignmentId);
    if (!isVoid(held)) {
      if (progress) this.#wire?.unsequenced({ case: 'stepProgressed', value: progress });
      for (const fact of this.#logs.take(assignmentId, this.#limits, nowMs)) {
        this.#outbox.add(fact);
      }
    }
    this.#logs.forget(assignmentId);
    const fact = endFact(assignmentId, held.aborted?.kind, outcome, this.#limits);
    if (fact === undefined) this.#held.delete(assignmentId);
    else this.#say(fact, nowMs);
  }

  log(assignmentId: string, level: LogLevel, text: string, nowMs: number): void {
    const held = this.#held.get(assignmentId);
    if (held === undefined || !held.running || isVoid(held)) return;
    this.#logs.add(assignmentId, level, text, this.#limits, nowMs);
    this.#flushLogsMs = Math.min(this.#flushLogsMs, nowMs + LOG_WINDOW_MS);
  }

  progress(assignmentId: string, progress: Progress, nowMs: number): void {
    const held = this.#held.get(assignmentId);
    if (held === undefined || !held.running || isVoid(held)) return;
    this.#progress.report(assignmentId, progress, this.#limits.progressTextCharacters);
    this.#sayProgress(nowMs);
  }

  /** Takes a running assignment from its handler; its end is still reported when the handler has ended. */
  abort(assignmentId: string, error: AssignmentAbortedError): void {
    const held = this.#held.get(assignmentId);
    if (held === undefined || !held.running || held.aborted !== undefined) return;
    held.aborted = error;
    const { kind, message } = error;
    this.#ports.event({ type: 'step_aborted', assignmentId, kind, message });
    this.#ports.abort(assignmentId, error);
  }

  /** cancel_step. One that is not held is answered at once, so that no slot stays reserved for it. */
  cancel(assignmentId: string, reason: string, nowMs: number): void {
    if (this.#held.has(assignmentId)) {
      this.abort(assignmentId, new AssignmentAbortedError('CANCELLED', reason));
    } else {
      this.#holdEnded(assignmentId);
      this.#say(facts.cancelled(assignmentId), nowMs);
    }
  }

  acknowledged(upTo: number): void {
    for (const fact of this.#outbox.acknowledge(upTo)) this.#settle(fact);
  }

  refused(refused: Refused, nowMs: number): void {
    const sequence = Number(refused.sequence);
    const retryAtMs = refused.retryAfter && nowMs + durationMs(refused.retryAfter);
    const fact = retryAtMs === undefined ? this.#outbox.refuse(sequence) : this.#outbox.postpone(sequence, retryAtMs);
    if (fact === undefined) return;
    const assignmentId = facts.assignmentOf(fact);
    const { reason, message } = refused;
    this.#ports.event({ type: 'refused', about: fact.case, assignmentId, reason, message });
    if (retryAtMs !== undefined) this.#pumpMs = Math.min(this.#pumpMs, retryAtMs);
    else if (fact.case === 'stepAccepted') {
      this.abort(assignmentId, new AssignmentAbortedError('ACCEPT_REFUSED', message));
    } else if (!this.#followUp(fact, refused, nowMs)) this.#settle(fact);
  }

  connected(wire: Wire, limits: StreamLimits, dropped: readonly string[], nowMs: number): void {
    this.#wire = wire;
    this.#limits = limits;
    this.#linePace = new Pace(limits.logLinesPerSecond);
    for (const assignmentId of dropped) this.#drop(assignmentId);
    this.tick(nowMs);
  }

  disconnected(): void {
    this.#wire = undefined;
    this.#outbox.disconnected();
    this.#progress.disconnected();
  }

  tick(nowMs: number): void {
    if (this.#wire === undefined) return;
    if (this.#flushLogsMs <= nowMs) {
      this.#flushLogsMs = Number.POSITIVE_INFINITY;
      for (const fact of this.#logs.takeAll(this.#limits, nowMs)) this.#outbox.add(fact);
    }
    this.#pump(nowMs);
    this.#sayProgress(nowMs);
  }

  #say(fact: facts.Fact, nowMs: number): void {
    this.#outbox.add(fact);
    this.#pump(nowMs);
  }

  #pump(nowMs: number): void {
    const wire = this.#wire;
    if (wire === undefined) return;
    this.#pumpMs = this.#outbox.pump(
      nowMs,
      (fact) => wire.sequenced(fact),
      (fact) => (fact.case === 'stepLogged' ? this.#linePace.take(fact.value.lines.length, nowMs) : 0),
    );
  }

  #sayProgress(nowMs: number): void {
    if (this.#wire === undefined || this.#progress.dueMs > nowMs) return;
    for (const value of this.#progress.take(nowMs)) {
      this.#wire.unsequenced({ case: 'stepProgressed', value });
    }
  }

  #holdEnded(assignmentId: string): void {
    this.#held.set(assignmentId, { running: false, aborted: undefined, followedUp: false });
  }

  #settle(fact: facts.Fact): void {
    this.#logs.settled(fact);
    if (facts.isEnd(fact)) this.#held.delete(facts.assignmentOf(fact));
  }

  /** A result that the server would not take leaves its step running there: it must end some other way, once. */
  #followUp(fact: facts.Fact, refused: Refused, nowMs: number): boolean {
    if (!facts.isEnd(fact) || fact.case === 'stepReturned') return false;
    const held = this.#held.get(facts.assignmentOf(fact));
    if (refused.reason === 'STALE_ASSIGNMENT' || held === undefined || held.followedUp) return false;
    held.followedUp = true;
    const message = `the server refused the ${fact.case} of this attempt: ${refused.reason}: ${refused.message}`;
    const error = { reason: 'RESULT_REFUSED', type: '', message };
    this.#say(facts.failed(facts.assignmentOf(fact), error), nowMs);
    return true;
  }

  /** Somebody else has it. The server keeps the slot reserved until this worker has said that it is done with it. */
  #drop(assignmentId: string): void {
    for (const fact of this.#outbox.drop(assignmentId)) this.#logs.settled(fact);
    this.#logs.forget(assignmentId);
    this.#progress.last(assignmentId);
    const held = this.#held.get(assignmentId);
    if (held === undefined) return;
    if (!held.running) this.#outbox.add(facts.cancelled(assignmentId));
    else this.#reAbort(assignmentId, held);
  }

  #reAbort(assignmentId: string, held: Held): void {
    const error = new AssignmentAbortedError('DROPPED', 'given to another worker meanwhile');
    if (held.aborted === undefined) this.abort(assignmentId, error);
    else held.aborted = error;
  }
}

/** The server listens to nothing more about it but that it is over. */
function isVoid(held: Held): boolean {
  return held.aborted?.kind === 'DROPPED' || held.aborted?.kind === 'ACCEPT_REFUSED';
}
