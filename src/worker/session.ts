/**
 * One worker's side of the protocol, over as many streams as it takes. Deterministic: messages and times come in,
 * messages and orders leave through the ports in the same turn. Sockets and timers are somebody else's.
 */
import { clone, create, type JsonObject } from '@bufbuild/protobuf';
import { durationMs, timestampFromMs } from '@bufbuild/protobuf/wkt';
import type {
  ConnectResponse,
  LogLevel,
  Refused,
  RunStep,
  Welcome,
} from '../../gen/yardmaster/v1/worker_service_pb.ts';
import {
  ConnectRequestSchema,
  GoodbyeSchema,
  type Hello,
  HelloSchema,
  ResumeSchema,
  ReturnReason as Return,
  UpsertLabelsSchema,
  WorkerHeartbeatSchema,
} from '../../gen/yardmaster/v1/worker_service_pb.ts';
import { nameOf } from './enums.ts';
import { type AssignmentAbortedError, LabelsRefusedError } from './errors.ts';
import type { StreamMessage } from './facts.ts';
import type { LabelBook, LabelPatch, Labels } from './labels.ts';
import { streamLimits } from './limits.ts';
import type { Outcome } from './outcome.ts';
import type { Progress } from './progress.ts';
import { Pulse } from './pulse.ts';
import { Reports, type Wire } from './reports.ts';
import type { GiveBack, SessionOptions, SessionPorts } from './session-ports.ts';

export class Session {
  readonly #ports: SessionPorts;
  readonly #hello: Hello;
  readonly #reports: Reports;
  readonly #wire: Wire;
  readonly labels: LabelBook;
  #state: 'closed' | 'greeting' | 'open' = 'closed';
  #sequence = 0;
  #sessionId = '';
  #slots: number | undefined;
  #draining = false;
  readonly #pulse = new Pulse();
  #labelsMs = Number.POSITIVE_INFINITY;

  constructor(ports: SessionPorts, options: SessionOptions) {
    this.#ports = ports;
    this.#hello = options.hello;
    this.labels = options.labels;
    this.#slots = options.slots;
    this.#reports = new Reports(ports);
    this.#wire = {
      sequenced: (message) => this.#write(message, ++this.#sequence),
      unsequenced: (message) => this.#write(message, 0),
    };
  }

  get isOpen(): boolean {
    return this.#state === 'open';
  }

  /** Handlers that have not ended. */
  get runningCount(): number {
    return this.#reports.runningCount;
  }

  /** Assignments that have ended here, and whose end no server has settled yet. */
  get unsettledCount(): number {
    return this.#reports.unsettledCount;
  }

  /** When `tick` has something to do, milliseconds of the clock. */
  get dueMs(): number {
    if (this.#state === 'closed') return Number.POSITIVE_INFINITY;
    return Math.min(this.#pulse.dueMs, this.#labelsMs, this.#reports.dueMs);
  }

  /** A stream is there to be written to. */
  opened(nowMs: number): void {
    this.#state = 'greeting';
    this.#sequence = 0;
    this.#pulse.opened(nowMs);
    this.#labelsMs = Number.POSITIVE_INFINITY;
    const value = clone(HelloSchema, this.#hello);
    const labels = this.labels.forHello();
    if (labels !== undefined) value.labels = labels;
    if (this.#slots !== undefined) value.slots = this.#slots;
    if (this.#sessionId !== '') {
      const heldAssignmentIds = this.#reports.heldIds();
      value.resume = create(ResumeSchema, { sessionId: this.#sessionId, heldAssignmentIds });
    }
    this.#write({ case: 'hello', value }, 0);
    this.#wake();
  }

  received(response: ConnectResponse, nowMs: number): void {
    const { message } = response;
    this.#pulse.heard(nowMs);
    if (message.case === 'evicted') {
      this.#ports.evicted(message.value.reason, message.value.message);
    } else if (this.#state === 'greeting') {
      if (message.case === 'welcome') this.#welcomed(message.value, nowMs);
    } else if (this.#state === 'open') {
      this.#order(message, nowMs);
      // After the message: a refusal may come with the acknowledgement that covers it.
      if (response.acknowledged > 0n) this.#reports.acknowledged(Number(response.acknowledged));
    }
    this.#wake();
  }

  /** The stream is gone, for whatever reason. */
  closed(): void {
    this.#state = 'closed';
    this.#reports.disconnected();
    this.labels.disconnected();
  }

  tick(nowMs: number): void {
    if (this.#state === 'closed') return;
    if (this.#pulse.isSilent(nowMs, this.dueMs)) {
      this.#ports.hangUp(`no message from the server for ${this.#pulse.silenceTimeoutMs} ms`);
      return;
    }
    if (this.#state === 'open') {
      if (this.#pulse.takeBeat(nowMs)) this.#beat(nowMs);
      this.#reports.tick(nowMs);
      this.#pumpLabels(nowMs);
    }
    this.#wake();
  }

  finished(assignmentId: string, outcome: Outcome, nowMs: number): void {
    this.#reports.finished(assignmentId, outcome, nowMs);
    this.#wake();
  }

  log(assignmentId: string, level: LogLevel, text: string, nowMs: number): void {
    this.#reports.log(assignmentId, level, text, nowMs);
    this.#wake();
  }

  progress(assignmentId: string, progress: Progress, nowMs: number): void {
    this.#reports.progress(assignmentId, progress, nowMs);
    this.#wake();
  }

  upsertLabels(
    patch: LabelPatch,
    done: (labels: Labels) => void,
    refused: (error: Error) => void,
    nowMs: number,
  ): void {
    this.labels.upsert(patch, done, refused);
    this.#pumpLabels(nowMs);
    this.#wake();
  }

  setSlots(slots: number, nowMs: number): void {
    this.#slots = slots;
    if (this.#state === 'open' && !this.#draining) this.#reports.slotsChanged(slots, nowMs);
    this.#wake();
  }

  /** Asks for nothing more by offering no slot; what crosses on the way is returned. */
  drain(nowMs: number): void {
    if (this.#draining) return;
    this.#draining = true;
    if (this.#state === 'open') this.#reports.slotsChanged(0, nowMs);
  }

  abortAll(error: AssignmentAbortedError): void {
    for (const assignmentId of this.#reports.heldIds()) this.#reports.abort(assignmentId, error);
  }

  /** The last word on this stream: the server takes back whatever is held. */
  goodbye(reason: string): void {
    if (this.#state === 'open') {
      this.#write({ case: 'goodbye', value: create(GoodbyeSchema, { reason }) }, 0);
    }
    this.closed();
  }

  #welcomed(welcome: Welcome, nowMs: number): void {
    this.#state = 'open';
    this.#sessionId = welcome.sessionId;
    this.#pulse.welcomed(welcome, nowMs);
    const limits = streamLimits(welcome.limits);
    this.#ports.welcomed(welcome);
    this.#reports.connected(this.#wire, limits, welcome.droppedAssignmentIds, nowMs);
    this.labels.welcomed(welcome.labels, welcome.labelsRevision, limits.labelMessagesPerSecond);
    if (this.#draining) this.#reports.slotsChanged(0, nowMs);
    this.#pumpLabels(nowMs);
  }

  #order(message: ConnectResponse['message'], nowMs: number): void {
    switch (message.case) {
      case 'runStep':
        this.#runStep(message.value, nowMs);
        break;
      case 'cancelStep':
        this.#reports.cancel(message.value.assignmentId, message.value.reason, nowMs);
        break;
      case 'labelsUpserted':
        this.labels.upserted(message.value.labels, message.value.labelsRevision);
        this.#pumpLabels(nowMs);
        break;
      case 'refused':
        this.#refused(message.value, nowMs);
        break;
      case 'drain':
        this.#ports.event({ type: 'draining', reason: message.value.reason });
        break;
      case 'reconnect': {
        const { delay } = message.value;
        this.#ports.reconnect(delay ? durationMs(delay) : 0);
        break;
      }
      default:
        // A heartbeat has done its work by arriving; a second welcome and orders of a newer server are ignored.
        break;
    }
  }

  #runStep(order: RunStep, nowMs: number): void {
    const { assignmentId } = order;
    if (this.#reports.holds(assignmentId)) return;
    const objection = this.#objection(order);
    if (objection === undefined) {
      this.#reports.accept(assignmentId, nowMs);
      this.#ports.run(order);
      return;
    }
    const { reason, detail } = objection;
    this.#reports.giveBack(assignmentId, reason, detail, nowMs);
    this.#ports.event({
      type: 'step_returned',
      assignmentId,
      reason: nameOf(Return, reason),
      detail,
    });
  }

  #objection(order: RunStep): GiveBack | undefined {
    if (this.#draining) return { reason: Return.SHUTTING_DOWN, detail: '' };
    const running = this.#reports.runningCount;
    if (this.#slots !== undefined && running >= this.#slots) {
      return { reason: Return.NOT_READY, detail: `${running} of ${this.#slots} slots are in use` };
    }
    return this.#ports.objection(order);
  }

  #refused(refused: Refused, nowMs: number): void {
    const { reason, message, metadata, retryAfter } = refused;
    const error = new LabelsRefusedError(reason, message, metadata);
    const retryAtMs = retryAfter && nowMs + durationMs(retryAfter);
    if (this.labels.refused(Number(refused.sequence), error, retryAtMs)) this.#pumpLabels(nowMs);
    else this.#reports.refused(refused, nowMs);
  }

  #pumpLabels(nowMs: number): void {
    if (this.#state !== 'open') return;
    this.#labelsMs = this.labels.pump(nowMs, (labels: JsonObject) =>
      this.#wire.sequenced({ case: 'upsertLabels', value: create(UpsertLabelsSchema, { labels }) }),
    );
  }

  #beat(nowMs: number): void {
    const sendTime = timestampFromMs(Math.floor(nowMs));
    this.#write({ case: 'heartbeat', value: create(WorkerHeartbeatSchema, { sendTime }) }, 0);
  }

  #write(message: StreamMessage, sequence: number): number {
    this.#ports.write(create(ConnectRequestSchema, { sequence: BigInt(sequence), message }));
    return sequence;
  }

  #wake(): void {
    this.#ports.wake(this.dueMs);
  }
}
