/** What is kept for a time only: ended runs as long as their namespace says, default workers that nobody saw any more. */
import { runEnded } from '../domain/run.ts';
import { stepEnded } from '../domain/step.ts';
import type { CommandOf, ExpiredRun, ResultOf } from './commands.ts';
import { executorsInUse } from './equal_records.ts';
import { armForget, forgetRun } from './forgetting.ts';
import type { EngineState, WorkerRecord } from './state.ts';
import { runTotalsOf, stepTotalsOf } from './totals.ts';
import type { Turn } from './turn.ts';
import { removeWorker } from './workers.ts';

/** What was read of a run before it was deleted has long been used by then. */
const RETIRED_REMEMBERED_MS = 60_000;

export function readExpiry(state: EngineState): ResultOf<'read_expiry'> {
  const ended = new Map<string, number>();
  for (const totals of state.runTotals.values())
    ended.set(totals.namespace, (ended.get(totals.namespace) ?? 0) + totals.ended);
  return [...state.namespaces.values()]
    .filter(({ name, retentionMs }) => retentionMs > 0 && (ended.get(name) ?? 0) > 0)
    .map(({ name, retentionMs }) => ({ namespace: name, retentionMs }));
}

/** The runs were read a moment ago: what was retried or changed since stays. */
export function retireRuns(state: EngineState, turn: Turn, command: CommandOf<'retire_runs'>): ResultOf<'retire_runs'> {
  // What the store showed is a moment old: an equal run may be read through one of them by now.
  const inUse = executorsInUse(state);
  let retired = 0;
  for (const run of command.runs) {
    if (inUse.has(run.runId) || !mayRetire(state, turn, run)) continue;
    retireRun(state, turn, run);
    retired += 1;
  }
  return { retired };
}

function mayRetire(state: EngineState, turn: Turn, { runId, namespace, endMs }: ExpiredRun): boolean {
  const retentionMs = state.namespaces.get(namespace)?.retentionMs ?? 0;
  if (retentionMs === 0 || state.retiredRuns.has(runId)) return false;
  const held = state.runs.get(runId);
  if (held !== undefined && !runEnded(held.state)) return false;
  return (held?.endMs ?? endMs) + retentionMs <= turn.nowMs;
}

function retireRun(state: EngineState, turn: Turn, expired: ExpiredRun): void {
  const { runId, namespace, workflow } = expired;
  const held = state.runs.get(runId);
  if (held !== undefined) {
    state.endedRuns.delete(runId);
    forgetRun(state, held);
  }
  const untilMs = turn.nowMs + RETIRED_REMEMBERED_MS;
  state.retiredRuns.set(runId, untilMs);
  armForget(state, untilMs);
  turn.changes.push({ table: 'retired', runId });
  const runTotals = runTotalsOf(state, namespace, workflow);
  runTotals.ended -= 1;
  turn.changes.push({ table: 'run_totals', totals: runTotals });
  for (const { action, state: stepState } of expired.steps) {
    if (!stepEnded(stepState)) continue;
    const totals = stepTotalsOf(state, namespace, workflow, action);
    if (stepState === 'SUCCEEDED') totals.succeeded -= 1;
    else totals.failed -= 1;
    turn.changes.push({ table: 'step_totals', totals });
  }
}

/** Only default workers: a registered one stays until somebody deletes it. */
export function expireWorkers(state: EngineState, turn: Turn): ResultOf<'expire_workers'> {
  let expired = 0;
  for (const worker of state.workers.values()) {
    // Its removal would end what waits for it alone.
    if (state.pinnedRuns.has(worker.workerId)) continue;
    if (!isForgotten(worker, turn.nowMs - state.times.defaultWorkerKeptMs)) continue;
    removeWorker(state, turn, worker);
    expired += 1;
  }
  return { expired };
}

function isForgotten(worker: WorkerRecord, beforeMs: number): boolean {
  if (!worker.defaultWorker || worker.connection !== null || worker.sessionHash !== null) return false;
  return worker.assignments.size === 0 && (worker.lastSeenMs ?? worker.registerMs) < beforeMs;
}
