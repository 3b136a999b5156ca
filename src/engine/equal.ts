/**
 * Equal runs: one of them executes, the others take its end for theirs. A run arrives here when nothing but its equals
 * can keep it from starting, so whatever it depends on has succeeded by then.
 */
import { type RunState, runEnded } from '../domain/run.ts';
import type { StepEvent } from '../domain/step.ts';
import type { CommandOf, StoredSuccess } from './commands.ts';
import {
  addFollower,
  dropEmpty,
  keyOf,
  recordOf,
  removeFollower,
  stopAwaiting,
  successAmong,
} from './equal_records.ts';
import type { EngineState, EqualRecord, FollowerRecord, RunRecord, StepRecord } from './state.ts';
import {
  becomeReady,
  causedBy,
  endWaitingStep,
  failureOf,
  liveSteps,
  moveStep,
  skipStep,
  startStep,
  stepHasEnded,
  takePlace,
} from './steps.ts';
import { runChanged, stepChanged, type Turn } from './turn.ts';

/** Nothing else holds the run: it starts, or it follows an equal one. `stored`: what the store knew when it was asked. */
export function arrive(state: EngineState, turn: Turn, run: RunRecord, stored: StoredSuccess | null): void {
  const { equal } = run;
  if (equal === null) {
    startRun(state, turn, run);
    return;
  }
  const record = recordOf(state, run, equal);
  // It ended in this very turn, and those who follow it have not been told yet.
  if (record.leader !== null && runEnded(record.leader.state)) settleLeader(state, turn, record, record.leader);
  const successRunId = record.successRunId ?? successAmong(state, equal, stored);
  if (record.leader !== null) follow(state, record, run);
  else if (successRunId !== null) succeedAs(state, turn, run, successRunId);
  else lead(record, run, () => startRun(state, turn, run));
  stopAwaiting(state, run);
  dropEmpty(state, record);
}

/** To be called for every run that has ended, before those that depend on it are told. */
export function settleEquals(state: EngineState, turn: Turn, ended: RunRecord): void {
  const { equal, follows } = ended;
  if (equal === null) return;
  if (follows !== null) leave(ended, follows);
  const record = state.equals.get(keyOf(ended, equal));
  if (record === undefined) return;
  if (record.leader === ended) settleLeader(state, turn, record, ended);
  dropEmpty(state, record);
}

/** Successes are forgotten, here and in the store. What executes goes on, and its success will be a new one. */
export function purgeResults(state: EngineState, turn: Turn, command: CommandOf<'purge_results'>): null {
  const { namespace, contentHash } = command;
  for (const record of state.equals.values()) {
    if (record.namespace.name !== namespace) continue;
    if (contentHash !== '' && record.equal.contentHash !== contentHash) continue;
    record.successRunId = null;
    dropEmpty(state, record);
  }
  const hash = contentHash === '' ? null : contentHash;
  turn.changes.push({ table: 'results_purge', namespace, contentHash: hash });
  return null;
}

function startRun(state: EngineState, turn: Turn, run: RunRecord): void {
  // The end of one step may have been that of others.
  for (const step of run.steps) if (step.state === 'BLOCKED') startStep(state, turn, step);
}

function lead(record: EqualRecord, run: RunRecord, start: () => void): void {
  record.leader = run;
  run.executedBy = null;
  start();
}

function follow(state: EngineState, record: EqualRecord, run: RunRecord): void {
  let readySequence = 0;
  for (const step of liveSteps(run.steps)) {
    step.blockedOn = step.openNeeds > 0 ? 'NEEDS' : 'EQUAL';
    if (step.openNeeds > 0) continue;
    takePlace(state, step);
    readySequence ||= step.readySequence;
  }
  const adopts = record.leader?.state === 'RUNNING';
  run.executedBy = adopts ? (record.leader?.runId ?? null) : null;
  addFollower(record, run, readySequence);
}

/** It ended by itself, which is by a cancel. */
function leave(run: RunRecord, follower: FollowerRecord): void {
  removeFollower(follower);
  run.executedBy = null;
}

/** The leader has ended: that is the end of others, or the beginning of one. */
function settleLeader(state: EngineState, turn: Turn, record: EqualRecord, leader: RunRecord): void {
  record.leader = null;
  if (leader.state === 'SUCCEEDED') {
    rememberSuccess(turn, record, leader);
    for (const { run } of [...record.adopters, ...record.held]) succeedAs(state, turn, run, leader.runId);
    return;
  }
  if (leader.state === 'CANCELLED') holdAdopters(turn, record);
  else for (const { run } of [...record.adopters]) failAs(state, turn, run, leader);
  const next = record.held.first();
  if (next !== undefined) promote(state, turn, next);
}

function rememberSuccess(turn: Turn, record: EqualRecord, { runId, namespace }: RunRecord): void {
  const { contentHash, target, version } = record.equal;
  record.successRunId = runId;
  const result = { namespace: namespace.name, content_hash: contentHash, target, version, run_id: runId };
  turn.changes.push({ table: 'results', result });
}

/** Whoever leads next has not begun, so nobody ends as it ends any more: each may have to execute. */
function holdAdopters(turn: Turn, record: EqualRecord): void {
  for (const follower of [...record.adopters]) {
    record.adopters.remove(follower);
    record.held.add(follower);
    follower.run.executedBy = null;
    runChanged(turn, follower.run);
  }
}

function promote(state: EngineState, turn: Turn, follower: FollowerRecord): void {
  const { run, record } = follower;
  removeFollower(follower);
  lead(record, run, () => {
    for (const step of run.steps) {
      if (step.state !== 'BLOCKED' || step.blockedOn !== 'EQUAL') continue;
      becomeReady(state, turn, step);
      stepChanged(turn, step);
    }
  });
}

/** Ends as the run that executed, which succeeded. Its output is read through that one. */
function succeedAs(state: EngineState, turn: Turn, run: RunRecord, leaderRunId: string): void {
  for (const step of takeOver(run, leaderRunId)) {
    moveStep(step, 'SUCCEED');
    stepHasEnded(state, turn, step, null);
  }
}

const ENDS: Readonly<Partial<Record<RunState, StepEvent>>> = { CRASHED: 'CRASH', TIMED_OUT: 'TIME_OUT' };

/** Ends as the run it adopted. A single step takes that one's end; of several, none was the one that failed. */
function failAs(state: EngineState, turn: Turn, run: RunRecord, leader: RunRecord): void {
  const failure = leader.failure ?? failureOf('APPLICATION', `equal run ${leader.runId} is ${leader.state}`);
  run.failure = failure;
  run.failureState = leader.state;
  const skipped = causedBy(leader.runId, `equal run ${leader.runId} is ${leader.state}`);
  for (const step of takeOver(run, leader.runId)) {
    if (run.steps.length > 1) skipStep(state, turn, step, skipped);
    else endWaitingStep(state, turn, step, ENDS[leader.state] ?? 'FAIL', failure);
  }
}

/** The steps that are to end with the leader, now that the run follows no more. */
function takeOver(run: RunRecord, leaderRunId: string): StepRecord[] {
  if (run.follows !== null) removeFollower(run.follows);
  run.executedBy = leaderRunId;
  const steps = liveSteps(run.steps);
  // So that the end of one is not taken for what another has waited for.
  for (const step of steps) step.blockedOn = 'EQUAL';
  return steps;
}
