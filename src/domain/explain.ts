/** Why a step waits, or why it is where it is: found with the functions that place steps. */
import type { Demand } from './demand.ts';
import { ANY_VALUE, type ClauseName, type FailedClause } from './feasibility.ts';
import { compareRanks, type Rank } from './rank.ts';
import type { StepState } from './step.ts';
import { utf8Bytes } from './text.ts';
import { compareStandings, standingOf, type WaitingVerdict } from './verdict.ts';

export type Verdict =
  | 'ASSIGNED'
  | 'ENDED'
  | 'BLOCKED_BY'
  | 'HELD'
  | 'BACKING_OFF'
  | 'STICKY_WORKER_AWAY'
  | 'NO_SUCH_ACTION'
  | 'UNSATISFIABLE_NOW'
  | 'DRAINING'
  | 'NOT_READY'
  | 'BUSY';

/** One worker, seen from one step. */
export interface WorkerReport {
  readonly workerId: string;
  readonly workerName: string;
  /** Every clause it fails; empty: it may take the step. */
  readonly failed: readonly FailedClause[];
  /** Where it stands among those that may; null: it may not. */
  readonly rank: Rank | null;
}

interface ClauseCount {
  readonly clause: ClauseName;
  readonly workersFailing: number;
}

export interface Explanation {
  readonly verdict: Verdict;
  /** One sentence for a person. */
  readonly summary: string;
  readonly counts: readonly ClauseCount[];
  /** Nearest miss first; of a placed step the winner, then the runners-up. */
  readonly workers: readonly WorkerReport[];
  readonly workersTotal: number;
  readonly aheadInDemand: number;
  readonly aheadInNamespace: number;
  /** null: no schedule timeout runs. */
  readonly scheduleDeadlineMs: number | null;
  readonly asOfMs: number;
}

interface RankedOne {
  readonly worker: { readonly workerId: string; readonly name: string };
  readonly rank: Rank;
}

/**
 * Why the winner got the step. `ranked` is the winner and then the runners-up, as many as are to be recorded;
 * `fitting` is how many could have taken it.
 */
export function placedExplanation(ranked: readonly RankedOne[], fitting: number, nowMs: number): Explanation {
  return {
    verdict: 'ASSIGNED',
    summary: placedSummary(ranked, fitting),
    counts: [],
    workers: ranked.map(({ worker, rank }) => ({
      workerId: worker.workerId,
      workerName: worker.name,
      failed: [],
      rank,
    })),
    workersTotal: fitting,
    aheadInDemand: 0,
    aheadInNamespace: 0,
    scheduleDeadlineMs: null,
    asOfMs: nowMs,
  };
}

function placedSummary([winner, second]: readonly RankedOne[], fitting: number): string {
  if (winner === undefined) return 'given to a worker';
  const given = `given to "${winner.worker.name}"`;
  if (second === undefined || fitting === 1) return `${given}, the only worker that could take it`;
  return `${given}, before "${second.worker.name}" and ${fitting - 1} in all: ${decidingReason(winner.rank, second.rank)}`;
}

/** The first criterion of the order in which the two differ. */
function decidingReason(winner: Rank, second: Rank): string {
  if (winner.unbiased !== second.unbiased) return 'it did not report the input as invalid';
  if (winner.sticky !== second.sticky) return 'the run is pinned to it';
  if (winner.deviceAskedFor !== second.deviceAskedFor) return 'it has the device asked for';
  if (winner.highestWeight !== second.highestWeight)
    return `its highest weight is ${winner.highestWeight}, not ${second.highestWeight}`;
  if (winner.weightSum !== second.weightSum)
    return `its weights sum up to ${winner.weightSum}, not ${second.weightSum}`;
  if (winner.tagsCover !== second.tagsCover) return 'its tags cover runs_on';
  if (winner.slotsShareUsed !== second.slotsShareUsed) return 'it has the smaller share of its slots in use';
  if (winner.lastAssignSequence !== second.lastAssignSequence) return 'its last assignment is longer ago';
  return 'it was registered earlier';
}

interface EndedStep {
  readonly state: StepState;
  readonly failure: { readonly message: string } | null;
  /** Recorded with its end or with its last assignment; null: neither. */
  readonly recorded: Explanation | null;
}

/** Of a step that is over: what was recorded, under the verdict that it has ended. */
export function endedExplanation({ state, failure, recorded }: EndedStep, nowMs: number): Explanation {
  const told = [failure?.message ?? '', recorded?.summary ?? ''].filter((part) => part !== '');
  return {
    ...(recorded ?? NOTHING_RECORDED),
    verdict: 'ENDED',
    summary: [`ended ${state}`, ...told.map((part) => shortened(part, ENDED_PART_CHARACTERS_MAX))].join(': '),
    aheadInDemand: 0,
    aheadInNamespace: 0,
    scheduleDeadlineMs: null,
    asOfMs: recorded?.asOfMs ?? nowMs,
  };
}

/** Of an error's message, which a handler may have written. */
const ENDED_PART_CHARACTERS_MAX = 500;

const NOTHING_RECORDED = { counts: [], workers: [], workersTotal: 0 };

/** One worker looked at: what it fails need not be in words yet. */
export interface Seen {
  readonly failed: readonly { readonly clause: ClauseName; readonly busy?: boolean }[];
  /** Of `failed`; kept, as it is compared often. */
  readonly distance: number;
  readonly rank: Rank | null;
  /** Order of registration. */
  readonly workerNumber: number;
}

/** A report with what is needed to put it in order. */
export type SeenReport = WorkerReport & Seen;

/** Larger than all that one worker's clauses can weigh together, so that their number decides first. */
const PER_CLAUSE = 10_000;

/** How far a clause is from holding: what passes by itself, then what somebody can change, the easier the nearer. */
const WEIGHTS: Readonly<Record<ClauseName, number>> = {
  SLOT: 0,
  NOT_READY: 0,
  DRAINING: 0,
  RETURNED_BEFORE: 0,
  STICKY: 1,
  LABEL: 2,
  DEVICE: 2,
  // Heavier than as many labels as a step and its run can ask for.
  RUNS_ON: 1_000,
  ACTION: 2_000,
};

/** 0: the worker may take the step. Fewer clauses are nearer, then those that pass more easily. */
export function distanceOf(failed: Seen['failed']): number {
  let distance = 0;
  for (const { clause } of failed) distance += PER_CLAUSE + WEIGHTS[clause];
  return distance;
}

/** Negative when `a` is nearer: those that fit by rank, then the nearest miss, then the one registered earlier. */
export function compareSeen(a: Seen, b: Seen): number {
  const apart = a.distance - b.distance;
  if (apart !== 0) return apart;
  if (a.rank !== null && b.rank !== null) return compareRanks(a.rank, b.rank);
  return a.workerNumber - b.workerNumber;
}

/** Puts `one` into the list of the `max` nearest, if it belongs there. */
export function keepNearest<T extends Seen>(nearest: T[], one: T, max: number): void {
  const last = nearest.at(-1);
  if (nearest.length >= max && last !== undefined && compareSeen(last, one) <= 0) return;
  if (nearest.length >= max) nearest.pop();
  let place = nearest.length;
  while (place > 0 && compareSeen(one, nearest[place - 1] as T) < 0) place -= 1;
  nearest.splice(place, 0, one);
}

/** What a look at the workers of the namespace came to, so far. */
export interface Survey<T extends Seen> {
  workers: number;
  verdict: WaitingVerdict;
  /** Workers the verdict rests on: those whose own standing it is. */
  standing: number;
  /** The one to name: the nearest of those, and of a run with a HARD pin the pinned one. */
  best: T | null;
  readonly failing: Map<ClauseName, number>;
}

export function createSurvey<T extends Seen>(): Survey<T> {
  return { workers: 0, verdict: 'NO_SUCH_ACTION', standing: 0, best: null, failing: new Map() };
}

/** Adds one worker; the order does not matter. Its failed clauses of one kind stand together. */
export function survey<T extends Seen>(found: Survey<T>, one: T): void {
  found.workers += 1;
  let before: ClauseName | null = null;
  for (const { clause } of one.failed) {
    // One that fails several labels counts once.
    if (clause !== before) found.failing.set(clause, (found.failing.get(clause) ?? 0) + 1);
    before = clause;
  }
  const standing = standingOf(one.failed);
  const better = compareStandings(standing, found.verdict);
  if (better > 0) {
    found.verdict = standing;
    found.standing = 0;
  }
  if (better >= 0) found.standing += 1;
  if (found.best === null || isBetter(one, standing, found.best)) found.best = one;
}

/** Of a pinned run only its own worker counts; of others the one with the better standing, then the nearer. */
function isBetter(one: Seen, standing: WaitingVerdict, best: Seen): boolean {
  const pinned = Number(isElsewhere(best)) - Number(isElsewhere(one));
  if (pinned !== 0) return pinned > 0;
  return (compareStandings(standing, standingOf(best.failed)) || compareSeen(best, one)) > 0;
}

function isElsewhere({ failed }: Seen): boolean {
  for (const { clause } of failed) if (clause === 'STICKY') return true;
  return false;
}

/** What is known of a step without looking at any worker. */
export interface Standing {
  /** null: the workers decide. */
  readonly verdict: Verdict | null;
  /** Goes with the verdict. */
  readonly summary: string;
  readonly aheadInDemand: number;
  readonly aheadInNamespace: number;
  readonly scheduleDeadlineMs: number | null;
  readonly asOfMs: number;
}

/** The explanation of a step that nobody has. `workers` is what of the reports is to be shown, `best` that of the survey. */
export function waitingExplanation(
  standing: Standing,
  demand: Demand,
  found: Omit<Survey<Seen>, 'best'>,
  best: WorkerReport | null,
  workers: readonly WorkerReport[],
): Explanation {
  return {
    verdict: standing.verdict ?? found.verdict,
    summary: standing.verdict === null ? waitingSummary(demand, found, best) : standing.summary,
    counts: countsOf(found.failing),
    workers,
    workersTotal: found.workers,
    aheadInDemand: standing.aheadInDemand,
    aheadInNamespace: standing.aheadInNamespace,
    scheduleDeadlineMs: standing.scheduleDeadlineMs,
    asOfMs: standing.asOfMs,
  };
}

/** The clause that most workers fail first. */
function countsOf(failing: ReadonlyMap<ClauseName, number>): ClauseCount[] {
  const counts = [...failing].map(([clause, workersFailing]) => ({ clause, workersFailing }));
  return counts.sort((a, b) => b.workersFailing - a.workersFailing || WEIGHTS[b.clause] - WEIGHTS[a.clause]);
}

/** What somebody would have to change, in one sentence. */
function waitingSummary(demand: Demand, found: Omit<Survey<Seen>, 'best'>, best: WorkerReport | null): string {
  const { verdict, standing, workers } = found;
  if (workers === 0) return `no worker is registered in namespace "${demand.namespace}"`;
  if (verdict === 'NO_SUCH_ACTION' || best === null) return `no registered worker lists action "${demand.action}"`;
  const problem = problemOf(best.failed);
  if (demand.pin?.hard) return `the run is pinned (HARD) to "${demand.pin.workerName}", which ${problem}`;
  if (verdict === 'UNSATISFIABLE_NOW') return unsatisfiableSummary(demand, best);
  const more = standing > 1 ? `, and ${standing - 1} more` : '';
  return `${NONE_CAN[verdict]}: "${best.workerName}" ${problem}${more}`;
}

const NONE_CAN = {
  DRAINING: 'every worker that matches is draining',
  NOT_READY: 'no worker that matches is ready',
  BUSY: 'every worker that matches and is ready is busy',
};

/** With a single condition it is plain what nobody has; with several the nearest worker tells most. */
function unsatisfiableSummary(demand: Demand, { workerName, failed }: WorkerReport): string {
  const nobody = `no worker for "${demand.action}"`;
  const [only] = failed.filter(({ clause }) => clause === 'LABEL' || clause === 'RUNS_ON');
  const conditions = demand.desired.filter(({ required }) => required).length + Math.min(demand.runsOn.length, 1);
  if (conditions > 1 || only === undefined)
    return `${nobody} meets all conditions: the nearest, "${workerName}", ${problemOf(failed)}`;
  const has = brief(only.has) || 'none';
  return `${nobody} has ${wanted(only)}: the nearest, "${workerName}", has ${has}`;
}

function wanted({ clause, key, needs }: FailedClause): string {
  if (clause === 'RUNS_ON') return `the tags ${brief(needs)}`;
  return needs === ANY_VALUE ? `a label ${key}` : `${key} ${brief(needs)}`;
}

/** Clauses, and characters of one value, that a summary spells out. */
const SUMMARY_CLAUSES_MAX = 3;
const SUMMARY_VALUE_CHARACTERS_MAX = 80;

function problemOf(failed: readonly FailedClause[]): string {
  if (failed.length === 0) return 'may take it';
  const problems = failed.slice(0, SUMMARY_CLAUSES_MAX).map(clauseProblem);
  const left = failed.length - problems.length;
  if (left > 0) problems.push(`fails ${left} more`);
  const last = problems.pop() as string;
  return problems.length === 0 ? last : `${problems.join(', ')} and ${last}`;
}

function clauseProblem({ clause, key, has, needs }: FailedClause): string {
  switch (clause) {
    case 'ACTION':
      return `does not list action "${needs}"`;
    case 'RUNS_ON':
      return `has ${has === '' ? 'no tags' : `the tags ${brief(has)}`} (needs ${brief(needs)})`;
    case 'LABEL':
      return `has ${key} ${brief(has)} (needs ${brief(needs)})`;
    case 'STICKY':
      return `is not "${needs}", which the run is pinned to`;
    case 'SLOT':
      return `has no free slot (${has})`;
    case 'DEVICE':
      return `has ${brief(has)} (needs ${brief(needs)})`;
    case 'DRAINING':
      return 'is draining';
    case 'NOT_READY':
      return `is ${has}`;
    case 'RETURNED_BEFORE':
      return has;
  }
}

function brief(text: string): string {
  return shortened(text, SUMMARY_VALUE_CHARACTERS_MAX);
}

/** At most so many characters. */
function shortened(text: string, charactersMax: number): string {
  if (text.length <= charactersMax) return text;
  const characters = [...text];
  return characters.length <= charactersMax ? text : `${characters.slice(0, charactersMax - 1).join('')}…`;
}

/** What is recorded with a timeout or an assignment. */
export const RECORDED_BYTES_MAX = 8 * 1024;
export const RECORDED_MISSES_MAX = 10;
/** The winner and three runners-up. */
export const RECORDED_RANKED_MAX = 4;
const RECORDED_VALUE_CHARACTERS_MAX = 200;
/** When the whole is too large. */
const RECORDED_VALUE_CHARACTERS_MIN = 40;

/** The explanation as it is recorded: at most so many workers, and bytes of JSON; texts give way first, then the farthest. */
export function boundedExplanation(explanation: Explanation): Explanation {
  const most = explanation.verdict === 'ASSIGNED' ? RECORDED_RANKED_MAX : RECORDED_MISSES_MAX;
  const workers = explanation.workers.slice(0, most);
  let bounded = {
    ...explanation,
    workers: workers.map((report) => shortReport(report, RECORDED_VALUE_CHARACTERS_MAX)),
  };
  if (isSmall(bounded)) return bounded;
  bounded = { ...explanation, workers: workers.map((report) => shortReport(report, RECORDED_VALUE_CHARACTERS_MIN)) };
  while (!isSmall(bounded) && bounded.workers.length > 0)
    bounded = { ...bounded, workers: bounded.workers.slice(0, -1) };
  return bounded;
}

function isSmall(explanation: Explanation): boolean {
  return utf8Bytes(JSON.stringify(explanation)) <= RECORDED_BYTES_MAX;
}

/** The report with no value longer than so many characters. */
export function shortReport(report: WorkerReport, charactersMax: number): WorkerReport {
  const failed = report.failed.map((clause) => ({
    ...clause,
    has: shortened(clause.has, charactersMax),
    needs: shortened(clause.needs, charactersMax),
  }));
  return { ...report, failed };
}
