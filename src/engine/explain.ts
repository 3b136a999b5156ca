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
import type { Turn } from './turn.ts';
import { openNeedsOf } from './views.ts';
import { isExcluded } from './waiting.ts';

/**
 * For the record of a step that waits, or that was offered and not accepted. Steps that ask for the same get what was
 * found for the first of them in this turn, each with its own place in their queue.
 */
export function explainWaiting(state: EngineState, turn: Turn, step: StepRecord): Explanation {
  if (step.assignment !== null) return boundedExplanation(explainPlaced(turn.nowMs, step, step.assignment));
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
    const rank = failed.length === 0 ? rankOf(worker, demand, step?.invalidInput?.reporters) : null;
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
    ...(ownVerdict(state, step, nowMs) ?? { verdict: null, summary: '' }),
    aheadInDemand: aheadOf(step),
    aheadInNamespace: aheadInNamespace(state, step),
    scheduleDeadlineMs: deadlineOf(step),
    asOfMs: nowMs,
  };
}

interface OwnVerdict {
  readonly verdict: Verdict;
  readonly summary: string;
}

/** null: the workers decide. */
function ownVerdict(state: EngineState, step: StepRecord, nowMs: number): OwnVerdict | null {
  switch (step.blockedOn) {
    case 'NEEDS':
      return waitsForSteps(step);
    case 'DEPENDS_ON_RUN':
      return waitsForRuns(state, step.run);
    case 'HELD':
      return heldByKey(state, step);
    case 'EQUAL':
      return followsEqual(step.run);
    case 'BACKING_OFF':
      return backingOff(step, nowMs);
    case null:
      return stickyWorkerAway(state, step);
  }
}

const NAMES_SHOWN_MAX = 5;

function named(names: readonly string[]): string {
  const shown = names.slice(0, NAMES_SHOWN_MAX).map((name) => `"${name}"`);
  const left = names.length - shown.length;
  return left > 0 ? `${shown.join(', ')} and ${left} more` : shown.join(', ');
}

function waitsForSteps(step: StepRecord): OwnVerdict {
  const needs = openNeedsOf(step);
  const noun = needs.length === 1 ? 'step' : 'steps';
  return { verdict: 'BLOCKED_BY', summary: `waits for ${noun} ${named(needs)} to succeed` };
}

function waitsForRuns(state: EngineState, run: RunRecord): OwnVerdict {
  const open = run.dependsOn.filter((runId) => state.dependents.get(runId)?.has(run));
  const noun = open.length === 1 ? 'run' : 'runs';
  return { verdict: 'BLOCKED_BY', summary: `waits for ${noun} ${named(open)} to succeed` };
}

function heldByKey(state: EngineState, step: StepRecord): OwnVerdict {
  const { run } = step;
  if (run.concurrency === null) return { verdict: 'HELD', summary: 'held' };
  const { key, limit } = run.concurrency;
  const record = concurrencyOf(state, run);
  const ahead = record.held.countBefore(step);
  const before = ahead === 0 ? 'it is the first to go' : `${ahead} held steps go before it`;
  return {
    verdict: 'HELD',
    summary: `held by concurrency key "${key}": ${record.live} of ${limit} runs are live, and ${before}`,
  };
}

function followsEqual({ follows }: RunRecord): OwnVerdict {
  const leader = follows?.record.leader;
  const summary = `held by equal run "${leader?.runId ?? ''}", which is ${leader?.state ?? 'unknown'}`;
  return { verdict: 'HELD', summary };
}

const MS_PER_SECOND = 1_000;

function backingOff({ readyMs, failures, definition }: StepRecord, nowMs: number): OwnVerdict {
  const leftMs = Math.max(0, (readyMs ?? nowMs) - nowMs);
  const left = `${(leftMs / MS_PER_SECOND).toFixed(1)} s`;
  const times = `failed ${failures} of at most ${definition.retry.attemptsMax} times`;
  return { verdict: 'BACKING_OFF', summary: `${times}; the next attempt is in ${left}` };
}

/** Only a HARD pin makes a step wait for one worker; away is one without a stream. */
export function isStickyWorkerAway(state: EngineState, { pin }: Demand): boolean {
  if (!pin?.hard) return false;
  const worker = state.workers.get(pin.workerId);
  return worker === undefined || worker.connection === null;
}

function stickyWorkerAway(state: EngineState, step: StepRecord): OwnVerdict | null {
  const { pin } = step.demand.spec;
  if (pin === null || !isStickyWorkerAway(state, step.demand.spec)) return null;
  const what = state.workers.has(pin.workerId) ? 'is not connected' : 'does not exist any more';
  return {
    verdict: 'STICKY_WORKER_AWAY',
    summary: `the run is pinned (HARD) to "${pin.workerName}", which ${what}`,
  };
}

function aheadOf(step: StepRecord): number {
  return step.queued ? step.demand.queue.countBefore(step) : 0;
}

function aheadInNamespace(state: EngineState, step: StepRecord): number {
  if (!step.queued) return 0;
  let ahead = 0;
  for (const { spec, queue } of state.demands.values()) {
    if (spec.namespace === step.run.namespace.name) ahead += queue.countBefore(step);
  }
  return ahead;
}

/** Why it is where it is, as recorded when it was given there; what of the wait still runs is as of now. */
function explainPlaced(nowMs: number, step: StepRecord, { why, worker }: AssignmentRecord): Explanation {
  const recorded = why ?? placedExplanation([], 0, nowMs);
  const given = why?.summary ?? `given to "${worker.name}"`;
  return {
    ...recorded,
    summary: step.state === 'ASSIGNED' ? `${given}; it has not accepted yet` : given,
    scheduleDeadlineMs: deadlineOf(step),
    asOfMs: nowMs,
  };
}

/** null: its schedule clock does not run. */
function deadlineOf(step: StepRecord): number | null {
  return step.state === 'PENDING' || step.state === 'ASSIGNED' ? step.scheduleDeadlineMs : null;
}

/** The steps of a run in memory, ended ones too. */
export function explainRun(state: EngineState, command: CommandOf<'explain_run'>): ResultOf<'explain_run'> | Refusal {
  const run = state.runs.get(command.runId);
  if (run === undefined || run.namespace.name !== command.namespace) {
    return refuse('RUN_NOT_FOUND', `run_id "${command.runId}" does not exist in namespace "${command.namespace}"`, {
      run_id: command.runId,
    });
  }
  return run.steps.map(({ definition, state: stepState }) => ({ name: definition.name, ended: stepEnded(stepState) }));
}

/** What a step is to be explained by; null: it has ended, and the store tells. */
export function explainStep(
  state: EngineState,
  turn: Turn,
  command: CommandOf<'explain_step'>,
): ResultOf<'explain_step'> {
  const step = stepNamed(state, command.runId, command.stepName);
  if (step === null || stepEnded(step.state)) return null;
  if (step.assignment !== null) {
    const placed = explainPlaced(turn.nowMs, step, step.assignment);
    return { state: step.state, placed, isRecorded: step.assignment.why !== null };
  }
  // A blocked step's own demand may be from before the run was edited or pinned.
  const demand = step.queued ? step.demand : demandOf(state, step.run, step.definition);
  return {
    state: step.state,
    standing: standingOf(state, turn.nowMs, step),
    demand: demand.spec,
    // What it returned itself makes it differ from others that ask for the same.
    sharedKey: step.exclusions === null ? demand.key : null,
  };
}

/** Characters of one value of a report: lists of tags and actions can be long. */
const SHOWN_VALUE_CHARACTERS_MAX = 256;

/** How the step sees the next workers, in the order of registration. */
export function explainSlice(
  state: EngineState,
  turn: Turn,
  command: CommandOf<'explain_slice'>,
): ResultOf<'explain_slice'> {
  const { demand, after, limit } = command;
  const look = lookOf(state, demand, stepNamed(state, command.runId, command.stepName), turn.nowMs);
  const reports: SeenReport[] = [];
  for (const worker of state.workers.values()) {
    if (worker.workerNumber <= after || worker.namespace !== demand.namespace) continue;
    if (reports.length === limit) return { reports, next: reports.at(-1)?.workerNumber ?? null };
    reports.push(seenReport(look(worker)));
  }
  return { reports, next: null };
}

function seenReport(seen: SeenWorker): SeenReport {
  const report = shortReport(reportOf(seen), SHOWN_VALUE_CHARACTERS_MAX);
  return { ...report, distance: seen.distance, workerNumber: seen.workerNumber };
}

function stepNamed(state: EngineState, runId: string, stepName: string): StepRecord | null {
  return state.runs.get(runId)?.steps.find(({ definition }) => definition.name === stepName) ?? null;
}
