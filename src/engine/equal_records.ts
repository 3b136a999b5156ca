/** Who leads and who follows among equal runs, and which successes are remembered. What follows from it is in `equal.ts`. */
import { type EqualKey, equalKeyText, equalTarget } from '../domain/equal.ts';
import { PRIORITY_DEFAULT } from '../domain/priority.ts';
import { runEnded } from '../domain/run.ts';
import type { StoredSuccess } from './commands.ts';
import { createSortedQueue } from './sorted_queue.ts';
import type { EngineState, EqualRecord, FollowerRecord, RunRecord, WorkflowRecord } from './state.ts';

/** What equal runs of this one are found by; null: it asked for none (`contentHash` empty). */
export function equalKeyOf(contentHash: string, workflow: WorkflowRecord | null, action: string): EqualKey | null {
  if (contentHash === '') return null;
  return { target: equalTarget(workflow?.name ?? null, action), version: workflow?.version ?? 0, contentHash };
}

export function keyOf(run: RunRecord, equal: EqualKey): string {
  return equalKeyText(run.namespace.name, equal);
}

export function recordOf(state: EngineState, run: RunRecord, equal: EqualKey): EqualRecord {
  const key = keyOf(run, equal);
  let record = state.equals.get(key);
  if (record === undefined) {
    const { namespace } = run;
    const queues = { adopters: createSortedQueue<FollowerRecord>(), held: createSortedQueue<FollowerRecord>() };
    record = { key, equal, namespace, leader: null, successRunId: null, ...queues, awaiting: new Set() };
    state.equals.set(key, record);
  }
  return record;
}

/** Nobody follows without a leader, so that those need not be looked at. */
export function dropEmpty(state: EngineState, { key, leader, successRunId, awaiting }: EqualRecord): void {
  if (leader === null && successRunId === null && awaiting.size === 0) state.equals.delete(key);
}

/** Another version's is none, and neither is one that was deleted since the store was read. */
export function successAmong(state: EngineState, equal: EqualKey, stored: StoredSuccess | null): string | null {
  if (stored === null || stored.version !== equal.version || state.retiredRuns.has(stored.runId)) return null;
  return stored.runId;
}

/** An adopter is told from one that is held by what it names as its executor. */
export function addFollower(record: EqualRecord, run: RunRecord, readySequence: number): void {
  // In order of readiness alone: what is urgent is a matter of the queue, where the leader stands for all of them.
  const follower: FollowerRecord = { run, record, priority: PRIORITY_DEFAULT, readySequence };
  run.follows = follower;
  if (run.executedBy === null) record.held.add(follower);
  else record.adopters.add(follower);
}

export function removeFollower({ run, record }: FollowerRecord): void {
  const follower = run.follows;
  run.follows = null;
  if (follower !== null && !record.adopters.remove(follower)) record.held.remove(follower);
}

/** It depends on runs that have not ended, and is judged by its equals after them. */
export function awaitEquals(state: EngineState, run: RunRecord, stored: StoredSuccess | null): void {
  if (run.equal === null) return;
  const record = recordOf(state, run, run.equal);
  record.awaiting.add(run);
  // By then the success may have left memory, and nobody asks the store a second time.
  record.successRunId ??= successAmong(state, run.equal, stored);
}

/** It will not be judged: it was, or it has ended. */
export function stopAwaiting(state: EngineState, run: RunRecord): void {
  if (run.equal === null) return;
  const record = state.equals.get(keyOf(run, run.equal));
  if (record === undefined || !record.awaiting.delete(run)) return;
  const { successRunId } = record;
  if (record.awaiting.size === 0 && successRunId !== null && !state.runs.has(successRunId)) record.successRunId = null;
  dropEmpty(state, record);
}

/** An ended run leaves memory; the store knows what it came to. */
export function forgetSuccess(state: EngineState, run: RunRecord): void {
  if (run.equal === null) return;
  const record = state.equals.get(keyOf(run, run.equal));
  if (record === undefined || record.successRunId !== run.runId || record.awaiting.size > 0) return;
  record.successRunId = null;
  dropEmpty(state, record);
}

/** Runs that have ended and that others are read through, or are to be, as far as the store may not show it yet. */
export function executorsInUse(state: EngineState): ReadonlySet<string> {
  const used = new Set<string>();
  for (const runId of state.endedRuns.keys()) {
    const executor = state.runs.get(runId)?.executedBy ?? null;
    if (executor !== null) used.add(executor);
  }
  for (const { awaiting, successRunId } of state.equals.values()) {
    if (awaiting.size > 0 && successRunId !== null) used.add(successRunId);
  }
  return used;
}

/** After a restart: who leads and who follows is read off the runs that have not ended. */
export function restoreEqual(state: EngineState, run: RunRecord): void {
  if (run.equal === null || runEnded(run.state)) return;
  const record = recordOf(state, run, run.equal);
  const held = run.steps.find((step) => step.blockedOn === 'EQUAL');
  if (run.openDependencies > 0) record.awaiting.add(run);
  else if (held === undefined) record.leader = run;
  else addFollower(record, run, held.readySequence);
}

/** A success that the store has, for runs that are judged later. */
export function restoreSuccess(state: EngineState, namespace: string, equal: EqualKey, runId: string): void {
  const record = state.equals.get(equalKeyText(namespace, equal));
  if (record !== undefined && record.awaiting.size > 0) record.successRunId = runId;
}

/** The runs that follow this one, in order; none when it follows itself. */
export function followersOf(state: EngineState, run: RunRecord): RunRecord[] {
  const record = run.equal === null ? undefined : state.equals.get(keyOf(run, run.equal));
  if (record === undefined || record.leader !== run) return [];
  return [...record.held, ...record.adopters].map((follower) => follower.run);
}
