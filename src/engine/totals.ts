/** How many steps and runs there are of each kind, kept up to date with every change, so that nobody has to count. */
import { stepEnded } from '../domain/step.ts';
import { addToRate, createRate, type Rate } from './rates.ts';
import { type EngineState, nameKey, type RunRecord, type StepRecord } from './state.ts';
import type { Turn } from './turn.ts';

/** Steps of one action in the runs of one workflow. Ended ones are those of runs that are still kept. */
export interface StepTotals {
  readonly namespace: string;
  /** Empty: runs without one. */
  readonly workflow: string;
  readonly action: string;
  blocked: number;
  pending: number;
  /** ASSIGNED or RUNNING. */
  running: number;
  succeeded: number;
  /** Ended otherwise. */
  failed: number;
  readonly successes: Rate;
}

/** Runs of one workflow that are kept. */
export interface RunTotals {
  readonly namespace: string;
  /** Empty: runs without one. */
  readonly workflow: string;
  live: number;
  ended: number;
}

/** Completions under one nickname. */
export interface LeaderboardLine {
  readonly namespace: string;
  readonly nickname: string;
  completedCount: number;
}

type Count = 'blocked' | 'pending' | 'running' | 'succeeded' | 'failed';

const COUNTS: Readonly<Record<StepRecord['state'], Count>> = {
  BLOCKED: 'blocked',
  PENDING: 'pending',
  ASSIGNED: 'running',
  RUNNING: 'running',
  SUCCEEDED: 'succeeded',
  FAILED: 'failed',
  CRASHED: 'failed',
  TIMED_OUT: 'failed',
  CANCELLED: 'failed',
  SKIPPED: 'failed',
};

function totalsKey(namespace: string, workflow: string, action: string): string {
  return nameKey(namespace, nameKey(workflow, action));
}

export function stepTotalsOf(state: EngineState, namespace: string, workflow: string, action: string): StepTotals {
  const key = totalsKey(namespace, workflow, action);
  let totals = state.stepTotals.get(key);
  if (totals === undefined) {
    const counts = { blocked: 0, pending: 0, running: 0, succeeded: 0, failed: 0 };
    totals = { namespace, workflow, action, ...counts, successes: createRate() };
    state.stepTotals.set(key, totals);
  }
  return totals;
}

export function runTotalsOf(state: EngineState, namespace: string, workflow: string): RunTotals {
  const key = nameKey(namespace, workflow);
  let totals = state.runTotals.get(key);
  if (totals === undefined) {
    totals = { namespace, workflow, live: 0, ended: 0 };
    state.runTotals.set(key, totals);
  }
  return totals;
}

/** The step has just been made, BLOCKED as all are. */
export function countNewStep({ totals, state }: StepRecord): void {
  totals[COUNTS[state]] += 1;
}

export function countMove({ totals }: StepRecord, from: StepRecord['state'], to: StepRecord['state']): void {
  totals[COUNTS[from]] -= 1;
  totals[COUNTS[to]] += 1;
}

/** The step was read from the store: what has ended was counted when it did. */
export function countRestored({ totals }: StepRecord, state: StepRecord['state']): void {
  totals.blocked -= 1;
  if (!stepEnded(state)) totals[COUNTS[state]] += 1;
}

/** A step ended, or an ended one goes on: the stored numbers change. */
export function endedStepsChanged(turn: Turn, step: StepRecord): void {
  turn.changes.push({ table: 'step_totals', totals: step.totals });
  if (step.state === 'SUCCEEDED') addToRate(step.totals.successes, turn.nowMs);
}

function totalsOfRun(state: EngineState, run: RunRecord): RunTotals {
  return runTotalsOf(state, run.namespace.name, run.workflow?.name ?? '');
}

export function countLiveRun(state: EngineState, run: RunRecord): void {
  totalsOfRun(state, run).live += 1;
}

export function countEndedRun(state: EngineState, turn: Turn, run: RunRecord): void {
  const totals = totalsOfRun(state, run);
  totals.live -= 1;
  totals.ended += 1;
  turn.changes.push({ table: 'run_totals', totals });
}

export function countReopenedRun(state: EngineState, turn: Turn, run: RunRecord): void {
  const totals = totalsOfRun(state, run);
  totals.live += 1;
  totals.ended -= 1;
  turn.changes.push({ table: 'run_totals', totals });
}

/** One more accepted completion under the nickname; never taken back. */
export function countOnLeaderboard(state: EngineState, turn: Turn, namespace: string, nickname: string): void {
  const key = nameKey(namespace, nickname);
  const line = state.leaderboard.get(key) ?? { namespace, nickname, completedCount: 0 };
  line.completedCount += 1;
  state.leaderboard.set(key, line);
  turn.changes.push({ table: 'leaderboard', line });
}
