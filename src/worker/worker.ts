/** The worker an author holds: the session, its link and its handlers, put together. */
import { EvictionReason, ReturnReason, type RunStep, type Welcome } from '../../gen/yardmaster/v1/worker_service_pb.ts';
import { type Clock, systemClock } from '../lib/clock.ts';
import { systemIds } from '../lib/random.ts';
import { grpcStreams, type OpenStream } from './connection.ts';
import { nameOf } from './enums.ts';
import { withIdentity } from './environment.ts';
import { AssignmentAbortedError, ConnectRefusedError, WorkerClosedError } from './errors.ts';
import type { WorkerEvent } from './events.ts';
import { count, helloOf, slotsOf } from './hello.ts';
import { LabelBook, type LabelPatch, type Labels } from './labels.ts';
import { Link } from './link.ts';
import { objectionOf } from './offer.ts';
import type { WorkerOptions } from './options.ts';
import { Runner } from './runner.ts';
import { Session } from './session.ts';
import type { GiveBack, SessionPorts } from './session-ports.ts';
import { ThreadedWorker } from './threaded-worker.ts';
import { type Deferred, deferred, Waiters } from './waiters.ts';
import type { StopOptions, Worker, WorkerEnd, WorkerHealth } from './worker-api.ts';

const ADDRESS_DEFAULT = 'localhost:7070';
const GRACE_MS_DEFAULT = 30_000;
/** Aborted handlers get this long to end before goodbye gives their steps back. */
const ABORTED_MS_MAX = 1_000;
/** Ends that were reported get this long to be acknowledged before goodbye. */
const SETTLE_MS_MAX = 5_000;
/** The server ends the stream within a second of goodbye. */
const GOODBYE_MS_MAX = 1_500;

/** After these an SDK stops and says so; it never comes back by itself. */
const FINAL: ReadonlySet<EvictionReason> = new Set([
  EvictionReason.SUPERSEDED,
  EvictionReason.DELETED,
  EvictionReason.TOKEN_REVOKED,
]);

/** What the tests and the simulation replace. */
export interface WorkerRuntime {
  clock: Clock;
  /** Uniform in [0, 1). */
  fraction: () => number;
  openStream: OpenStream;
}

export function createWorker(given: WorkerOptions): Worker {
  const options = withIdentity(given);
  if (options.thread === true) return new ThreadedWorker(options, systemClock().nowMs());
  return createWorkerOn(options, {
    clock: systemClock(),
    fraction: systemIds().fraction,
    openStream: grpcStreams({
      address: options.address ?? ADDRESS_DEFAULT,
      tls: options.tls ?? false,
      token: options.token ?? '',
      namespace: options.namespace ?? '',
    }),
  });
}

export function createWorkerOn(options: WorkerOptions, runtime: WorkerRuntime): Worker {
  return new RunningWorker(options, runtime);
}

class RunningWorker implements Worker, SessionPorts {
  readonly #options: WorkerOptions;
  readonly #clock: Clock;
  readonly #session: Session;
  readonly #link: Link;
  readonly #runner: Runner;
  readonly #waiters: Waiters;
  readonly #closed: Deferred<WorkerEnd> = deferred();
  #started: Deferred<void> | undefined;
  #stopped: Promise<void> | undefined;
  #end: WorkerEnd | undefined;
  #armedMs = Number.POSITIVE_INFINITY;
  #timer: { clear(): void } | undefined;
  #welcome: Welcome | undefined;
  #health: WorkerHealth;

  constructor(options: WorkerOptions, runtime: WorkerRuntime) {
    this.#options = options;
    this.#clock = runtime.clock;
    this.#waiters = new Waiters(runtime.clock);
    this.#health = { connected: false, sinceMs: runtime.clock.nowMs(), reason: 'not connected yet' };
    this.#runner = new Runner(options.actions, {
      worker: this,
      log: (id, level, text) => this.#session.log(id, level, text, this.#clock.nowMs()),
      progress: (id, progress) => this.#session.progress(id, progress, this.#clock.nowMs()),
      finished: (id, outcome) => {
        this.#session.finished(id, outcome, this.#clock.nowMs());
        this.#waiters.check();
      },
      event: (event) => this.event(event),
    });
    this.#session = new Session(this, {
      hello: helloOf(options),
      labels: new LabelBook(options.labels),
      slots: slotsOf(options),
    });
    this.#link = new Link({
      clock: runtime.clock,
      fraction: runtime.fraction,
      openStream: runtime.openStream,
      session: () => this.#session,
      turned: () => this.#waiters.check(),
      disconnected: (reason, retryInMs) => {
        this.#nowConnected(false, reason);
        this.event({ type: 'disconnected', reason, retryInMs });
      },
      refused: (error) => this.#finish({ kind: 'failed', error }, error),
    });
  }

  get id(): string {
    return this.#welcome?.workerId ?? this.#options.workerId ?? '';
  }

  get name(): string {
    return this.#welcome?.name ?? this.#options.name ?? '';
  }

  get displayName(): string {
    return this.#welcome?.displayName ?? '';
  }

  get closed(): Promise<WorkerEnd> {
    return this.#closed.promise;
  }

  get health(): WorkerHealth {
    return this.#health;
  }

  labels(): Labels {
    return { ...this.#session.labels.told };
  }

  upsertLabels(patch: LabelPatch): Promise<Labels> {
    return new Promise((resolve, reject) => {
      if (this.#end !== undefined) reject(new WorkerClosedError('the worker is closed'));
      else this.#session.upsertLabels(patch, resolve, reject, this.#clock.nowMs());
    });
  }

  start(): Promise<void> {
    if (this.#started === undefined) {
      this.#started = deferred();
      if (this.#end === undefined && this.#stopped === undefined) this.#open();
      else this.#started.reject(new WorkerClosedError('the worker is closed'));
    }
    return this.#started.promise;
  }

  async drain(): Promise<void> {
    this.#session.drain(this.#clock.nowMs());
    await this.#waiters.until(() => this.#end !== undefined || this.#isIdle());
  }

  stop(options: StopOptions = {}): Promise<void> {
    this.#stopped ??= this.#stop(options);
    return this.#stopped;
  }

  setSlots(slots: number): void {
    this.#session.setSlots(count('slots', slots), this.#clock.nowMs());
  }

  // What follows is called by the session.

  write(request: Parameters<Link['write']>[0]): void {
    this.#link.write(request);
  }

  objection(order: RunStep): GiveBack | undefined {
    const { action } = order;
    if (!this.#runner.serves(action)) {
      return { reason: ReturnReason.OTHER, detail: `no handler for the action ${action}` };
    }
    return objectionOf(this.#options.accept, order, this.#session.labels.revision);
  }

  run(order: RunStep): void {
    this.#runner.run(order);
  }

  abort(assignmentId: string, error: AssignmentAbortedError): void {
    this.#runner.abort(assignmentId, error);
  }

  welcomed(welcome: Welcome): void {
    const resumed = this.#welcome !== undefined;
    this.#welcome = welcome;
    this.#link.welcomed();
    this.#nowConnected(true, '');
    this.#started?.resolve();
    const { workerId, name, displayName, namespace, warnings } = welcome;
    this.event({ type: 'connected', workerId, name, displayName, namespace, resumed, warnings });
  }

  reconnect(delayMs: number): void {
    this.#link.reconnect(delayMs);
  }

  hangUp(reason: string): void {
    this.#link.hangUp(reason);
  }

  evicted(reason: EvictionReason, message: string): void {
    const name = nameOf(EvictionReason, reason);
    this.event({ type: 'evicted', reason: name, message });
    if (!FINAL.has(reason)) {
      this.#link.hangUp(`evicted: ${name}: ${message}`);
      return;
    }
    const error = new ConnectRefusedError('ABORTED', name, message || `evicted: ${name}`);
    this.#finish({ kind: 'evicted', reason: name, message }, error);
  }

  wake(atMs: number): void {
    if (atMs >= this.#armedMs) return;
    this.#timer?.clear();
    this.#armedMs = atMs;
    this.#timer = this.#clock.after(Math.ceil(Math.max(0, atMs - this.#clock.nowMs())), () => {
      this.#armedMs = Number.POSITIVE_INFINITY;
      this.#session.tick(this.#clock.nowMs());
    });
  }

  event(event: WorkerEvent): void {
    try {
      this.#options.onEvent?.(event);
    } catch (error) {
      // It must not stop the protocol half-way, and it must not be hidden either.
      queueMicrotask(() => {
        throw error;
      });
    }
  }

  /** Since when it is so counts from the first of several tries. */
  #nowConnected(connected: boolean, reason: string): void {
    const sinceMs = connected === this.#health.connected ? this.#health.sinceMs : this.#clock.nowMs();
    this.#health = { connected, sinceMs, reason };
  }

  #open(): void {
    try {
      this.#link.open();
    } catch (thrown) {
      // grpc-js throws for an address it cannot read.
      const error = thrown instanceof Error ? thrown : new Error(String(thrown));
      this.#finish({ kind: 'failed', error }, error);
    }
  }

  #isIdle(): boolean {
    return this.#session.runningCount === 0 && this.#session.unsettledCount === 0;
  }

  async #stop({ reason = 'stopped', graceMs = GRACE_MS_DEFAULT }: StopOptions): Promise<void> {
    const session = this.#session;
    const isOver = () => this.#end !== undefined;
    session.drain(this.#clock.nowMs());
    await this.#waiters.within(graceMs, () => isOver() || session.runningCount === 0);
    session.abortAll(new AssignmentAbortedError('STOPPED', reason));
    await this.#waiters.within(ABORTED_MS_MAX, () => isOver() || session.runningCount === 0);
    await this.#waiters.within(SETTLE_MS_MAX, () => isOver() || session.unsettledCount === 0);
    if (isOver()) return;
    if (session.isOpen) {
      session.goodbye(reason);
      this.#link.halfClose();
      await this.#waiters.within(GOODBYE_MS_MAX, () => !this.#link.isUp);
    }
    this.#finish({ kind: 'stopped' }, new WorkerClosedError('the worker was stopped'));
  }

  #finish(end: WorkerEnd, error: Error): void {
    if (this.#end !== undefined) return;
    this.#end = end;
    this.#link.stop();
    this.#timer?.clear();
    this.#nowConnected(false, error.message);
    const message = end.kind === 'evicted' ? `${end.reason}: ${end.message}` : error.message;
    this.#session.abortAll(new AssignmentAbortedError('EVICTED', message));
    this.#session.closed();
    this.#session.labels.close(new WorkerClosedError(message));
    this.#started?.reject(error);
    this.#closed.resolve(end);
    this.#waiters.check();
  }
}
