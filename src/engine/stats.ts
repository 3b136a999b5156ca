/** Counts for whoever watches the work: per action, of one workflow or of a namespace. */
import type { Priority } from '../domain/priority.ts';
import { type Refusal, refuse } from '../domain/refusal.ts';
import { compareText } from '../domain/text.ts';
import type { CommandOf } from './commands.ts';
import { perSecond } from './rates.ts';
import { type EngineState, nameKey, type StepRecord } from './state.ts';
import type { StepTotals } from './totals.ts';
import type { Turn } from './turn.ts';
import { unknownNamespace } from './workers.ts';

export interface ActionStats {
  readonly action: string;
  blocked: number;
  pending: number;
  running: number;
  succeeded: number;
  failed: number;
  completedPerSecond: number;
  workersConnected: number;
  slotsFree: number;
  /** null: none is pending. */
  oldestPendingMs: number | null;
}

export interface Stats {
  /** Ordered by name. */
  readonly actions: readonly ActionStats[];
  readonly runsTotal: number;
  readonly runsEnded: number;
  /** null: unknown. */
  readonly timeLeftMs: number | null;
}

export function readStats(state: EngineState, turn: Turn, command: CommandOf<'read_stats'>): Stats | Refusal {
  const { namespace, workflow } = command;
  if (!state.namespaces.has(namespace)) return unknownNamespace(namespace);
  const known = workflow === '' ? undefined : state.workflows.get(nameKey(namespace, workflow));
  if (workflow !== '' && known === undefined) {
    return refuse('WORKFLOW_NOT_FOUND', `workflow "${workflow}" does not exist in namespace "${namespace}"`, {
      workflow,
    });
  }
  const actions = new Map<string, ActionStats>();
  for (const { action } of known?.latest.steps ?? []) statsOf(actions, action);
  for (const totals of state.stepTotals.values()) {
    if (totals.namespace !== namespace || (workflow !== '' && totals.workflow !== workflow)) continue;
    addTotals(statsOf(actions, totals.action), totals, state, turn.nowMs);
  }
  addWorkers(state, namespace, actions, workflow === '');
  for (const stats of actions.values()) {
    if (stats.pending > 0) stats.oldestPendingMs = oldestPendingMs(state, turn, command, stats.action);
  }
  const sorted = [...actions.values()].sort((a, b) => compareText(a.action, b.action));
  return { actions: sorted, ...countRuns(state, command), timeLeftMs: timeLeftMs(sorted) };
}

function statsOf(actions: Map<string, ActionStats>, action: string): ActionStats {
  let stats = actions.get(action);
  if (stats === undefined) {
    const counts = { blocked: 0, pending: 0, running: 0, succeeded: 0, failed: 0 };
    stats = { action, ...counts, completedPerSecond: 0, workersConnected: 0, slotsFree: 0, oldestPendingMs: null };
    actions.set(action, stats);
  }
  return stats;
}

function addTotals(stats: ActionStats, totals: StepTotals, state: EngineState, nowMs: number): void {
  stats.blocked += totals.blocked;
  stats.pending += totals.pending;
  stats.running += totals.running;
  stats.succeeded += totals.succeeded;
  stats.failed += totals.failed;
  stats.completedPerSecond += perSecond(totals.successes, nowMs, state.startMs);
}

/** `all`: actions without a step that is kept are listed too, when somebody serves them. */
function addWorkers(state: EngineState, namespace: string, actions: Map<string, ActionStats>, all: boolean): void {
  for (const worker of state.workersByConnection.values()) {
    if (worker.namespace !== namespace) continue;
    const free = worker.draining ? 0 : Math.max(0, worker.slots - worker.slotsUsed);
    for (const action of worker.actions) {
      const stats = all ? statsOf(actions, action) : actions.get(action);
      if (stats === undefined) continue;
      stats.workersConnected += 1;
      stats.slotsFree += free;
    }
  }
}

/** The queue is in the order of first readiness; what was returned or tried again may have become ready after others. */
const LOOKED_AT_MAX = 16;
const PRIORITIES: readonly Priority[] = [1, 2, 3, 4];

function oldestPendingMs(
  state: EngineState,
  turn: Turn,
  { namespace, workflow }: CommandOf<'read_stats'>,
  action: string,
): number | null {
  let oldestMs: number | null = null;
  for (const { spec, queue } of state.demands.values()) {
    if (spec.namespace !== namespace || spec.action !== action) continue;
    for (const priority of PRIORITIES) {
      for (const step of firstOf(queue.from({ priority, readySequence: 0 }), priority, workflow)) {
        const ageMs = turn.nowMs - (step.readyMs ?? turn.nowMs);
        oldestMs = Math.max(oldestMs ?? 0, ageMs);
      }
    }
  }
  return oldestMs;
}

function* firstOf(steps: Iterable<StepRecord>, priority: Priority, workflow: string): Iterable<StepRecord> {
  let left = LOOKED_AT_MAX;
  for (const step of steps) {
    if (step.priority !== priority || left === 0) return;
    if (workflow !== '' && step.run.workflow?.name !== workflow) continue;
    left -= 1;
    yield step;
  }
}

function countRuns(state: EngineState, { namespace, workflow }: CommandOf<'read_stats'>) {
  let live = 0;
  let ended = 0;
  for (const totals of state.runTotals.values()) {
    if (totals.namespace !== namespace || (workflow !== '' && totals.workflow !== workflow)) continue;
    live += totals.live;
    ended += totals.ended;
  }
  return { runsTotal: live + ended, runsEnded: ended };
}

function timeLeftMs(actions: readonly ActionStats[]): number | null {
  let left = 0;
  let rate = 0;
  for (const { blocked, pending, running, completedPerSecond } of actions) {
    left += blocked + pending + running;
    rate += completedPerSecond;
  }
  if (left === 0) return 0;
  return rate === 0 ? null : (left * 1_000) / rate;
}
