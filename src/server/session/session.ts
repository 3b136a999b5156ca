/**
 * One stream of a worker, as a state machine without sockets: messages in, orders out. It checks the grammar, turns
 * facts into commands, and settles what has been committed or refused.
 */
import { create } from '@bufbuild/protobuf';
import { timestampFromMs } from '@bufbuild/protobuf/wkt';
import { type ConnectRequest, ConnectRequestSchema, EvictionReason, type RunStep, RunStepSchema } from '../../../gen/yardmaster/v1/worker_service_pb.ts';
import { isRefusal, type Refusal, refuse } from '../../domain/refusal.ts';
import type { Command } from '../../engine/commands.ts';
import type { Effect, Offer } from '../../engine/effects.ts';
import type { Timer } from '../../lib/clock.ts';
import { newSecret } from '../../lib/random.ts';
import { writeLabels } from '../convert/labels.ts';
import { clean } from '../convert/text.ts';
import { duration } from '../convert/time.ts';
import { bounded, RefusedError, statusCode } from '../errors.ts';
import type { Plane } from '../plane.ts';
import { checkShape } from '../validate.ts';
import { checkLineNumbers, readFact, readLines, tooLarge } from './facts.ts';
import { readHello, writeWelcome } from './hello.ts';
import type { Incoming } from './incoming.ts';
import { createOutgoing, type Transport } from './outgoing.ts';
import { createPace } from './pace.ts';
import { createSettledTracker } from './settled.ts';

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

/** Messages that are not settled and so carry no number. */
const UNNUMBERED: ReadonlySet<string | undefined> = new Set(['hello', 'heartbeat', 'stepProgressed', 'goodbye']);

/** After a pause of our own loop, silence is not the worker's fault: it gets this much longer. */
const LOOP_PAUSE_MS = 1_000;

/** How long a client has to end the stream itself after a goodbye. */
const GOODBYE_END_MS = 500;

export function createSession({ plane, namespace, transport }: SessionOptions): Session {
  const { clock, limits, times, log } = plane;
  const settled = createSettledTracker();
  const labelPace = createPace(limits.labelMessagesPerSecondMax, clock.nowMs());
  const linePace = createPace(limits.logLinesPerSecondMax, clock.nowMs());
  const outgoing = createOutgoing({
    transport,
    acknowledged: () => settled.acknowledged,
    onBackPressure: (on) => plane.decide({ kind: 'set_back_pressure', connection, on }, () => {}),
  });
  const connection = plane.attach(onEffect);
  let phase: Phase = 'NEW';
  let heardMs = clock.nowMs();
  let watch: Timer = clock.after(times.helloTimeoutMs, () => {
    fail(refuse('HELLO_EXPECTED', `no hello came within ${times.helloTimeoutMs} ms`));
  });

  // ---- in

  function receive(incoming: Incoming): void {
    heardMs = clock.nowMs();
    if (phase === 'LEAVING' || phase === 'CLOSED') return;
    const { message } = incoming;
    if (phase === 'NEW') {
      if (message?.message.case !== 'hello') fail(refuse('HELLO_EXPECTED', 'the first message of a stream must be hello'));
      else hello(message, incoming);
      return;
    }
    if (message?.message.case === 'hello') {
      fail(refuse('SECOND_HELLO', 'hello comes once, and first'));
      return;
    }
    const numbered = message === null || message.message.case === undefined ? incoming.sequence !== 0 : !UNNUMBERED.has(message.message.case);
    const expected = numbered ? settled.expected : 0;
    if (incoming.sequence !== expected) {
      fail(refuse('INVALID_SEQUENCE', `sequence: is ${incoming.sequence}, expected ${expected} (${message?.message.case ?? 'unknown message'})`));
      return;
    }
    if (numbered) settled.take();
    const bad = checkMessage(incoming);
    if (bad) refused(incoming.sequence, bad);
    else dispatch(message as ConnectRequest, incoming);
  }

  function checkMessage({ bytes, message }: Incoming): Refusal | null {
    if (bytes.length > limits.messageBytesMax) return tooLarge(bytes.length, limits);
    if (message === null) return refuse('INVALID_FIELD', 'the message cannot be decoded');
    if (message.message.case === undefined) return refuse('UNKNOWN_MESSAGE', 'this server does not know this kind of message');
    return checkShape(ConnectRequestSchema, message);
  }

  function dispatch({ message }: ConnectRequest, incoming: Incoming): void {
    switch (message.case) {
      case 'heartbeat':
        plane.decide({ kind: 'heartbeat', connection }, () => {});
        outgoing.push({
          case: 'heartbeat',
          value: {
            $typeName: 'yardmaster.v1.ServerHeartbeat',
            serverTime: timestampFromMs(Math.round(heardMs)),
            ...(message.value.sendTime ? { sendTime: message.value.sendTime } : {}),
          },
        });
        return;
      case 'goodbye':
        phase = 'LEAVING';
        plane.decide({ kind: 'goodbye', connection }, end);
        watch.clear();
        return;
      case 'stepProgressed': {
        const { assignmentId, text, phase: progressPhase, fraction } = message.value;
        const progress = { text: shorten(clean(text)), phase: shorten(clean(progressPhase)), fraction: fraction ?? null };
        plane.decide({ kind: 'progress_step', connection, assignmentId, progress }, (result) => {
          if (isRefusal(result)) refused(0, result);
        });
        return;
      }
      case 'stepLogged':
        logLines(incoming.sequence, message);
        return;
      case 'upsertLabels': {
        const waitMs = labelPace.take(1, heardMs);
        if (waitMs > 0) refused(incoming.sequence, tooFast('upsert_labels', limits.labelMessagesPerSecondMax, 'messages', waitMs));
        else decideFact(incoming, message);
        return;
      }
      default:
        decideFact(incoming, message);
    }
  }

  function decideFact({ sequence, bytes }: Incoming, message: ConnectRequest['message']): void {
    const command = readFact(connection, message, bytes, limits);
    if (isRefusal(command)) {
      refused(sequence, command);
      return;
    }
    plane.decide(command as Command & { kind: 'upsert_labels' }, (result) => {
      if (isRefusal(result)) {
        refused(sequence, result);
        return;
      }
      if (command.kind === 'upsert_labels') {
        const { labels, labelsRevision } = result;
        outgoing.push({
          case: 'labelsUpserted',
          value: { $typeName: 'yardmaster.v1.LabelsUpserted', labels: writeLabels(labels), labelsRevision: BigInt(labelsRevision) },
        });
      }
      settle(sequence);
    });
  }

  function logLines(sequence: number, message: ConnectRequest['message'] & { case: 'stepLogged' }): void {
    const logged = message.value;
    const bad = checkLineNumbers(logged);
    if (bad) {
      refused(sequence, bad);
      return;
    }
    const waitMs = linePace.take(logged.lines.length, heardMs);
    if (waitMs > 0) {
      refused(sequence, tooFast('step_logged', limits.logLinesPerSecondMax, 'lines', waitMs));
      return;
    }
    const { assignmentId } = logged;
    plane.decide({ kind: 'log_step', connection, assignmentId }, (result) => {
      const writer = plane.logs();
      if (isRefusal(result)) refused(sequence, result);
      else if (writer !== null) {
        const lines = readLines(logged, clock.nowMs(), limits);
        writer.add({ assignmentId, ...result, firstLineNumber: Number(logged.firstLineNumber), lines }, () => settle(sequence));
      }
    });
  }

  // ---- hello

  function hello(request: ConnectRequest, incoming: Incoming): void {
    if (request.message.case !== 'hello') return;
    const secret = newSecret();
    const bad = incoming.sequence === 0 ? checkMessage(incoming) : refuse('INVALID_SEQUENCE', `sequence: is ${incoming.sequence}, hello uses 0`);
    const opening = bad ?? readHello(request.message.value, incoming.bytes, { connection, namespace, secret, limits });
    if (isRefusal(opening)) {
      fail(opening);
      return;
    }
    phase = 'OPEN';
    watchSilence();
    const resumeId = request.message.value.resume?.sessionId ?? '';
    plane.decide({ kind: 'open_session', ...opening }, (result) => {
      if (isRefusal(result)) {
        fail(result);
        return;
      }
      log.info({ worker: result.worker.name, namespace, resumed: result.resumed }, 'worker connected');
      outgoing.push({ case: 'welcome', value: writeWelcome(result, result.resumed ? resumeId : secret, limits, times) });
    });
  }

  // ---- out

  function settle(sequence: number): void {
    if (sequence === 0) return;
    settled.settle(sequence);
    outgoing.acknowledge();
  }

  /** Before it counts as settled, so that the acknowledgement that covers it cannot leave first. */
  function refused(sequence: number, refusal: Refusal): void {
    if (phase === 'CLOSED') return;
    const { refused: reason, message, metadata, retryAfterMs } = bounded(refusal);
    outgoing.push({
      case: 'refused',
      value: {
        $typeName: 'yardmaster.v1.Refused',
        sequence: BigInt(sequence),
        code: statusCode(refusal),
        reason,
        message,
        metadata: { ...metadata },
        ...(retryAfterMs === undefined ? {} : { retryAfter: duration(retryAfterMs) }),
      },
    });
    settle(sequence);
  }

  function onEffect(effect: Effect): void {
    if (phase === 'CLOSED') return;
    switch (effect.kind) {
      case 'run_step':
        pushOffer(effect.offer);
        return;
      case 'cancel_step': {
        const { assignmentId, reason } = effect;
        outgoing.push({ case: 'cancelStep', value: { $typeName: 'yardmaster.v1.CancelStep', assignmentId, reason } });
        return;
      }
      case 'drain':
        outgoing.push({ case: 'drain', value: { $typeName: 'yardmaster.v1.Drain', reason: effect.reason } });
        return;
      case 'evict': {
        const value = { $typeName: 'yardmaster.v1.Evicted', reason: EvictionReason[effect.reason], message: effect.message } as const;
        outgoing.push({ case: 'evicted', value });
        end();
      }
    }
  }

  function pushOffer(offer: Offer): void {
    const { assignmentId } = offer;
    // The accept deadline counts from here, not from the decision: a slow commit is not the worker's fault.
    const handedOver = () => plane.decide({ kind: 'handed_over', connection, assignmentId }, () => {});
    const inputJson = plane.payloads.get(offer.runId);
    if (inputJson !== undefined) {
      outgoing.push({ case: 'runStep', value: writeOffer(offer, inputJson) }, handedOver);
      return;
    }
    const order = plane.readInput(offer.runId).then((stored) => ({ case: 'runStep', value: writeOffer(offer, stored) }) as const);
    outgoing.pushLater(order, handedOver);
  }

  // ---- the end

  function watchSilence(): void {
    watch.clear();
    const dueMs = heardMs + times.silenceTimeoutMs;
    watch = clock.after(Math.max(0, dueMs - clock.nowMs()), () => {
      const nowMs = clock.nowMs();
      if (nowMs - heardMs < times.silenceTimeoutMs) watchSilence();
      else if (nowMs - dueMs > LOOP_PAUSE_MS) {
        heardMs = nowMs;
        watchSilence();
      } else plane.decide({ kind: 'close_session', connection, reason: 'SILENT' }, () => {});
    });
  }

  /** Sends what waits, and ends the stream well. */
  function end(): void {
    outgoing.flush();
    clock.after(phase === 'LEAVING' ? GOODBYE_END_MS : 0, () => transport.end());
    close();
  }

  /** A breach of the grammar, or a hello that cannot be taken: the stream ends with the reason as its status. */
  function fail(refusal: Refusal): void {
    if (phase === 'CLOSED') return;
    outgoing.flush();
    log.info({ reason: refusal.refused }, 'stream refused');
    transport.end(new RefusedError(refusal));
    closed();
  }

  function close(): void {
    phase = 'CLOSED';
    watch.clear();
    outgoing.close();
    plane.detach(connection);
  }

  function closed(): void {
    if (phase === 'CLOSED') return;
    const open = phase === 'OPEN';
    close();
    if (open) plane.decide({ kind: 'close_session', connection, reason: 'CLOSED' }, () => {});
  }

  function shorten(text: string): string {
    return text.length > limits.progressTextCharactersMax ? text.slice(0, limits.progressTextCharactersMax) : text;
  }

  return {
    receive,
    closed,
    drained: outgoing.drained,
    reconnect(reason) {
      if (phase !== 'OPEN') return;
      outgoing.push({ case: 'reconnect', value: { $typeName: 'yardmaster.v1.Reconnect', reason } });
      outgoing.flush();
      transport.end();
      closed();
    },
  };
}

function writeOffer(offer: Offer, inputJson: string): RunStep {
  const { executionTimeoutMs } = offer;
  return create(RunStepSchema, {
    assignmentId: offer.assignmentId,
    runId: offer.runId,
    stepId: offer.stepId,
    stepName: offer.stepName,
    action: offer.action,
    attempt: offer.attempt,
    inputJson,
    labelsRevision: BigInt(offer.labelsRevision),
    ...(executionTimeoutMs === null ? {} : { executionTimeout: duration(executionTimeoutMs) }),
    metadata: { ...offer.metadata },
  });
}

function tooFast(field: string, perSecond: number, unit: string, waitMs: number): Refusal {
  const message = `${field}: more than ${perSecond} ${unit} in a second; send the same again after ${waitMs} ms`;
  return { ...refuse('RATE_LIMITED', message, { field, limit: String(perSecond) }), retryAfterMs: waitMs };
}
