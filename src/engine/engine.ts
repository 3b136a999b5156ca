/** The single writer. Every decision is one call of `apply`: it changes memory, and says what to write and what to send. */
import { DEFAULT_LIMITS, DEFAULT_TIMES, type Limits, type Times } from '../domain/limits.ts';
import { isRefusal, type Refusal } from '../domain/refusal.ts';
import { cancelRun } from './cancel.ts';
import { listOpenWorkers } from './capacity.ts';
import type { CommandKind, CommandOf, ResultOf } from './commands.ts';
import { settleDependents } from './dependencies.ts';
import { postponeDeadlines, tick } from './due.ts';
import { updateRun } from './edit.ts';
import type { Effect } from './effects.ts';
import { listEligibleRuns } from './eligible.ts';
import { purgeResults } from './equal.ts';
import { explainRun, explainSlice, explainStep } from './explain.ts';
import {
  acceptStep,
  confirmCancel,
  failStep,
  handedOver,
  logStep,
  progressStep,
  returnStep,
  succeedStep,
} from './facts.ts';
import { reportInputInvalid } from './invalid_input.ts';
import { match } from './matching.ts';
import { putNamespace, readNamespaces } from './namespaces.ts';
import { type LiveRows, restore } from './restore.ts';
import { expireWorkers, readExpiry, retireRuns } from './retention.ts';
import { retryRun } from './retry_run.ts';
import { readProgress, readQueueDepth, scheduleRuns } from './runs.ts';
import {
  changeSlots,
  closeSession,
  goodbye,
  heartbeat,
  openSession,
  setBackPressure,
  upsertLabels,
  withdrawUnsent,
} from './sessions.ts';
import { createState, type EngineState, type WorkerRecord } from './state.ts';
import { readStats } from './stats.ts';
import { type Change, createTurn, type Ids, type Turn } from './turn.ts';
import { deleteWorker, drainWorker, readWorker, readWorkers, registerWorker, resumeWorker } from './workers.ts';
import { putWorkflow } from './workflows.ts';

export interface Outcome<T> {
  readonly result: T | Refusal;
  /** To be written, in one commit. */
  readonly changes: readonly Change[];
  /** To be sent, in this order, after that commit. */
  readonly effects: readonly Effect[];
  /** Workers that may look different now, whether a row of theirs changed or not. */
  readonly touchedWorkers: ReadonlySet<WorkerRecord>;
}

export interface Engine {
  /** Deterministic: the same commands at the same times with the same ids give the same engine. */
  apply<K extends CommandKind>(command: CommandOf<K>, nowMs: number, ids: Ids): Outcome<ResultOf<K>>;
  /** When the next timer is due, milliseconds since the epoch; null: none is armed. */
  nextDueMs(): number | null;
  /** For reading only: tests, metrics and checks look at the state, nobody else changes it. */
  readonly state: EngineState;
}

/** What a handler may answer: a result, a refusal, or a function that makes the result once everything is matched. */
type Handler<K extends CommandKind> = (
  state: EngineState,
  turn: Turn,
  command: CommandOf<K>,
) => ResultOf<K> | Refusal | (() => ResultOf<K>);

const HANDLERS: { readonly [K in CommandKind]: Handler<K> } = {
  register_worker: registerWorker,
  read_worker: (state, _turn, command) => readWorker(state, command),
  read_workers: (state, _turn, command) => readWorkers(state, command),
  drain_worker: drainWorker,
  resume_worker: resumeWorker,
  delete_worker: deleteWorker,
  put_namespace: putNamespace,
  read_namespaces: (state) => readNamespaces(state),
  put_workflow: putWorkflow,
  schedule_runs: scheduleRuns,
  cancel_run: cancelRun,
  update_run: updateRun,
  retry_run: retryRun,
  purge_results: purgeResults,
  list_eligible_runs: (state, _turn, command) => listEligibleRuns(state, command),
  explain_run: (state, _turn, command) => explainRun(state, command),
  explain_step: explainStep,
  explain_slice: explainSlice,
  read_progress: (state, _turn, command) => readProgress(state, command),
  read_stats: readStats,
  read_expiry: (state) => readExpiry(state),
  retire_runs: retireRuns,
  expire_workers: (state, turn) => expireWorkers(state, turn),
  read_queue_depth: (state, _turn, command) => readQueueDepth(state, command),
  open_session: openSession,
  close_session: closeSession,
  goodbye,
  heartbeat,
  upsert_labels: upsertLabels,
  change_slots: changeSlots,
  set_back_pressure: setBackPressure,
  withdraw_unsent: withdrawUnsent,
  handed_over: handedOver,
  accept_step: acceptStep,
  return_step: returnStep,
  progress_step: progressStep,
  log_step: logStep,
  succeed_step: succeedStep,
  fail_step: failStep,
  confirm_cancel: confirmCancel,
  report_input_invalid: reportInputInvalid,
  postpone_deadlines: (state, turn) => postponeDeadlines(state, turn),
  tick: (state, turn) => tick(state, turn),
};

export interface EngineOptions {
  readonly limits?: Limits;
  readonly times?: Times;
  /** What the store holds; recovery happens at `nowMs`. */
  readonly rows?: LiveRows;
  readonly nowMs?: number;
}

/** What an empty store holds. */
export const NO_ROWS: LiveRows = {
  namespaces: [],
  workers: [],
  workflows: [],
  workflowNames: [],
  runs: [],
  steps: [],
  stepTotals: [],
  runTotals: [],
  leaderboard: [],
  results: [],
};

export function createEngine(options: EngineOptions = {}): Engine {
  const state = createState(options.limits ?? DEFAULT_LIMITS, options.times ?? DEFAULT_TIMES, options.nowMs ?? 0);
  restore(state, options.rows ?? NO_ROWS, options.nowMs ?? 0);
  return engineOf(state);
}

/** Of a state that was restored. */
export function engineOf(state: EngineState): Engine {
  return {
    state,
    nextDueMs: () => state.timers.nextMs(),
    apply(command, nowMs, ids) {
      const turn = createTurn(nowMs, ids);
      const handler = HANDLERS[command.kind] as Handler<typeof command.kind>;
      const answer = handler(state, turn, command);
      // Matching can end steps too (a pinned worker that is gone), and ends can let others start.
      do {
        settleDependents(state, turn);
        if (hasMatches(turn)) match(state, turn);
      } while (turn.endedRuns.length > 0);
      listOpenWorkers(state, turn);
      const result = typeof answer === 'function' ? answer() : answer;
      if (isRefusal(result) && turn.changes.length > 0 && !mayChangeAndRefuse(command.kind)) {
        throw new Error(`${command.kind} refused (${result.refused}) after it had changed something`);
      }
      return { result, changes: turn.changes, effects: turn.effects, touchedWorkers: turn.touchedWorkers };
    },
  };
}

function hasMatches({ freedWorkers, openedDemands, freedKeys }: Turn): boolean {
  return freedWorkers.size > 0 || openedDemands.size > 0 || freedKeys.size > 0;
}

/** A fact about an ended assignment is refused, and yet may free the place that was kept for it. */
function mayChangeAndRefuse(kind: CommandKind): boolean {
  return kind.endsWith('_step') || kind === 'confirm_cancel' || kind === 'report_input_invalid';
}
