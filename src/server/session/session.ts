/** One stream of a worker, as a state machine without sockets: messages in, orders out, from hello to the end. */
import type { Hello, WorkerHeartbeat } from '../../../gen/yardmaster/v1/worker_service_pb.ts';
import { isRefusal, type Refusal, refuse } from '../../domain/refusal.ts';
import type { Effect, Offer } from '../../engine/effects.ts';
import type { Timer } from '../../lib/clock.ts';
import { newSecret } from '../../lib/random.ts';
import { RefusedError } from '../errors.ts';
import type { Plane } from '../plane.ts';
import { breachOf, faultOf, isNumbered } from './grammar.ts';
import { readHello, writeWelcome } from './hello.ts';
import type { Incoming } from './incoming.ts';
import { Intake, type IntakeStream } from './intake.ts';
import { effectOrder, heartbeatOrder, reconnectOrder, refusedOrder, runStepOrder } from './orders.ts';
import { type Order, Outgoing, type OutgoingStream, type Transport, UNREAD_MESSAGES_MAX } from './outgoing.ts';
import { SettledTracker } from './settled.ts';
import type { SilenceWatch, Speaker } from './silence.ts';

export interface Session {
  receive(incoming: Incoming): void;
  /** The stream is gone, however: half-closed, cancelled or broken. */
  closed(): void;
  drained(): void;
  /** Tells the worker to come back on a new stream, and ends this one. */
  reconnect(reason: string): void;
}

export interface SessionOptions {
  readonly plane: Plane;
  readonly namespace: string;
  readonly transport: Transport;
  readonly silence: SilenceWatch;
}

type Phase = 'NEW' | 'OPEN' | 'LEAVING' | 'CLOSED';

/** A stream that was full for this long is not read: what has not left is withdrawn. */
const UNREAD_MS_MAX = 1_000;

/** After a goodbye the stream ends by then, committed or not. */
const GOODBYE_MS_MAX = 800;

export function createSession(options: SessionOptions): Session {
  return new WorkerSession(options);
}

/**
 * There are thousands, and most are idle. So it and its parts are classes (a closure for each function took 6 KiB a
 * stream), nothing is made before it is needed, and nothing that is over is kept.
 */
class WorkerSession implements Session, OutgoingStream, IntakeStream, Speaker {
  readonly plane: Plane;
  readonly transport: Transport;
  readonly connection: number;
  workerId = '';
  heardMs = 0;
  private readonly namespace: string;
  private readonly silence: SilenceWatch;
  private readonly settled = new SettledTracker();
  private readonly outgoing: Outgoing;
  private intake: Intake | null = null;
  private phase: Phase = 'NEW';
  private unread: Timer | null = null;
  private deadline: Timer | null;

  constructor({ plane, namespace, transport, silence }: SessionOptions) {
    this.plane = plane;
    this.namespace = namespace;
    this.transport = transport;
    this.silence = silence;
    this.outgoing = new Outgoing(this);
    this.connection = plane.attach((effect) => this.onEffect(effect));
    const { helloTimeoutMs } = plane.times;
    this.deadline = plane.clock.after(helloTimeoutMs, () => {
      this.fail(refuse('HELLO_EXPECTED', `no hello came within ${helloTimeoutMs} ms`));
    });
  }

  get acknowledged(): number {
    return this.settled.acknowledged;
  }

  receive(incoming: Incoming): void {
    this.heardMs = this.plane.clock.nowMs();
    if (this.phase === 'LEAVING' || this.phase === 'CLOSED') return;
    const breach = breachOf(incoming, this.phase === 'NEW', this.settled.expected);
    if (breach) {
      this.fail(breach);
      return;
    }
    if (isNumbered(incoming)) this.settled.take();
    const fault = faultOf(incoming, this.plane.limits);
    const message = incoming.message?.message;
    if (message?.case === 'hello') this.hello(message.value, incoming, fault);
    else if (fault || message === undefined)
      this.refuse(incoming.sequence, fault ?? refuse('INVALID_FIELD', 'no message'));
    else if (message.case === 'heartbeat') this.heartbeat(message.value);
    else if (message.case === 'goodbye') this.goodbye();
    else {
      this.intake ??= new Intake(this);
      this.intake.take(message, incoming);
    }
  }

  private hello(value: Hello, incoming: Incoming, fault: Refusal | null): void {
    const { plane, connection, namespace } = this;
    const { limits, times, log } = plane;
    const secret = newSecret();
    const opening = fault ?? readHello(value, incoming.bytes, { connection, namespace, secret, limits });
    if (isRefusal(opening)) {
      this.fail(opening);
      return;
    }
    this.phase = 'OPEN';
    this.stopDeadline();
    this.silence.add(this);
    plane.decide({ kind: 'open_session', ...opening }, (result) => {
      if (isRefusal(result)) {
        this.fail(result);
        return;
      }
      this.workerId = result.worker.workerId;
      log.info({ worker: result.worker.name, namespace, resumed: result.resumed }, 'worker connected');
      const sessionId = result.resumed && value.resume ? value.resume.sessionId : secret;
      this.push({ case: 'welcome', value: writeWelcome(result, sessionId, limits, times) });
    });
  }

  private heartbeat({ sendTime }: WorkerHeartbeat): void {
    const { plane, connection } = this;
    plane.decide({ kind: 'heartbeat', connection }, nobodyHears);
    this.push(heartbeatOrder(sendTime, plane.clock.nowMs()));
  }

  private goodbye(): void {
    const { plane, connection } = this;
    this.phase = 'LEAVING';
    this.silence.delete(this);
    let said = false;
    const say = () => {
      if (said) return;
      said = true;
      plane.decide({ kind: 'goodbye', connection }, () => this.end());
    };
    this.deadline = plane.clock.after(GOODBYE_MS_MAX, () => {
      say();
      this.end();
    });
    // A result that still waits for its lines came before it.
    if (this.intake === null) say();
    else this.intake.linesSettled(say);
  }

  onSilent(): void {
    this.plane.decide({ kind: 'close_session', connection: this.connection, reason: 'SILENT' }, nobodyHears);
  }

  onUnread(): void {
    const message = `the stream is not read: more than ${UNREAD_MESSAGES_MAX} messages wait for it`;
    this.fail(refuse('RATE_LIMITED', message));
  }

  /** A burst fills the buffer for a moment, and then nothing must be taken back; a worker that does not read stays pressed. */
  onBackPressure(on: boolean): void {
    const { plane, connection } = this;
    plane.decide({ kind: 'set_back_pressure', connection, on }, nobodyHears);
    this.unread?.clear();
    this.unread = on
      ? plane.clock.after(UNREAD_MS_MAX, () => plane.decide({ kind: 'withdraw_unsent', connection }, nobodyHears))
      : null;
  }

  push(order: Order): void {
    this.outgoing.push(order);
  }

  settle(sequence: number): void {
    if (sequence === 0) return;
    this.settled.settle(sequence);
    this.outgoing.acknowledge();
  }

  /** Before it counts as settled, so that the acknowledgement that covers it cannot leave first. */
  refuse(sequence: number, refusal: Refusal): void {
    if (this.phase === 'CLOSED') return;
    this.plane.meters.refused(refusal.refused, 'stream');
    this.push(refusedOrder(sequence, refusal));
    this.settle(sequence);
  }

  private onEffect(effect: Effect): void {
    if (this.phase === 'CLOSED') return;
    if (effect.kind === 'run_step') {
      this.pushOffer(effect.offer);
      return;
    }
    if (effect.kind === 'end_stream') {
      this.end();
      return;
    }
    // Nobody has to be told to stop what nobody was told to begin.
    if (effect.kind === 'cancel_step' && this.outgoing.withdraw(effect.assignmentId)) return;
    this.push(effectOrder(effect));
    if (effect.kind === 'evict') this.end();
  }

  private pushOffer(offer: Offer): void {
    const { plane, connection, outgoing } = this;
    const { assignmentId } = offer;
    // The accept deadline counts from here, not from the decision: a slow commit is not the worker's fault.
    const handedOver = () => plane.decide({ kind: 'handed_over', connection, assignmentId }, nobodyHears);
    const held = plane.inputs.held(offer);
    if (held !== null) {
      outgoing.pushOffer(assignmentId, runStepOrder(offer, held), handedOver);
      return;
    }
    const order = plane.inputs.read(offer).then((input) => runStepOrder(offer, input));
    outgoing.pushOffer(assignmentId, order, handedOver);
  }

  drained(): void {
    this.outgoing.drained();
  }

  /** Sends what waits, and ends the stream well. */
  private end(): void {
    if (this.phase === 'CLOSED') return;
    this.outgoing.flush();
    this.close();
    this.transport.end();
  }

  /** A breach of the grammar, or a hello that cannot be taken: the stream ends with the reason as its status. */
  private fail(refusal: Refusal): void {
    if (this.phase === 'CLOSED') return;
    const { meters, log } = this.plane;
    meters.refused(refusal.refused, 'stream');
    this.outgoing.flush();
    log.info({ reason: refusal.refused }, 'stream refused');
    this.transport.end(new RefusedError(refusal));
    this.closed();
  }

  closed(): void {
    const { plane, connection } = this;
    const wasOpen = this.phase === 'OPEN';
    this.close();
    if (wasOpen) plane.decide({ kind: 'close_session', connection, reason: 'CLOSED' }, nobodyHears);
  }

  private close(): void {
    this.phase = 'CLOSED';
    this.silence.delete(this);
    this.stopDeadline();
    this.unread?.clear();
    this.outgoing.close();
    this.plane.detach(this.connection);
  }

  private stopDeadline(): void {
    this.deadline?.clear();
    this.deadline = null;
  }

  reconnect(reason: string): void {
    if (this.phase !== 'OPEN') return;
    this.push(reconnectOrder(reason));
    this.outgoing.flush();
    this.closed();
    this.transport.end();
  }
}

const nobodyHears = () => {};
