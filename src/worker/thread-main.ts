/**
 * The connection in a thread of its own: an ordinary worker whose handlers only pass their step on to the thread that
 * started this one, and wait for what becomes of it there. However busy that one is, this one beats.
 */
import { parentPort, workerData } from 'node:worker_threads';
import { LogLevel } from '../../gen/yardmaster/v1/worker_service_pb.ts';
import { Context, type StepContext } from './context.ts';
import { AssignmentAbortedError } from './errors.ts';
import type { TlsOptions } from './options.ts';
import { GivenOutcome } from './outcome.ts';
import {
  type Answer,
  type Call,
  type ConnectionState,
  factsOfError,
  type ThreadEnd,
  type ThreadOptions,
  type ToConnection,
  type ToHandlers,
} from './thread-messages.ts';
import { createWorker } from './worker.ts';
import type { WorkerEnd } from './worker-api.ts';

interface Passed {
  readonly context: StepContext;
  readonly finish: (outcome: GivenOutcome) => void;
}

const port = parentPort;
if (port === null) throw new Error('this file is the connection thread of a worker; it is not run by itself');
const { actions, tls, ...options } = workerData as ThreadOptions;
const passed = new Map<string, Passed>();

const worker = createWorker({
  ...options,
  tls: typeof tls === 'object' ? withBuffers(tls) : tls,
  actions: Object.fromEntries(actions.map((action) => [action, pass])),
  onEvent: (event) => {
    // Handlers begin and end over there.
    if (event.type !== 'step_started' && event.type !== 'step_finished') tell({ kind: 'event', event, state: state() });
  },
});

function tell(message: ToHandlers): void {
  port?.postMessage(message);
}

function state(): ConnectionState {
  const { id, name, displayName, health } = worker;
  return { id, name, displayName, health, labels: worker.labels() };
}

function pass(context: StepContext): Promise<GivenOutcome> {
  const { assignmentId, signal } = context;
  signal.addEventListener('abort', () => {
    const { reason } = signal;
    if (!(reason instanceof AssignmentAbortedError)) return;
    tell({ kind: 'abort', assignmentId, abortKind: reason.kind, message: reason.message });
  });
  return new Promise((finish) => {
    passed.set(assignmentId, { context, finish });
    if (context instanceof Context) tell({ kind: 'run', order: context.order });
  });
}

function heard(message: ToConnection): void {
  switch (message.kind) {
    case 'call':
      answer(message.id, message.call);
      break;
    case 'slots':
      worker.setSlots(message.slots);
      break;
    case 'finished': {
      const step = passed.get(message.assignmentId);
      passed.delete(message.assignmentId);
      step?.finish(new GivenOutcome(message.outcome));
      break;
    }
    case 'log':
      log(message.assignmentId, message.level, message.text);
      break;
    case 'progress':
      passed.get(message.assignmentId)?.context.progress(message.progress);
      break;
  }
}

function answer(id: number, call: Call): void {
  const tellAnswer = (given: Answer) => tell({ kind: 'answer', id, answer: given, state: state() });
  carryOut(call).then(
    (value) => tellAnswer({ value }),
    (error: unknown) => tellAnswer({ error: factsOfError(error) }),
  );
}

function carryOut(call: Call): Promise<unknown> {
  switch (call.method) {
    case 'start':
      return worker.start();
    case 'drain':
      return worker.drain();
    case 'stop':
      return worker.stop(call.options);
    case 'upsertLabels':
      return worker.upsertLabels(call.patch);
  }
}

function log(assignmentId: string, level: LogLevel, text: string): void {
  const write = passed.get(assignmentId)?.context.log;
  if (level === LogLevel.DEBUG) write?.debug(text);
  else if (level === LogLevel.WARNING) write?.warning(text);
  else if (level === LogLevel.ERROR) write?.error(text);
  else write?.info(text);
}

/** A buffer comes out of a clone as plain bytes. */
function withBuffers(given: TlsOptions): TlsOptions {
  const entries = Object.entries(given) as [keyof TlsOptions, Uint8Array | undefined][];
  return Object.fromEntries(entries.map(([name, bytes]) => [name, bytes && Buffer.from(bytes)]));
}

function endOf(end: WorkerEnd): ThreadEnd {
  return end.kind === 'failed' ? { kind: 'failed', error: factsOfError(end.error) } : end;
}

port.on('message', heard);
await worker.closed.then((end) => tell({ kind: 'closed', end: endOf(end), state: state() }));
