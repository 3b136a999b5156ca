/**
 * The naive plane: plain lists, and after every event every worker is tried for every waiting step, in the order of the
 * queue. Written from the rules on paper alone; it shares no code with the engine, and it is slow on purpose.
 */

import { type RunOrder, type Value, wishHolds } from './engine_wishes.ts';
import {
  hasEnded,
  isLive,
  NEVER,
  NO_DEADLINES,
  nameOf,
  type OracleRun,
  type OracleState,
  type OracleStep,
  type OracleWorker,
  pinOf,
  runStateOf,
  runsOnOf,
  UNTRIED,
  wishesOf,
} from './oracle_records.ts';

export interface OracleTimes {
  readonly acceptMs: number;
  readonly missedPauseMs: number;
  readonly graceMs: number;
  readonly cancelCloseMs: number;
  readonly pauseMs: number;
  readonly pauseMsMax: number;
}

export class Oracle {
  readonly runs: OracleRun[] = [];
  readonly workers: OracleWorker[] = [];
  readonly #strict = new Set<string>();
  readonly #times: OracleTimes;
  #sequence = 0;
  #endSequence = 0;
  #waits = 0;
  #assignments = 0;
  #registered = 0;

  constructor(times: OracleTimes) {
    this.#times = times;
  }

  /** Of the runs that go on. */
  steps(): OracleStep[] {
    return this.runs.flatMap((run) => (run.ended ? [] : run.steps));
  }

  /** In the order in which it was given them. */
  held(worker: OracleWorker): OracleStep[] {
    return this.steps()
      .filter((step) => step.holder === worker)
      .sort((a, b) => a.assignedAs - b.assignedAs);
  }

  used(worker: OracleWorker): number {
    return this.held(worker).length + worker.reserved.size;
  }

  #inOrder(steps: OracleStep[]): OracleStep[] {
    return steps.sort((a, b) =>
      a.run.priority === b.run.priority ? a.sequence - b.sequence : b.run.priority - a.run.priority,
    );
  }

  waiting(): OracleStep[] {
    return this.#inOrder(this.steps().filter((step) => step.state === 'PENDING'));
  }

  heldForPlace(): OracleStep[] {
    return this.#inOrder(this.steps().filter((step) => step.held));
  }

  /** Whether the run may go on, or begin, as far as its concurrency key is concerned. */
  #hasPlace(run: OracleRun): boolean {
    const { key, namespace } = run.order;
    if (key === null || isLive(run)) return true;
    const same = (other: OracleRun) => other.order.namespace === namespace && other.order.key?.key === key.key;
    return this.runs.filter((other) => same(other) && isLive(other)).length < key.limit;
  }

  #covers(worker: OracleWorker, step: OracleStep): boolean {
    return runsOnOf(step).every((tag) => worker.tags.includes(tag));
  }

  mayTake(worker: OracleWorker, step: OracleStep, nowMs: number): boolean {
    const { namespace, sticky } = step.run.order;
    if (worker.namespace !== namespace || !worker.actions.includes(step.order.action)) return false;
    const pin = pinOf(step.run);
    if (sticky === 'HARD' && pin !== null && pin !== worker) return false;
    const wildcard = worker.tags.length === 0 && !this.#strict.has(namespace);
    if (!this.#covers(worker, step) && !wildcard) return false;
    if (wishesOf(step).some((wish) => wish.required && !wishHolds(worker.labels, wish))) return false;
    if (!worker.connected || worker.draining || nowMs < worker.missedUntil) return false;
    if (this.used(worker) >= worker.slots) return false;
    const returned = step.returns.get(worker);
    return returned === undefined || returned.condition !== worker.condition || nowMs >= returned.untilMs;
  }

  /** Whether `a` is to be preferred to `b`. */
  #better(a: OracleWorker, b: OracleWorker, step: OracleStep): boolean {
    const weights = (worker: OracleWorker) =>
      wishesOf(step)
        .filter((wish) => !wish.required && wishHolds(worker.labels, wish))
        .map((wish) => wish.weight);
    const highest = (worker: OracleWorker) => (weights(worker).length === 0 ? 0 : Math.max(...weights(worker)));
    const sum = (worker: OracleWorker) => weights(worker).reduce((total, weight) => total + weight, 0);
    const pin = pinOf(step.run);
    if (pin === a || pin === b) return pin === a;
    if (highest(a) !== highest(b)) return highest(a) > highest(b);
    if (sum(a) !== sum(b)) return sum(a) > sum(b);
    if (this.#covers(a, step) !== this.#covers(b, step)) return this.#covers(a, step);
    if (this.used(a) / a.slots !== this.used(b) / b.slots) return this.used(a) / a.slots < this.used(b) / b.slots;
    if (a.lastAssigned !== b.lastAssigned) return a.lastAssigned < b.lastAssigned;
    return a.registered < b.registered;
  }

  #best(step: OracleStep, nowMs: number): OracleWorker | null {
    let best: OracleWorker | null = null;
    for (const worker of this.workers) {
      if (this.mayTake(worker, step, nowMs) && (best === null || this.#better(worker, best, step))) best = worker;
    }
    return best;
  }

  /** Again and again the first in the queue that somebody may take; a held step stands in it once there is a place. */
  place(nowMs: number): void {
    for (;;) {
      this.#holdThoseWithoutPlace();
      const released = this.steps().filter((step) => step.held && this.#hasPlace(step.run));
      const next = this.#inOrder([...this.waiting(), ...released])
        .map((step) => ({ step, best: this.#best(step, nowMs) }))
        .find(({ best }) => best !== null);
      if (next?.best) {
        if (next.step.held) this.#wait(next.step, nowMs, true);
        this.#assign(next.step, next.best, nowMs);
        continue;
      }
      // There is a place for whichever is taken first: all of them wait for a worker.
      for (const step of released) this.#wait(step, nowMs, true);
      return;
    }
  }

  #assign(step: OracleStep, worker: OracleWorker, nowMs: number): void {
    this.#assignments += 1;
    step.state = 'ASSIGNED';
    step.holder = worker;
    step.assignment += 1;
    step.assignedAs = worker.lastAssigned = this.#assignments;
    step.given = { worker, is: 'OPEN' };
    step.run.assignments.push(step.given);
    // The transport takes an assignment as soon as it is made.
    step.acceptAt = nowMs + this.#times.acceptMs;
  }

  #holdThoseWithoutPlace(): void {
    for (const step of this.waiting()) if (!this.#hasPlace(step.run)) this.#hold(step);
  }

  #hold(step: OracleStep): void {
    step.state = 'BLOCKED';
    step.held = true;
    step.scheduleAt = NEVER;
  }

  /** The holder has it no more. `keepPlace`: its handler may still run, if its process lives. */
  #release(step: OracleStep, keepPlace: boolean): void {
    const { holder } = step;
    if (holder !== null && keepPlace && holder.process) holder.reserved.add(nameOf(step));
    if (step.given?.is === 'OPEN') step.given.is = 'VOID';
    step.holder = step.given = null;
    step.acceptAt = step.executionAt = step.cancelAt = step.graceAt = NEVER;
  }

  #end(step: OracleStep, state: OracleState, keepPlace: boolean, nowMs: number): void {
    this.#release(step, keepPlace);
    this.#endSequence += 1;
    step.endSequence = this.#endSequence;
    step.state = state;
    step.held = false;
    step.scheduleAt = step.backoffAt = NEVER;
    step.returns.clear();
    const { run } = step;
    for (const other of run.steps) {
      if (hasEnded(other) || !other.order.needs.includes(step.order.name)) continue;
      if (state !== 'SUCCEEDED') this.#end(other, run.cancelled ? 'CANCELLED' : 'SKIPPED', false, nowMs);
      else if (this.#mayBegin(other)) this.#ready(other, nowMs);
    }
    if (!run.ended && run.steps.every(hasEnded)) this.#endRun(run, nowMs);
  }

  #endRun(run: OracleRun, nowMs: number): void {
    run.ended = true;
    run.waitsFor.clear();
    const followers = this.runs.filter((other) => other.waitsFor.has(run));
    for (const other of followers.sort((a, b) => a.waitsSince - b.waitsSince)) {
      other.waitsFor.delete(run);
      if (runStateOf(run) !== 'SUCCEEDED') this.#doom(other, nowMs);
      else this.#beginAll(other, nowMs);
    }
  }

  /** What it depends on did not succeed. */
  #doom(run: OracleRun, nowMs: number): void {
    run.doomed = true;
    for (const step of run.steps) if (!hasEnded(step)) this.#end(step, 'SKIPPED', false, nowMs);
  }

  #mayBegin({ run, order }: OracleStep): boolean {
    const needs = run.steps.filter((other) => order.needs.includes(other.order.name));
    return run.waitsFor.size === 0 && needs.every((need) => need.state === 'SUCCEEDED');
  }

  #beginAll(run: OracleRun, nowMs: number): void {
    for (const step of run.steps) if (!hasEnded(step) && this.#mayBegin(step)) this.#ready(step, nowMs);
  }

  /** Nothing it needs is missing any more. */
  #ready(step: OracleStep, nowMs: number): void {
    if (step.sequence === 0) {
      this.#sequence += 1;
      step.sequence = this.#sequence;
    }
    this.#wait(step, nowMs, true);
  }

  #wait(step: OracleStep, nowMs: number, freshClock: boolean): void {
    const pin = pinOf(step.run);
    if (step.run.order.sticky === 'HARD' && pin?.deleted) {
      this.#end(step, 'FAILED', false, nowMs);
      return;
    }
    step.state = 'PENDING';
    step.held = false;
    step.backoffAt = NEVER;
    if (!this.#hasPlace(step.run)) this.#hold(step);
    else if (freshClock) step.scheduleAt = step.order.scheduleMs === 0 ? NEVER : nowMs + step.order.scheduleMs;
  }

  /** Back in the queue, no attempt used up. */
  #reopen(step: OracleStep, nowMs: number, keepPlace: boolean): void {
    if (step.cancelled) {
      this.#end(step, 'CANCELLED', keepPlace, nowMs);
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
      this.#end(step, 'CRASHED', keepPlace, nowMs);
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

  #attemptFailed(step: OracleStep, nowMs: number, keepPlace: boolean, last: OracleState): void {
    step.failures += 1;
    if (step.cancelled || step.failures >= step.order.attemptsMax) {
      this.#end(step, last, keepPlace, nowMs);
      return;
    }
    this.#release(step, keepPlace);
    if (step.order.backoffMs === 0) {
      this.#wait(step, nowMs, true);
      return;
    }
    step.state = 'BLOCKED';
    step.backoffAt = nowMs + step.order.backoffMs * 2 ** (step.failures - 1);
  }

  #fire(step: OracleStep, nowMs: number): void {
    if (step.scheduleAt <= nowMs) this.#end(step, 'TIMED_OUT', true, nowMs);
    if (step.backoffAt <= nowMs) this.#wait(step, nowMs, true);
    if (step.acceptAt <= nowMs && step.holder !== null) {
      step.holder.missedUntil = nowMs + this.#times.missedPauseMs;
      this.#spare(step, step.holder, nowMs);
      this.#reopen(step, nowMs, true);
    }
    if (step.executionAt <= nowMs) this.#attemptFailed(step, nowMs, true, 'TIMED_OUT');
    if (step.cancelAt <= nowMs) this.#end(step, 'CANCELLED', true, nowMs);
    if (step.graceAt <= nowMs) this.#lose(step, nowMs, true);
  }

  #connect(worker: OracleWorker): void {
    worker.connected = worker.process = true;
    worker.graceAt = NEVER;
    worker.missedUntil = -NEVER;
    worker.condition += 1;
    for (const step of this.held(worker)) step.graceAt = NEVER;
  }

  #dueTimes(): number[] {
    const ofSteps = this.steps().flatMap((step) => [
      step.scheduleAt,
      step.backoffAt,
      step.acceptAt,
      step.executionAt,
      step.cancelAt,
      step.graceAt,
      ...(step.state === 'PENDING' ? [...step.returns.values()].map((one) => one.untilMs) : []),
    ]);
    return [...ofSteps, ...this.workers.flatMap((worker) => [worker.graceAt, worker.missedUntil])];
  }

  setStrict(namespace: string, on: boolean) {
    if (on) this.#strict.add(namespace);
    else this.#strict.delete(namespace);
  }

  nextDueMs(nowMs: number): number {
    return Math.min(NEVER, ...this.#dueTimes().filter((atMs) => atMs > nowMs));
  }

  tick(nowMs: number) {
    for (const step of this.steps().sort((a, b) => a.assignedAs - b.assignedAs)) {
      if (!hasEnded(step)) this.#fire(step, nowMs);
    }
    for (const worker of this.workers) {
      if (worker.graceAt > nowMs) continue;
      worker.graceAt = NEVER;
      worker.process = false;
      worker.reserved.clear();
    }
  }

  submit(order: RunOrder, given: OracleWorker | null, dependsOn: readonly OracleRun[], nowMs: number) {
    const run: OracleRun = {
      order,
      steps: [],
      priority: order.priority,
      runsOn: order.runsOn,
      given,
      assignments: [],
      cancelled: false,
      dependsOn,
      waitsFor: new Set(),
      waitsSince: 0,
      doomed: false,
      ended: false,
    };
    for (const step of order.steps) run.steps.push(this.#newStep(run, step));
    this.runs.push(run);
    this.#begin(run, nowMs);
  }

  #newStep(run: OracleRun, order: OracleStep['order']): OracleStep {
    const nobody = { holder: null, given: null, assignedAs: 0, assignment: 0 };
    return { run, order, state: 'BLOCKED', sequence: 0, returns: new Map(), ...nobody, ...UNTRIED, ...NO_DEADLINES };
  }

  /** Dependencies are judged first. */
  #begin(run: OracleRun, nowMs: number): void {
    this.#waits += 1;
    run.waitsSince = this.#waits;
    const failed = run.dependsOn.some((other) => other.ended && runStateOf(other) !== 'SUCCEEDED');
    if (failed) {
      this.#doom(run, nowMs);
      return;
    }
    for (const other of run.dependsOn) if (!other.ended) run.waitsFor.add(other);
    this.#beginAll(run, nowMs);
  }

  /** Whether it may be edited: nobody holds a step of it, and it goes on. */
  mayEdit(run: OracleRun): boolean {
    return !run.ended && run.steps.every((step) => step.holder === null);
  }

  edit(run: OracleRun, priority: number | null, runsOn: readonly string[] | null) {
    run.priority = priority ?? run.priority;
    run.runsOn = runsOn ?? run.runsOn;
  }

  mayRetry(run: OracleRun): boolean {
    return run.ended && runStateOf(run) !== 'SUCCEEDED';
  }

  /** What did not succeed is as new, but for its place in the queue. */
  retry(run: OracleRun, keepPin: boolean, nowMs: number) {
    run.given = keepPin ? pinOf(run) : null;
    run.assignments = [];
    run.cancelled = run.doomed = run.ended = false;
    for (const step of run.steps) if (step.state !== 'SUCCEEDED') Object.assign(step, UNTRIED, { state: 'BLOCKED' });
    this.#begin(run, nowMs);
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
        deleted: false,
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
    for (const step of this.held(worker)) if (!named.has(nameOf(step))) this.#lose(step, nowMs, false);
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

  /** None of its open assignments will be accepted; then what is pinned to it for good fails. */
  remove(worker: OracleWorker, nowMs: number) {
    worker.connected = worker.process = false;
    worker.deleted = true;
    const held = this.held(worker);
    for (const { given } of held) if (given?.is === 'OPEN') given.is = 'VOID';
    for (const step of held) if (!hasEnded(step)) this.#reopen(step, nowMs, false);
    for (const step of this.steps()) {
      const pinned = step.run.order.sticky === 'HARD' && pinOf(step.run) === worker;
      if (pinned && (step.state === 'PENDING' || step.held)) this.#end(step, 'FAILED', false, nowMs);
    }
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
    if (step.given !== null) step.given.is = 'ACCEPTED';
    step.acceptAt = step.scheduleAt = NEVER;
    step.executionAt = step.order.executionMs === null ? NEVER : nowMs + step.order.executionMs;
  }

  giveBack(step: OracleStep, nowMs: number) {
    this.#spare(step, step.holder as OracleWorker, nowMs);
    this.#reopen(step, nowMs, false);
  }

  succeed(step: OracleStep, nowMs: number) {
    this.#end(step, 'SUCCEEDED', false, nowMs);
  }

  fail(step: OracleStep, nowMs: number) {
    this.#attemptFailed(step, nowMs, false, 'FAILED');
  }

  /** `only`: one step of it, and what needs that is skipped; null: the run, and nothing is. */
  cancel(run: OracleRun, only: OracleStep | null, nowMs: number) {
    if (only === null) run.cancelled = true;
    for (const step of only === null ? run.steps : [only]) if (!hasEnded(step)) this.#cancelStep(step, nowMs);
  }

  #cancelStep(step: OracleStep, nowMs: number): void {
    if (step.state !== 'RUNNING') {
      this.#end(step, 'CANCELLED', true, nowMs);
      return;
    }
    if (!step.cancelled) step.cancelAt = nowMs + this.#times.cancelCloseMs;
    step.cancelled = true;
  }

  confirmCancel(step: OracleStep, nowMs: number) {
    this.#end(step, 'CANCELLED', false, nowMs);
  }
}
