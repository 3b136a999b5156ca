/** Lives of runs and steps on the naive plane: from BLOCKED to their ends, and what follows from each end. */
import { OracleFleet } from './oracle_fleet.ts';
import {
  hasEnded,
  NEVER,
  nameOf,
  type OracleRun,
  type OracleState,
  type OracleStep,
  type OracleWorker,
  pinOf,
  runStateOf,
} from './oracle_records.ts';

export interface OracleTimes {
  readonly acceptMs: number;
  readonly missedPauseMs: number;
  readonly graceMs: number;
  readonly cancelCloseMs: number;
  readonly pauseMs: number;
  readonly pauseMsMax: number;
}

export class OracleSteps extends OracleFleet {
  protected readonly times: OracleTimes;
  #sequence = 0;
  #endSequence = 0;
  #waits = 0;
  #assignments = 0;

  constructor(times: OracleTimes) {
    super();
    this.times = times;
  }

  /** Again and again the first in the queue that somebody may take; a held step stands in it once there is a place. */
  place(nowMs: number): void {
    for (;;) {
      this.holdThoseWithoutPlace();
      const released = this.steps().filter((step) => step.held && this.hasPlace(step.run));
      const next = this.inOrder([...this.waiting(), ...released])
        .map((step) => ({ step, best: this.best(step, nowMs) }))
        .find(({ best }) => best !== null);
      if (next?.best) {
        if (next.step.held) this.wait(next.step, nowMs, true);
        this.assign(next.step, next.best, nowMs);
        continue;
      }
      // There is a place for whichever is taken first: all of them wait for a worker.
      for (const step of released) this.wait(step, nowMs, true);
      return;
    }
  }

  protected assign(step: OracleStep, worker: OracleWorker, nowMs: number): void {
    this.#assignments += 1;
    step.state = 'ASSIGNED';
    step.holder = worker;
    step.assignment += 1;
    step.assignedAs = worker.lastAssigned = this.#assignments;
    step.given = { worker, is: 'OPEN' };
    step.run.assignments.push(step.given);
    // The transport takes an assignment as soon as it is made.
    step.acceptAt = nowMs + this.times.acceptMs;
  }

  protected holdThoseWithoutPlace(): void {
    for (const step of this.waiting()) if (!this.hasPlace(step.run)) this.hold(step);
  }

  protected hold(step: OracleStep): void {
    step.state = 'BLOCKED';
    step.held = true;
    step.scheduleAt = NEVER;
  }

  /** The holder has it no more. `keepPlace`: its handler may still run, if its process lives. */
  protected release(step: OracleStep, keepPlace: boolean): void {
    const { holder } = step;
    if (holder !== null && keepPlace && holder.process) holder.reserved.add(nameOf(step));
    if (step.given?.is === 'OPEN') step.given.is = 'VOID';
    step.holder = step.given = null;
    step.acceptAt = step.executionAt = step.cancelAt = step.graceAt = NEVER;
  }

  protected end(step: OracleStep, state: OracleState, keepPlace: boolean, nowMs: number): void {
    this.release(step, keepPlace);
    this.#endSequence += 1;
    step.endSequence = this.#endSequence;
    step.state = state;
    step.held = false;
    step.scheduleAt = step.backoffAt = NEVER;
    step.returns.clear();
    const { run } = step;
    for (const other of run.steps) {
      if (hasEnded(other) || !other.order.needs.includes(step.order.name)) continue;
      if (state !== 'SUCCEEDED') this.end(other, run.cancelled ? 'CANCELLED' : 'SKIPPED', false, nowMs);
      else if (this.mayBegin(other)) this.ready(other, nowMs);
    }
    if (!run.ended && run.steps.every(hasEnded)) this.endRun(run, nowMs);
  }

  protected endRun(run: OracleRun, nowMs: number): void {
    run.ended = true;
    run.waitsFor.clear();
    const followers = this.runs.filter((other) => other.waitsFor.has(run));
    for (const other of followers.sort((a, b) => a.waitsSince - b.waitsSince)) {
      other.waitsFor.delete(run);
      if (runStateOf(run) !== 'SUCCEEDED') this.doom(other, nowMs);
      else this.beginAll(other, nowMs);
    }
  }

  /** What it depends on did not succeed. */
  protected doom(run: OracleRun, nowMs: number): void {
    run.doomed = true;
    for (const step of run.steps) if (!hasEnded(step)) this.end(step, 'SKIPPED', false, nowMs);
  }

  protected mayBegin({ run, order }: OracleStep): boolean {
    const needs = run.steps.filter((other) => order.needs.includes(other.order.name));
    return run.waitsFor.size === 0 && needs.every((need) => need.state === 'SUCCEEDED');
  }

  protected beginAll(run: OracleRun, nowMs: number): void {
    for (const step of run.steps) if (!hasEnded(step) && this.mayBegin(step)) this.ready(step, nowMs);
  }

  /** Dependencies are judged first. */
  protected begin(run: OracleRun, nowMs: number): void {
    this.#waits += 1;
    run.waitsSince = this.#waits;
    const failed = run.dependsOn.some((other) => other.ended && runStateOf(other) !== 'SUCCEEDED');
    if (failed) {
      this.doom(run, nowMs);
      return;
    }
    for (const other of run.dependsOn) if (!other.ended) run.waitsFor.add(other);
    this.beginAll(run, nowMs);
  }

  /** Nothing it needs is missing any more. */
  protected ready(step: OracleStep, nowMs: number): void {
    if (step.sequence === 0) {
      this.#sequence += 1;
      step.sequence = this.#sequence;
    }
    this.wait(step, nowMs, true);
  }

  protected wait(step: OracleStep, nowMs: number, freshClock: boolean): void {
    const pin = pinOf(step.run);
    if (step.run.order.sticky === 'HARD' && pin?.deleted) {
      this.end(step, 'FAILED', false, nowMs);
      return;
    }
    step.state = 'PENDING';
    step.held = false;
    step.backoffAt = NEVER;
    if (!this.hasPlace(step.run)) this.hold(step);
    else if (freshClock) step.scheduleAt = step.order.scheduleMs === 0 ? NEVER : nowMs + step.order.scheduleMs;
  }

  /** Back in the queue, no attempt used up. */
  protected reopen(step: OracleStep, nowMs: number, keepPlace: boolean): void {
    if (step.cancelled) {
      this.end(step, 'CANCELLED', keepPlace, nowMs);
      return;
    }
    const accepted = step.state === 'RUNNING';
    this.release(step, keepPlace);
    this.wait(step, nowMs, accepted);
  }

  protected lose(step: OracleStep, nowMs: number, keepPlace: boolean): void {
    if (step.state === 'ASSIGNED' || step.cancelled) {
      this.reopen(step, nowMs, keepPlace);
      return;
    }
    step.losses += 1;
    if (step.order.lossesMax >= 0 && step.losses > step.order.lossesMax) {
      this.end(step, 'CRASHED', keepPlace, nowMs);
      return;
    }
    this.release(step, keepPlace);
    this.wait(step, nowMs, true);
  }

  protected spare(step: OracleStep, worker: OracleWorker, nowMs: number): void {
    const before = step.returns.get(worker);
    const pauseMs = before === undefined ? this.times.pauseMs : Math.min(this.times.pauseMsMax, 2 * before.pauseMs);
    step.returns.set(worker, { pauseMs, untilMs: nowMs + pauseMs, condition: worker.condition });
  }

  protected attemptFailed(step: OracleStep, nowMs: number, keepPlace: boolean, last: OracleState): void {
    step.failures += 1;
    if (step.cancelled || step.failures >= step.order.attemptsMax) {
      this.end(step, last, keepPlace, nowMs);
      return;
    }
    this.release(step, keepPlace);
    if (step.order.backoffMs === 0) {
      this.wait(step, nowMs, true);
      return;
    }
    step.state = 'BLOCKED';
    step.backoffAt = nowMs + step.order.backoffMs * 2 ** (step.failures - 1);
  }
}
