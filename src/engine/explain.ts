/** Why a step waits, as of one moment: seen at once for what is recorded, slice by slice for who asks. */
import type { Demand } from '../domain/demand.ts';
import {
  boundedExplanation,
  createSurvey,
  distanceOf,
  type Explanation,
  keepNearest,
  placedExplanation,
  RECORDED_MISSES_MAX,
  type Seen,
  type SeenReport,
  type Standing,
  shortReport,
  survey,
  type Verdict,
  type WorkerReport,
  waitingExplanation,
} from '../domain/explain.ts';
import { type Check, checksOf, failedChecks, failedClause } from '../domain/feasibility.ts';
import { rankOf } from '../domain/rank.ts';
import { type Refusal, refuse } from '../domain/refusal.ts';
import { stepEnded } from '../domain/step.ts';
import type { CommandOf, ResultOf } from './commands.ts';
import { concurrencyOf } from './concurrency.ts';
import { demandOf } from './pins.ts';
import type { AssignmentRecord, EngineState, RunRecord, StepRecord, WorkerRecord } from './state.ts';
import { NO_TIMER } from './timers.ts';
import type { Turn } from './turn.ts';
import { blockedReason } from './views.ts';
import { isExcluded } from './waiting.ts';

/**
 * For the record of a step that waits, or that was offered and not accepted. Steps that ask for the same get what was
 * found for the first of them in this turn, each with its own place in their queue.
 */
export function explainWaiting(state: EngineState, turn: Turn, step: StepRecord): Explanation {
  if (step.assignment !== null) return boundedExplanation(explainPlaced(state, turn.nowMs, step, step.assignment));
  const known = turn.explanations.get(step.demand.key);
  if (known !== undefined && step.exclusions === null) {
    const aheadInDemand = aheadOf(step);
    const aheadInNamespace = Math.max(known.aheadInNamespace, aheadInDemand);
    return { ...known, aheadInDemand, aheadInNamespace, scheduleDeadlineMs: step.scheduleDeadlineMs };
  }
  const explanation = boundedExplanation(explainNearest(state, turn.nowMs, step));
  // What one step's own returns kept from it says nothing about the others.
  if (step.exclusions === null) turn.explanations.set(step.demand.key, explanation);
  return explanation;
}

interface SeenWorker extends Seen {
  readonly worker: WorkerRecord;
  readonly failed: readonly Check[];
}

/** Only the nearest workers are put into words: there may be ten thousand. */
function explainNearest(state: EngineState, nowMs: number, step: StepRecord): Explanation {
  const { spec } = step.demand;
  const look = lookOf(state, spec, step, nowMs);
  const found = createSurvey<SeenWorker>();
  const nearest: SeenWorker[] = [];
  for (const worker of state.workers.values()) {
    if (worker.namespace !== spec.namespace) continue;
    const seen = look(worker);
    survey(found, seen);
    keepNearest(nearest, seen, RECORDED_MISSES_MAX);
  }
  const best = found.best === null ? null : reportOf(found.best);
  return waitingExplanation(standingOf(state, nowMs, step), spec, found, best, nearest.map(reportOf));
}

/** How one step sees a worker. */
function lookOf(state: EngineState, demand: Demand, step: StepRecord | null, nowMs: number) {
  const checks = checksOf(demand, state.namespaces.get(demand.namespace)?.matchMode ?? 'LEGACY');
  return (worker: WorkerRecord): SeenWorker => {
    const failed = failedChecks(checks, worker, step !== null && isExcluded(step, worker, nowMs));
    const rank = failed.length === 0 ? rankOf(worker, demand) : null;
    return { worker, failed, distance: distanceOf(failed), rank, workerNumber: worker.workerNumber };
  };
}

function reportOf({ worker, failed, rank }: SeenWorker): WorkerReport {
  return {
    workerId: worker.workerId,
    workerName: worker.name,
    failed: failed.map((check) => failedClause(check, worker)),
    rank,
  };
}

/** What is known without looking at the workers one by one. */
function standingOf(state: EngineState, nowMs: number, step: StepRecord): Standing {
  return {
    ...(ownVerdict(state, step) ?? { verdict: null, summary: '' }),
    aheadInDemand: aheadOf(step),
    aheadInNamespace: aheadInNamespace(state, step),
    // It stays noted when the clock no longer runs.
    scheduleDeadlineMs: step.scheduleTimer === NO_TIMER && step.state !== 'PENDING' ? null : step.scheduleDeadlineMs,
    asOfMs: nowMs,
  };
}

interface OwnVerdict {
  readonly verdict: Verdict;
  readonly summary: string;
}

function ownVerdict(state: EngineState, step: StepRecord): OwnVerdict | null {
  switch (step.blockedOn) {
    case 'NEEDS':
      return { verdict: 'BLOCKED_BY', summary: `waits for what it depends on: ${blockedReason(step)}` };
    case 'DEPENDS_ON_RUN':
      return { verdict: 'BLOCKED_BY', summary: `waits for what it depends on: ${openDependencies(state, step.run)}` };
    case 'HELD':
      return { verdict: 'HELD', summary: heldSummary(state, step) };
    case 'BACKING_OFF':
      return { verdict: 'BACKING_OFF', summary: backingOffSummary(step) };
    case null:
      return stickyWorkerAway(state, step);
  }
}
