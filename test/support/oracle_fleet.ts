/**
 * Who may take what, as the naive plane sees it: every worker is tried for every step. Written from the rules on paper
 * alone; it shares no code with the engine, and it is slow on purpose.
 */
import { wishHolds } from './engine_wishes.ts';
import {
  isLive,
  type OracleRun,
  type OracleStep,
  type OracleWorker,
  pinOf,
  runsOnOf,
  wishesOf,
} from './oracle_records.ts';

export class OracleFleet {
  readonly runs: OracleRun[] = [];
  readonly workers: OracleWorker[] = [];
  readonly #strict = new Set<string>();

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
    let used = worker.reserved.size;
    // Asked for every worker and every step: a list each time would be most of what a duel costs.
    for (const run of this.runs) {
      if (run.ended) continue;
      for (const step of run.steps) if (step.holder === worker) used += 1;
    }
    return used;
  }

  protected inOrder(steps: OracleStep[]): OracleStep[] {
    return steps.sort((a, b) =>
      a.run.priority === b.run.priority ? a.sequence - b.sequence : b.run.priority - a.run.priority,
    );
  }

  waiting(): OracleStep[] {
    return this.inOrder(this.steps().filter((step) => step.state === 'PENDING'));
  }

  heldForPlace(): OracleStep[] {
    return this.inOrder(this.steps().filter((step) => step.held));
  }

  /** Whether the run may go on, or begin, as far as its concurrency key is concerned. */
  protected hasPlace(run: OracleRun): boolean {
    const { key, namespace } = run.order;
    if (key === null || isLive(run)) return true;
    const same = (other: OracleRun) => other.order.namespace === namespace && other.order.key?.key === key.key;
    return this.runs.filter((other) => same(other) && isLive(other)).length < key.limit;
  }

  protected covers(worker: OracleWorker, step: OracleStep): boolean {
    return runsOnOf(step).every((tag) => worker.tags.includes(tag));
  }

  mayTake(worker: OracleWorker, step: OracleStep, nowMs: number): boolean {
    const { namespace, sticky } = step.run.order;
    if (!worker.connected || worker.draining || nowMs < worker.missedUntil) return false;
    if (worker.namespace !== namespace || !worker.actions.includes(step.order.action)) return false;
    const pin = pinOf(step.run);
    if (sticky === 'HARD' && pin !== null && pin !== worker) return false;
    const wildcard = worker.tags.length === 0 && !this.#strict.has(namespace);
    if (!this.covers(worker, step) && !wildcard) return false;
    if (wishesOf(step).some((wish) => wish.required && !wishHolds(worker.labels, wish))) return false;
    if (this.used(worker) >= worker.slots) return false;
    const returned = step.returns.get(worker);
    return returned === undefined || returned.condition !== worker.condition || nowMs >= returned.untilMs;
  }

  /** Whether `a` is to be preferred to `b`. */
  protected better(a: OracleWorker, b: OracleWorker, step: OracleStep): boolean {
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
    if (this.covers(a, step) !== this.covers(b, step)) return this.covers(a, step);
    if (this.used(a) / a.slots !== this.used(b) / b.slots) return this.used(a) / a.slots < this.used(b) / b.slots;
    if (a.lastAssigned !== b.lastAssigned) return a.lastAssigned < b.lastAssigned;
    return a.registered < b.registered;
  }

  protected best(step: OracleStep, nowMs: number): OracleWorker | null {
    let best: OracleWorker | null = null;
    for (const worker of this.workers) {
      if (this.mayTake(worker, step, nowMs) && (best === null || this.better(worker, best, step))) best = worker;
    }
    return best;
  }

  setStrict(namespace: string, on: boolean) {
    if (on) this.#strict.add(namespace);
    else this.#strict.delete(namespace);
  }
}
