/**
 * The naive plane: plain lists, and after every event every worker is tried for every waiting step, in the order of the
 * queue. Written from the rules on paper alone; it shares no code with the engine, and it is slow on purpose.
 */

import { type RunOrder, type Value, wishHolds } from './engine_wishes.ts';

export interface OracleTimes {
  readonly acceptMs: number;
  readonly missedPauseMs: number;
  readonly graceMs: number;
  readonly cancelCloseMs: number;
  readonly pauseMs: number;
  readonly pauseMsMax: number;
}

type State =
  | 'BLOCKED'
  | 'PENDING'
  | 'ASSIGNED'
  | 'RUNNING'
  | 'SUCCEEDED'
  | 'FAILED'
  | 'CRASHED'
  | 'TIMED_OUT'
  | 'CANCELLED';

export interface OracleStep {
  readonly order: RunOrder;
  readonly sequence: number;
  state: State;
  holder: OracleWorker | null;
  /** Which of the step's assignments this is; the n-th is called `<id>#n`. */
  assignment: number;
  failures: number;
  losses: number;
  cancelled: boolean;
  scheduleAt: number;
  backoffAt: number;
  acceptAt: number;
  executionAt: number;
  cancelAt: number;
  graceAt: number;
  /** By worker: how often it gave the step back, in which of its conditions, and until when it is spared. */
  readonly returns: Map<OracleWorker, { pauseMs: number; untilMs: number; condition: number }>;
}

export interface OracleWorker {
  readonly name: string;
  readonly namespace: string;
  readonly tags: readonly string[];
  readonly registered: number;
  readonly labels: Map<string, Value>;
  actions: readonly string[];
  slots: number;
  connected: boolean;
  /** A process lives that may come back. */
  process: boolean;
  draining: boolean;
  missedUntil: number;
  graceAt: number;
  /** Grows with every change that gives it another chance. */
  condition: number;
  lastAssigned: number;
  /** Places kept for handlers that may still run. */
  readonly reserved: Set<string>;
}

const NEVER = Number.POSITIVE_INFINITY;
const ENDED: readonly State[] = ['SUCCEEDED', 'FAILED', 'CRASHED', 'TIMED_OUT', 'CANCELLED'];

const NO_COUNTS = { assignment: 0, failures: 0, losses: 0 };
const NO_DEADLINES = {
  scheduleAt: NEVER,
  backoffAt: NEVER,
  acceptAt: NEVER,
  executionAt: NEVER,
  cancelAt: NEVER,
  graceAt: NEVER,
};

export class Oracle {
  readonly steps: OracleStep[] = [];
  readonly workers: OracleWorker[] = [];
  readonly #strict = new Set<string>();
  readonly #times: OracleTimes;
  #sequence = 0;
  #assignments = 0;
  #registered = 0;

  constructor(times: OracleTimes) {
    this.#times = times;
  }

  nameOf(step: OracleStep): string {
    return `${step.order.id}#${step.assignment}`;
  }

  held(worker: OracleWorker): OracleStep[] {
    return this.steps.filter((step) => step.holder === worker);
  }

  used(worker: OracleWorker): number {
    return this.held(worker).length + worker.reserved.size;
  }

  ended(step: OracleStep): boolean {
    return ENDED.includes(step.state);
  }

  waiting(): OracleStep[] {
    return this.steps
      .filter((step) => step.state === 'PENDING')
      .sort((a, b) =>
        a.order.priority === b.order.priority ? a.sequence - b.sequence : b.order.priority - a.order.priority,
      );
  }

  #covers(worker: OracleWorker, step: OracleStep): boolean {
    return step.order.runsOn.every((tag) => worker.tags.includes(tag));
  }

  mayTake(worker: OracleWorker, step: OracleStep, nowMs: number): boolean {
    const { order } = step;
    if (worker.namespace !== order.namespace || !worker.actions.includes(order.action)) return false;
    const wildcard = worker.tags.length === 0 && !this.#strict.has(order.namespace);
    if (!this.#covers(worker, step) && !wildcard) return false;
    if (order.wishes.some((wish) => wish.required && !wishHolds(worker.labels, wish))) return false;
    if (!worker.connected || worker.draining || nowMs < worker.missedUntil) return false;
    if (this.used(worker) >= worker.slots) return false;
    const returned = step.returns.get(worker);
    return returned === undefined || returned.condition !== worker.condition || nowMs >= returned.untilMs;
  }

  /** Whether `a` is to be preferred to `b`. */
  #better(a: OracleWorker, b: OracleWorker, step: OracleStep): boolean {
    const weights = (worker: OracleWorker) =>
      step.order.wishes.filter((wish) => !wish.required && wishHolds(worker.labels, wish)).map((wish) => wish.weight);
    const highest = (worker: OracleWorker) => (weights(worker).length === 0 ? 0 : Math.max(...weights(worker)));
    const sum = (worker: OracleWorker) => weights(worker).reduce((total, weight) => total + weight, 0);
    if (highest(a) !== highest(b)) return highest(a) > highest(b);
    if (sum(a) !== sum(b)) return sum(a) > sum(b);
    if (this.#covers(a, step) !== this.#covers(b, step)) return this.#covers(a, step);
    if (this.used(a) / a.slots !== this.used(b) / b.slots) return this.used(a) / a.slots < this.used(b) / b.slots;
    if (a.lastAssigned !== b.lastAssigned) return a.lastAssigned < b.lastAssigned;
    return a.registered < b.registered;
  }

  place(nowMs: number): void {
    for (const step of this.waiting()) {
      let best: OracleWorker | null = null;
      for (const worker of this.workers) {
        if (this.mayTake(worker, step, nowMs) && (best === null || this.#better(worker, best, step))) best = worker;
      }
      if (best === null) continue;
      step.state = 'ASSIGNED';
      step.holder = best;
      step.assignment += 1;
      this.#assignments += 1;
      best.lastAssigned = this.#assignments;
      // The transport takes an assignment as soon as it is made.
      step.acceptAt = nowMs + this.#times.acceptMs;
    }
  }

  /** The holder has it no more. `keepPlace`: its handler may still run, if its process lives. */
  #release(step: OracleStep, keepPlace: boolean): void {
    const { holder } = step;
    if (holder !== null && keepPlace && holder.process) holder.reserved.add(this.nameOf(step));
    step.holder = null;
    step.acceptAt = step.executionAt = step.cancelAt = step.graceAt = NEVER;
  }

  #end(step: OracleStep, state: State, keepPlace: boolean): void {
    this.#release(step, keepPlace);
    step.state = state;
    step.scheduleAt = step.backoffAt = NEVER;
  }

  #wait(step: OracleStep, nowMs: number, freshClock: boolean): void {
    step.state = 'PENDING';
    step.backoffAt = NEVER;
    if (freshClock) step.scheduleAt = step.order.scheduleMs === 0 ? NEVER : nowMs + step.order.scheduleMs;
  }

  /** Back in the queue, no attempt used up. */
  #reopen(step: OracleStep, nowMs: number, keepPlace: boolean): void {
    if (step.cancelled) {
      this.#end(step, 'CANCELLED', keepPlace);
      return;
    }
    const accepted = step.state === 'RUNNING';
    this.#release(step, keepPlace);
    this.#wait(step, nowMs, accepted);
  }

  #lose(step: OracleStep, nowMs: number, keepPlace: boolean): void {
    if (step.state === 'ASSIGNED' || step.cancelled) {
      this.#reopen(step, nowMs, keepPlace);
      return;
    }
    step.losses += 1;
    if (step.order.lossesMax >= 0 && step.losses > step.order.lossesMax) {
      this.#end(step, 'CRASHED', keepPlace);
      return;
    }
    this.#release(step, keepPlace);
    this.#wait(step, nowMs, true);
  }

  #spare(step: OracleStep, worker: OracleWorker, nowMs: number): void {
    const before = step.returns.get(worker);
    const pauseMs = before === undefined ? this.#times.pauseMs : Math.min(this.#times.pauseMsMax, 2 * before.pauseMs);
    step.returns.set(worker, { pauseMs, untilMs: nowMs + pauseMs, condition: worker.condition });
  }

  #attemptFailed(step: OracleStep, nowMs: number, keepPlace: boolean, last: State): void {
    step.failures += 1;
    const again = !step.cancelled && step.failures < step.order.attemptsMax;
    if (!again) this.#end(step, last, keepPlace);
    else this.#release(step, keepPlace);
    if (again && step.order.backoffMs === 0) this.#wait(step, nowMs, true);
    else if (again) {
      step.state = 'BLOCKED';
      step.backoffAt = nowMs + step.order.backoffMs * 2 ** (step.failures - 1);
    }
  }

  #fire(step: OracleStep, nowMs: number): void {
    if (step.scheduleAt <= nowMs) this.#end(step, 'TIMED_OUT', true);
    if (step.backoffAt <= nowMs) this.#wait(step, nowMs, true);
    if (step.acceptAt <= nowMs && step.holder !== null) {
      step.holder.missedUntil = nowMs + this.#times.missedPauseMs;
      this.#spare(step, step.holder, nowMs);
      this.#reopen(step, nowMs, true);
    }
    if (step.executionAt <= nowMs) this.#attemptFailed(step, nowMs, true, 'TIMED_OUT');
    if (step.cancelAt <= nowMs) this.#end(step, 'CANCELLED', true);
    if (step.graceAt <= nowMs) this.#lose(step, nowMs, true);
  }

  #connect(worker: OracleWorker): void {
    worker.connected = worker.process = true;
    worker.graceAt = NEVER;
    worker.missedUntil = -NEVER;
    worker.condition += 1;
    for (const step of this.held(worker)) step.graceAt = NEVER;
  }

  #dueTimes(nowMs: number): number[] {
    const pauses = this.waiting().flatMap((step) => [...step.returns.values()].map((one) => one.untilMs));
    return [
      ...this.steps.flatMap((step) => [
        step.scheduleAt,
        step.backoffAt,
        step.acceptAt,
        step.executionAt,
        step.cancelAt,
        step.graceAt,
      ]),
      ...this.workers.flatMap((worker) => [worker.graceAt, worker.missedUntil]),
      ...pauses,
    ].filter((atMs) => atMs > nowMs && atMs < NEVER);
  }

  setStrict(namespace: string, on: boolean) {
    if (on) this.#strict.add(namespace);
    else this.#strict.delete(namespace);
  }

  nextDueMs(nowMs: number): number {
    return Math.min(NEVER, ...this.#dueTimes(nowMs));
  }

  tick(nowMs: number) {
    for (const step of this.steps) if (!this.ended(step)) this.#fire(step, nowMs);
    for (const worker of this.workers) {
      if (worker.graceAt > nowMs) continue;
      worker.graceAt = NEVER;
      worker.process = false;
      worker.reserved.clear();
    }
  }

  submit(order: RunOrder, nowMs: number) {
    this.#sequence += 1;
    const step: OracleStep = {
      order,
      sequence: this.#sequence,
      state: 'PENDING',
      holder: null,
      cancelled: false,
      returns: new Map(),
      ...NO_DEADLINES,
      ...NO_COUNTS,
    };
    this.steps.push(step);
    this.#wait(step, nowMs, true);
  }

  /** A new process: of a new worker, or in the place of the old one. */
  hello(
    facts: Pick<OracleWorker, 'name' | 'namespace' | 'tags' | 'actions' | 'slots'>,
    labels: Map<string, Value>,
    nowMs: number,
  ) {
    let worker = this.workers.find((one) => one.name === facts.name && one.namespace === facts.namespace);
    if (worker === undefined) {
      this.#registered += 1;
      const fresh = {
        connected: false,
        process: false,
        draining: false,
        missedUntil: -NEVER,
        graceAt: NEVER,
        condition: 0,
        lastAssigned: 0,
      };
      worker = { ...facts, ...fresh, registered: this.#registered, labels: new Map(), reserved: new Set() };
      this.workers.push(worker);
    }
    for (const step of this.held(worker)) this.#lose(step, nowMs, false);
    worker.reserved.clear();
    worker.labels.clear();
    for (const [key, value] of labels) worker.labels.set(key, value);
    worker.actions = facts.actions;
    worker.slots = facts.slots;
    this.#connect(worker);
  }

  /** The same process is back, and names what it holds. */
  resume(worker: OracleWorker, named: ReadonlySet<string>, nowMs: number) {
    for (const step of this.held(worker)) if (!named.has(this.nameOf(step))) this.#lose(step, nowMs, false);
    for (const name of worker.reserved) if (!named.has(name)) worker.reserved.delete(name);
    for (const step of this.held(worker)) if (step.state === 'ASSIGNED') step.acceptAt = nowMs + this.#times.acceptMs;
    this.#connect(worker);
  }

  disconnect(worker: OracleWorker, nowMs: number) {
    worker.connected = false;
    worker.condition += 1;
    worker.graceAt = nowMs + this.#times.graceMs;
    for (const step of this.held(worker)) {
      step.graceAt = worker.graceAt;
      step.acceptAt = NEVER;
    }
  }

  goodbye(worker: OracleWorker, nowMs: number) {
    worker.connected = worker.process = false;
    worker.condition += 1;
    worker.reserved.clear();
    for (const step of this.held(worker)) this.#reopen(step, nowMs, false);
  }

  remove(worker: OracleWorker, nowMs: number) {
    worker.connected = worker.process = false;
    for (const step of this.held(worker)) this.#reopen(step, nowMs, false);
    this.workers.splice(this.workers.indexOf(worker), 1);
  }

  upsert(worker: OracleWorker, patch: ReadonlyMap<string, Value | null>) {
    for (const [key, value] of patch) {
      if (value === null) worker.labels.delete(key);
      else worker.labels.set(key, value);
    }
    worker.condition += 1;
  }

  changeSlots(worker: OracleWorker, slots: number) {
    worker.slots = slots;
    worker.condition += 1;
    worker.missedUntil = -NEVER;
  }

  /** Any word about an assignment shows that the worker reads its stream. */
  heard(worker: OracleWorker) {
    worker.missedUntil = -NEVER;
  }

  /** The worker says that what the server had ended is over. */
  overAtLast(worker: OracleWorker, name: string) {
    worker.reserved.delete(name);
  }

  accept(step: OracleStep, nowMs: number) {
    if (step.state === 'RUNNING') return;
    step.state = 'RUNNING';
    step.acceptAt = step.scheduleAt = NEVER;
    step.executionAt = step.order.executionMs === null ? NEVER : nowMs + step.order.executionMs;
  }

  giveBack(step: OracleStep, nowMs: number) {
    this.#spare(step, step.holder as OracleWorker, nowMs);
    this.#reopen(step, nowMs, false);
  }

  succeed(step: OracleStep) {
    this.#end(step, 'SUCCEEDED', false);
  }

  fail(step: OracleStep, nowMs: number) {
    this.#attemptFailed(step, nowMs, false, 'FAILED');
  }

  cancel(step: OracleStep, nowMs: number) {
    if (step.state === 'RUNNING') {
      if (step.cancelled) return;
      step.cancelAt = nowMs + this.#times.cancelCloseMs;
    } else this.#end(step, 'CANCELLED', true);
    step.cancelled = true;
  }

  confirmCancel(step: OracleStep) {
    this.#end(step, 'CANCELLED', false);
  }
}
