/** The worker an author holds when its connection has a thread of its own: handlers here, everything else there. */
import { extname } from 'node:path';
import { Worker as Thread } from 'node:worker_threads';
import { AssignmentAbortedError, WorkerClosedError } from './errors.ts';
import type { WorkerEvent } from './events.ts';
import { count, helloOf, slotsOf } from './hello.ts';
import type { LabelPatch, Labels } from './labels.ts';
import type { WorkerOptions } from './options.ts';
import { Runner } from './runner.ts';
import {
  type Answer,
  type Call,
  type ConnectionState,
  errorOfFacts,
  type ThreadEnd,
  type ThreadOptions,
  type ToConnection,
  type ToHandlers,
} from './thread-messages.ts';
import { type Deferred, deferred } from './waiters.ts';
import type { StopOptions, Worker, WorkerEnd, WorkerHealth } from './worker-api.ts';

// Beside this file, compiled or not.
const MAIN = new URL(`./thread-main${extname(import.meta.url)}`, import.meta.url);

export class ThreadedWorker implements Worker {
  readonly #options: WorkerOptions;
  readonly #thread: Thread;
  readonly #runner: Runner;
  readonly #calls = new Map<number, Deferred<unknown>>();
  readonly #running = new Set<string>();
  readonly #closed: Deferred<WorkerEnd> = deferred();
  #lastCall = 0;
  #isOver = false;
  #started: Promise<void> | undefined;
  #stopped: Promise<void> | undefined;
  #state: ConnectionState;

  constructor(options: WorkerOptions, nowMs: number) {
    if (options.accept !== undefined) {
      throw new TypeError(
        'accept() is asked before a step is accepted, which happens in another thread: it cannot be given with thread',
      );
    }
    // They throw for options that are none, here and now.
    helloOf(options);
    slotsOf(options);
    this.#options = options;
    const health = { connected: false, sinceMs: nowMs, reason: 'not connected yet' };
    this.#state = { id: options.workerId ?? '', name: options.name ?? '', displayName: '', labels: {}, health };
    this.#runner = new Runner(options.actions, {
      worker: this,
      log: (assignmentId, level, text) => this.#tell({ kind: 'log', assignmentId, level, text }),
      progress: (assignmentId, progress) => this.#tell({ kind: 'progress', assignmentId, progress }),
      finished: (assignmentId, outcome) => {
        this.#running.delete(assignmentId);
        this.#tell({ kind: 'finished', assignmentId, outcome });
      },
      event: (event) => this.#event(event),
    });
    this.#thread = new Thread(MAIN, { workerData: threadOptions(options) });
    this.#thread.on('message', (message: ToHandlers) => this.#heard(message));
    this.#thread.on('error', (error) => this.#finish({ kind: 'failed', error }));
    this.#thread.on('exit', () =>
      this.#finish({ kind: 'failed', error: new WorkerClosedError('the connection thread has ended') }),
    );
    // What was made and never started must not keep its process alive.
    this.#thread.unref();
  }

  get id(): string {
    return this.#state.id;
  }

  get name(): string {
    return this.#state.name;
  }

  get displayName(): string {
    return this.#state.displayName;
  }

  get health(): WorkerHealth {
    return this.#state.health;
  }

  get closed(): Promise<WorkerEnd> {
    return this.#closed.promise;
  }

  labels(): Labels {
    return { ...this.#state.labels };
  }

  upsertLabels(patch: LabelPatch): Promise<Labels> {
    return this.#call({ method: 'upsertLabels', patch }) as Promise<Labels>;
  }

  start(): Promise<void> {
    if (!this.#isOver) this.#thread.ref();
    this.#started ??= this.#call({ method: 'start' }) as Promise<void>;
    return this.#started;
  }

  async drain(): Promise<void> {
    // Closed meanwhile: then nothing is left to wait for.
    await this.#call({ method: 'drain' }).catch(() => {});
  }

  stop(options: StopOptions = {}): Promise<void> {
    this.#stopped ??= this.#call({ method: 'stop', options }).then(
      () => {},
      () => {},
    );
    return this.#stopped;
  }

  setSlots(slots: number): void {
    this.#tell({ kind: 'slots', slots: count('slots', slots) });
  }

  #call(call: Call): Promise<unknown> {
    if (this.#isOver) return Promise.reject(new WorkerClosedError('the worker is closed'));
    this.#lastCall += 1;
    const answer: Deferred<unknown> = deferred();
    this.#calls.set(this.#lastCall, answer);
    this.#tell({ kind: 'call', id: this.#lastCall, call });
    return answer.promise;
  }

  #tell(message: ToConnection): void {
    if (!this.#isOver) this.#thread.postMessage(message);
  }

  #heard(message: ToHandlers): void {
    switch (message.kind) {
      case 'run':
        this.#running.add(message.order.assignmentId);
        this.#runner.run(message.order);
        break;
      case 'abort':
        this.#runner.abort(message.assignmentId, new AssignmentAbortedError(message.abortKind, message.message));
        break;
      case 'event':
        this.#state = message.state;
        this.#event(message.event);
        break;
      case 'answer':
        this.#state = message.state;
        this.#answered(message.id, message.answer);
        break;
      case 'closed':
        this.#state = message.state;
        this.#finish(endOf(message.end));
        break;
    }
  }

  #answered(id: number, answer: Answer): void {
    const call = this.#calls.get(id);
    this.#calls.delete(id);
    if ('error' in answer) call?.reject(errorOfFacts(answer.error));
    else call?.resolve(answer.value);
  }

  #finish(end: WorkerEnd): void {
    if (this.#isOver) return;
    this.#isOver = true;
    const error = end.kind === 'failed' ? end.error : new WorkerClosedError(`the worker is ${end.kind}`);
    for (const assignmentId of this.#running) {
      this.#runner.abort(assignmentId, new AssignmentAbortedError('EVICTED', error.message));
    }
    // The answers that are still to come were sent before the end, or never will be.
    for (const call of this.#calls.values()) call.reject(error);
    this.#calls.clear();
    this.#closed.resolve(end);
    this.#thread.unref();
    this.#thread.terminate().catch(() => {});
  }

  #event(event: WorkerEvent): void {
    try {
      this.#options.onEvent?.(event);
    } catch (error) {
      // It must not stop the protocol half-way, and it must not be hidden either.
      queueMicrotask(() => {
        throw error;
      });
    }
  }
}

/** Everything but functions, which do not cross. */
function threadOptions({
  actions,
  accept: _accept,
  onEvent: _onEvent,
  thread: _thread,
  ...rest
}: WorkerOptions): ThreadOptions {
  return { ...rest, actions: Object.keys(actions) };
}

function endOf(end: ThreadEnd): WorkerEnd {
  return end.kind === 'failed' ? { kind: 'failed', error: errorOfFacts(end.error) } : end;
}
