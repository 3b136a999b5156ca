/**
 * The naive plane: plain lists, and after every event everything is looked at anew. Here is what can happen to it from
 * outside, and with time.
 */
import type { RunOrder, Value } from './engine_wishes.ts';
import {
  hasEnded,
  NEVER,
  NO_DEADLINES,
  nameOf,
  type OracleRun,
  type OracleStep,
  type OracleWorker,
  pinOf,
  runStateOf,
  UNTRIED,
} from './oracle_records.ts';
import { OracleSteps } from './oracle_steps.ts';

export class Oracle extends OracleSteps {
  #registered = 0;

  protected fire(step: OracleStep, nowMs: number): void {
    if (step.scheduleAt <= nowMs) this.end(step, 'TIMED_OUT', true, nowMs);
    if (step.backoffAt <= nowMs) this.wait(step, nowMs, true);
    if (step.acceptAt <= nowMs && step.holder !== null) {
      step.holder.missedUntil = nowMs + this.times.missedPauseMs;
      this.spare(step, step.holder, nowMs);
      this.reopen(step, nowMs, true);
    }
    if (step.executionAt <= nowMs) this.attemptFailed(step, nowMs, true, 'TIMED_OUT');
    if (step.cancelAt <= nowMs) this.end(step, 'CANCELLED', true, nowMs);
    if (step.graceAt <= nowMs) this.lose(step, nowMs, true);
  }

  protected connect(worker: OracleWorker): void {
    worker.connected = worker.process = true;
    worker.graceAt = NEVER;
    worker.missedUntil = -NEVER;
    worker.condition += 1;
    for (const step of this.held(worker)) step.graceAt = NEVER;
  }

  protected dueTimes(): number[] {
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

  nextDueMs(nowMs: number): number {
    return Math.min(NEVER, ...this.dueTimes().filter((atMs) => atMs > nowMs));
  }

  tick(nowMs: number) {
    for (const step of this.steps().sort((a, b) => a.assignedAs - b.assignedAs)) {
      if (!hasEnded(step)) this.fire(step, nowMs);
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
    for (const step of order.steps) run.steps.push(this.newStep(run, step));
    this.runs.push(run);
    this.begin(run, nowMs);
  }

  protected newStep(run: OracleRun, order: OracleStep['order']): OracleStep {
    const nobody = { holder: null, given: null, assignedAs: 0, assignment: 0 };
    return { run, order, state: 'BLOCKED', sequence: 0, returns: new Map(), ...nobody, ...UNTRIED, ...NO_DEADLINES };
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
    this.begin(run, nowMs);
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
    for (const step of this.held(worker)) this.lose(step, nowMs, false);
    worker.reserved.clear();
    worker.labels.clear();
    for (const [key, value] of labels) worker.labels.set(key, value);
    worker.actions = facts.actions;
    worker.slots = facts.slots;
    this.connect(worker);
  }

  /** The same process is back, and names what it holds. */
  resume(worker: OracleWorker, named: ReadonlySet<string>, nowMs: number) {
    for (const step of this.held(worker)) if (!named.has(nameOf(step))) this.lose(step, nowMs, false);
    for (const name of worker.reserved) if (!named.has(name)) worker.reserved.delete(name);
    for (const step of this.held(worker)) if (step.state === 'ASSIGNED') step.acceptAt = nowMs + this.times.acceptMs;
    this.connect(worker);
  }

  disconnect(worker: OracleWorker, nowMs: number) {
    worker.connected = false;
    worker.condition += 1;
    worker.graceAt = nowMs + this.times.graceMs;
    for (const step of this.held(worker)) {
      step.graceAt = worker.graceAt;
      step.acceptAt = NEVER;
    }
  }

  goodbye(worker: OracleWorker, nowMs: number) {
    worker.connected = worker.process = false;
    worker.condition += 1;
    worker.reserved.clear();
    for (const step of this.held(worker)) this.reopen(step, nowMs, false);
  }

  /** None of its open assignments will be accepted; then what is pinned to it for good fails. */
  remove(worker: OracleWorker, nowMs: number) {
    worker.connected = worker.process = false;
    worker.deleted = true;
    const held = this.held(worker);
    for (const { given } of held) if (given?.is === 'OPEN') given.is = 'VOID';
    for (const step of held) if (!hasEnded(step)) this.reopen(step, nowMs, false);
    for (const step of this.steps()) {
      const pinned = step.run.order.sticky === 'HARD' && pinOf(step.run) === worker;
      if (pinned && (step.state === 'PENDING' || step.held)) this.end(step, 'FAILED', false, nowMs);
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
    this.spare(step, step.holder as OracleWorker, nowMs);
    this.reopen(step, nowMs, false);
  }

  succeed(step: OracleStep, nowMs: number) {
    this.end(step, 'SUCCEEDED', false, nowMs);
  }

  fail(step: OracleStep, nowMs: number) {
    this.attemptFailed(step, nowMs, false, 'FAILED');
  }

  /** `only`: one step of it, and what needs that is skipped; null: the run, and nothing is. */
  cancel(run: OracleRun, only: OracleStep | null, nowMs: number) {
    if (only === null) run.cancelled = true;
    for (const step of only === null ? run.steps : [only]) if (!hasEnded(step)) this.cancelStep(step, nowMs);
  }

  protected cancelStep(step: OracleStep, nowMs: number): void {
    if (step.state !== 'RUNNING') {
      this.end(step, 'CANCELLED', true, nowMs);
      return;
    }
    if (!step.cancelled) step.cancelAt = nowMs + this.times.cancelCloseMs;
    step.cancelled = true;
  }

  confirmCancel(step: OracleStep, nowMs: number) {
    this.end(step, 'CANCELLED', false, nowMs);
  }
}
