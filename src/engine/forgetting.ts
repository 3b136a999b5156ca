/** What has ended stays in memory for a while, so that late facts and repeated requests find it; then it goes. */
import { forgetSuccess } from './equal_records.ts';
import type { EngineState, RunRecord } from './state.ts';
import { NO_TIMER } from './timers.ts';

// One timer serves all that has ended, and fires no more often than this: memory is not in a hurry.
const FORGET_PAUSE_MS = 1_000;

/** To be called whenever something ends that is to be forgotten at `untilMs`. */
export function armForget(state: EngineState, untilMs: number): void {
  if (state.forgetTimer === NO_TIMER) state.forgetTimer = state.timers.arm(untilMs, { kind: 'forget' });
}

export function forgetEnded(state: EngineState, nowMs: number): void {
  state.forgetTimer = NO_TIMER;
  let nextMs = Number.POSITIVE_INFINITY;
  for (const [assignmentId, { untilMs }] of state.endedAssignments) {
    if (untilMs > nowMs) {
      nextMs = untilMs;
      break;
    }
    state.endedAssignments.delete(assignmentId);
  }
  for (const [runId, untilMs] of state.endedRuns) {
    if (untilMs > nowMs) {
      nextMs = Math.min(nextMs, untilMs);
      break;
    }
    state.endedRuns.delete(runId);
    const run = state.runs.get(runId);
    if (run) forgetRun(state, run);
  }
  for (const [runId, untilMs] of state.retiredRuns) {
    if (untilMs > nowMs) {
      nextMs = Math.min(nextMs, untilMs);
      break;
    }
    state.retiredRuns.delete(runId);
  }
  if (nextMs < Number.POSITIVE_INFINITY) armForget(state, Math.max(nextMs, nowMs + FORGET_PAUSE_MS));
}

export function forgetRun(state: EngineState, run: RunRecord): void {
  state.runs.delete(run);
  state.runsByRequest.delete(run);
  forgetSuccess(state, run);
}
