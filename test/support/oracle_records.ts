/** What the naive plane remembers: plain records, and what follows from them alone. Nothing here is kept twice. */
import type { RunOrder, StepOrder, Value } from './engine_wishes.ts';

export type OracleState =
  | 'BLOCKED'
  | 'PENDING'
  | 'ASSIGNED'
  | 'RUNNING'
  | 'SUCCEEDED'
  | 'FAILED'
  | 'CRASHED'
  | 'TIMED_OUT'
  | 'CANCELLED'
  | 'SKIPPED';

/** An assignment of a run, in the order they were made: open, accepted at some time, or ended unaccepted. */
interface OracleAssignment {
  readonly worker: OracleWorker;
  is: 'OPEN' | 'ACCEPTED' | 'VOID';
}

export interface OracleRun {
  readonly order: RunOrder;
  readonly steps: OracleStep[];
  priority: number;
  runsOn: readonly string[];
  /** Where it was pinned when it was submitted, or retried. */
  given: OracleWorker | null;
  /** Since it was submitted, or retried. */
  assignments: OracleAssignment[];
  cancelled: boolean;
  readonly dependsOn: readonly OracleRun[];
  /** Those of them that have not succeeded yet. */
  readonly waitsFor: Set<OracleRun>;
  /** The order in which runs began to wait for others. */
  waitsSince: number;
  /** Ended by a run that it depended on. */
  doomed: boolean;
  ended: boolean;
}

export interface OracleStep {
  readonly run: OracleRun;
  readonly order: StepOrder;
  state: OracleState;
  /** It is BLOCKED for want of a place of its run's concurrency key. */
  held: boolean;
  /** Its place in the queue, given when it first became ready; 0: it never was. */
  sequence: number;
  /** The order in which steps ended. */
  endSequence: number;
  holder: OracleWorker | null;
  /** The record of the assignment that the holder has. */
  given: OracleAssignment | null;
  /** Among all assignments of the plane; 0: none yet. */
  assignedAs: number;
  /** Which of the step's assignments this is; the n-th is called `<run>/<step>#n`. */
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
  deleted: boolean;
  draining: boolean;
  missedUntil: number;
  graceAt: number;
  /** Grows with every change that gives it another chance. */
  condition: number;
  lastAssigned: number;
  /** Places kept for handlers that may still run. */
  readonly reserved: Set<string>;
}

export const NEVER = Number.POSITIVE_INFINITY;
const ENDED: readonly OracleState[] = ['SUCCEEDED', 'FAILED', 'CRASHED', 'TIMED_OUT', 'CANCELLED', 'SKIPPED'];

export const NO_DEADLINES = {
  scheduleAt: NEVER,
  backoffAt: NEVER,
  acceptAt: NEVER,
  executionAt: NEVER,
  cancelAt: NEVER,
  graceAt: NEVER,
};

export const UNTRIED = { endSequence: 0, failures: 0, losses: 0, held: false, cancelled: false };

export function addressOf(step: OracleStep): string {
  return `${step.run.order.id}/${step.order.name}`;
}

export function nameOf(step: OracleStep): string {
  return `${addressOf(step)}#${step.assignment}`;
}

export function hasEnded(step: OracleStep): boolean {
  return ENDED.includes(step.state);
}

/** Its own and the run's. */
export function runsOnOf({ run, order }: OracleStep): readonly string[] {
  return [...run.runsOn, ...order.runsOn];
}

export function wishesOf({ run, order }: OracleStep) {
  return [...run.order.wishes, ...order.wishes];
}

/** The worker of the last assignment that is open or was accepted; without any the one that was given. */
export function pinOf(run: OracleRun): OracleWorker | null {
  if (run.order.sticky === 'NONE') return null;
  return run.assignments.findLast(({ is }) => is !== 'VOID')?.worker ?? run.given;
}

/** It counts for its concurrency key: from its first assignment on, one that ended unaccepted left out. */
export function isLive(run: OracleRun): boolean {
  return !run.ended && run.assignments.some(({ is }) => is !== 'VOID');
}

export function runStateOf(run: OracleRun): OracleState {
  if (!run.ended) return run.assignments.some(({ is }) => is === 'ACCEPTED') ? 'RUNNING' : 'PENDING';
  if (run.cancelled) return 'CANCELLED';
  const bad = run.steps.filter(({ state }) => state !== 'SUCCEEDED' && state !== 'SKIPPED');
  const [first] = bad.sort((a, b) => a.endSequence - b.endSequence);
  return first?.state ?? (run.doomed ? 'FAILED' : 'SUCCEEDED');
}
