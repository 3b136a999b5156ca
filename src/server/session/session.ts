/** One stream of a worker, as a state machine without sockets: messages in, orders out, from hello to the end. */
import type { Hello } from '../../../gen/yardmaster/v1/worker_service_pb.ts';
import { isRefusal, type Refusal, refuse } from '../../domain/refusal.ts';
import type { Effect, Offer } from '../../engine/effects.ts';
import type { Timer } from '../../lib/clock.ts';
import { newSecret } from '../../lib/random.ts';
import { RefusedError } from '../errors.ts';
import type { Plane } from '../plane.ts';
import { breachOf, faultOf, isNumbered } from './grammar.ts';
import { readHello, writeWelcome } from './hello.ts';
import type { Incoming } from './incoming.ts';
import { createIntake } from './intake.ts';
import { createLinesFirst } from './lines_first.ts';
import { effectOrder, reconnectOrder, refusedOrder, runStepOrder } from './orders.ts';
import { createOutgoing, type Transport, UNREAD_MESSAGES_MAX } from './outgoing.ts';
import { createSettledTracker } from './settled.ts';
import { type SilenceWatch, watchSilence } from './silence.ts';

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
}

type Phase = 'NEW' | 'OPEN' | 'LEAVING' | 'CLOSED';

/** A stream that was full for this long is not read: what has not left is withdrawn. */
const UNREAD_MS_MAX = 1_000;

/** After a goodbye the stream ends by then, committed or not. */
const GOODBYE_MS_MAX = 800;

export function createSession({ plane, namespace, transport }: SessionOptions): Session {
  const { clock, limits, times, log } = plane;
  const settled = createSettledTracker();
  const outgoing = createOutgoing({
    transport,
    acknowledged: () => settled.acknowledged,
    onBackPressure: pressed,
    onUnread: () =>
      fail(refuse('RATE_LIMITED', `the stream is not read: more than ${UNREAD_MESSAGES_MAX} messages wait for it`)),
  });
  const connection = plane.attach(onEffect);
  const lines = createLinesFirst();
  const intake = createIntake({
    plane,
    connection,
    workerId: () => workerId,
    lines,
    push: outgoing.push,
    settle,
    refuse: refused,
  });
  let phase: Phase = 'NEW';
  let workerId = '';
  let unread: Timer | null = null;
  let silence: SilenceWatch | null = null;
  let deadline: Timer | null = clock.after(times.helloTimeoutMs, () => {
    fail(refuse('HELLO_EXPECTED', `no hello came within ${times.helloTimeoutMs} ms`));
  });

  function receive(incoming: Incoming): void {
    silence?.heard();
    if (phase === 'LEAVING' || phase === 'CLOSED') return;
    const breach = breachOf(incoming, phase === 'NEW', settled.expected);
    if (breach) {
      fail(breach);
      return;
    }
    if (isNumbered(incoming)) settled.take();
    const fault = faultOf(incoming, limits);
    const message = incoming.message?.message;
    if (message?.case === 'hello') hello(message.value, incoming, fault);
    else if (fault || message === undefined) refused(incoming.sequence, fault ?? refuse('INVALID_FIELD', 'no message'));
    else if (message.case === 'goodbye') goodbye();
    else intake(message, incoming);
  }

  function hello(value: Hello, incoming: Incoming, fault: Refusal | null): void {
    const secret = newSecret();
    const opening = fault ?? readHello(value, incoming.bytes, { connection, namespace, secret, limits });
    if (isRefusal(opening)) {
      fail(opening);
      return;
    }
    phase = 'OPEN';
    deadline?.clear();
    silence = watchSilence(clock, times.silenceTimeoutMs, () => {
      plane.decide({ kind: 'close_session', connection, reason: 'SILENT' }, () => {});
    });
    plane.decide({ kind: 'open_session', ...opening }, (result) => {
      if (isRefusal(result)) {
        fail(result);
        return;
      }
      workerId = result.worker.workerId;
      log.info({ worker: result.worker.name, namespace, resumed: result.resumed }, 'worker connected');
      const sessionId = result.resumed && value.resume ? value.resume.sessionId : secret;
      outgoing.push({ case: 'welcome', value: writeWelcome(result, sessionId, limits, times) });
    });
  }

  function goodbye(): void {
    phase = 'LEAVING';
    silence?.stop();
    let said = false;
    const say = () => {
      if (said) return;
      said = true;
      plane.decide({ kind: 'goodbye', connection }, end);
    };
    deadline = clock.after(GOODBYE_MS_MAX, () => {
      say();
      end();
    });
    // A result that still waits for its lines came before it.
    lines.settled(say);
  }

  /** A burst fills the buffer for a moment, and then nothing must be taken back; a worker that does not read stays pressed. */
  function pressed(on: boolean): void {
    plane.decide({ kind: 'set_back_pressure', connection, on }, () => {});
    unread?.clear();
    unread = on
      ? clock.after(UNREAD_MS_MAX, () => plane.decide({ kind: 'withdraw_unsent', connection }, () => {}))
      : null;
  }

  function settle(sequence: number): void {
    if (sequence === 0) return;
    settled.settle(sequence);
    outgoing.acknowledge();
  }

  /** Before it counts as settled, so that the acknowledgement that covers it cannot leave first. */
  function refused(sequence: number, refusal: Refusal): void {
    if (phase === 'CLOSED') return;
    plane.meters.refused(refusal.refused, 'stream');
    outgoing.push(refusedOrder(sequence, refusal));
    settle(sequence);
  }

  function onEffect(effect: Effect): void {
    if (phase === 'CLOSED') return;
    if (effect.kind === 'run_step') {
      pushOffer(effect.offer);
      return;
    }
    if (effect.kind === 'end_stream') {
      end();
      return;
    }
    // Nobody has to be told to stop what nobody was told to begin.
    if (effect.kind === 'cancel_step' && outgoing.withdraw(effect.assignmentId)) return;
    outgoing.push(effectOrder(effect));
    if (effect.kind === 'evict') end();
  }

  function pushOffer(offer: Offer): void {
    const { assignmentId } = offer;
    // The accept deadline counts from here, not from the decision: a slow commit is not the worker's fault.
    const handedOver = () => plane.decide({ kind: 'handed_over', connection, assignmentId }, () => {});
    const held = plane.inputs.held(offer);
    if (held !== null) {
      outgoing.pushOffer(assignmentId, runStepOrder(offer, held), handedOver);
      return;
    }
    const order = plane.inputs.read(offer).then((input) => runStepOrder(offer, input));
    outgoing.pushOffer(assignmentId, order, handedOver);
  }

  /** Sends what waits, and ends the stream well. */
  function end(): void {
    if (phase === 'CLOSED') return;
    outgoing.flush();
    close();
    transport.end();
  }

  /** A breach of the grammar, or a hello that cannot be taken: the stream ends with the reason as its status. */
  function fail(refusal: Refusal): void {
    if (phase === 'CLOSED') return;
    plane.meters.refused(refusal.refused, 'stream');
    outgoing.flush();
    log.info({ reason: refusal.refused }, 'stream refused');
    transport.end(new RefusedError(refusal));
    closed();
  }

  function closed(): void {
    const wasOpen = phase === 'OPEN';
    close();
    if (wasOpen) plane.decide({ kind: 'close_session', connection, reason: 'CLOSED' }, () => {});
  }

  function close(): void {
    phase = 'CLOSED';
    silence?.stop();
    deadline?.clear();
    unread?.clear();
    outgoing.close();
    plane.detach(connection);
  }

  function reconnect(reason: string): void {
    if (phase !== 'OPEN') return;
    outgoing.push(reconnectOrder(reason));
    outgoing.flush();
    closed();
    transport.end();
  }

  return { receive, closed, drained: outgoing.drained, reconnect };
}
