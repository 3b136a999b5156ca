/**
 * Every deadline once more, worked out from what was decided: none comes early, none is forgotten, and an outage or a
 * restart moves them as promised. Times are milliseconds since the epoch.
 */
import { DEFAULT_TIMES } from '../../src/domain/limits.ts';
import { stepEnded } from '../../src/domain/step.ts';
import type { CommandKind } from '../../src/engine/commands.ts';
import type { Engine } from '../../src/engine/engine.ts';
import type { AttemptRow } from '../../src/engine/rows.ts';
import type { EngineState, RunRecord, StepRecord } from '../../src/engine/state.ts';
import { short } from './ids.ts';
import type { SimProcess } from './process.ts';
import type { Scene } from './scene.ts';

/** A schedule timeout has effect within this of its time while the server is up and its store answers. */
const LATE_MS_MAX = 250;
/** How often it is looked whether one was forgotten, and so how much later than that it may be found. */
const LOOK_MS = 100;
/** Nobody has to accept before an order has left, and a stream that takes none is dead after its silence limit. */
const ACCEPT_MS_MAX = DEFAULT_TIMES.acceptTimeoutMs + 2 * DEFAULT_TIMES.silenceTimeoutMs + 30_000;

interface Waiting {
  readonly state: StepRecord['state'];
  readonly assignmentId: string | null;
  /** When its schedule timeout has to have effect; null: never. */
  readonly scheduleMs: number | null;
  /** When it came into this state, or the server recovered it. */
  readonly sinceMs: number;
}

export interface Deadlines {
  /** A new engine begins, with what the store holds. */
  begin(engine: Engine, server: SimProcess, isStalled: () => boolean): void;
  decided(state: EngineState, runs: readonly RunRecord[], command: CommandKind): void;
  attemptEnded(attempt: AttemptRow): void;
  /** A process goes on under its old session. */
  checkResume(workerId: string, workerName: string): void;
  /** A run's row is in the store. */
  committed(runId: string, revision: number): void;
  readonly timeouts: number;
}

interface Term {
  readonly engine: Engine;
  readonly server: SimProcess;
  readonly isStalled: () => boolean;
  /** No deadline that was known at its beginning, or at its last pause, is earlier. */
  earliestMs: number;
  /** By run. */
  readonly waiting: Map<string, Waiting>;
  /** By worker: when its stream was lost, and how long its session may still be resumed. */
  readonly gone: Map<string, { readonly sinceMs: number; readonly graceMs: number }>;
  /** The last time at which no timer could have effect. */
  heldUpMs: number;
}

export function createDeadlines({ world, store }: Scene): Deadlines {
  // By run and revision: what the schedule deadline was when that image was taken.
  const byRevision = new Map<string, Map<number, number | null>>();
  const committedMs = new Map<string, number | null>();
  let term: Term | null = null;
  let timeouts = 0;

  function begin(engine: Engine, server: SimProcess, isStalled: () => boolean): void {
    const beganMs = world.nowMs();
    const earliestMs = beganMs + DEFAULT_TIMES.reconnectGraceMs;
    const waiting = new Map<string, Waiting>();
    for (const run of engine.state.runs.values()) {
      const [step] = run.steps;
      const knownMs = committedMs.get(run.runId) ?? null;
      if (step === undefined) continue;
      const { state, assignment } = step;
      const scheduleMs = knownMs === null || state === 'RUNNING' ? null : Math.max(knownMs, earliestMs);
      const assignmentId = assignment?.assignmentId ?? null;
      waiting.set(run.runId, { state, assignmentId, scheduleMs, sinceMs: beganMs });
    }
    const gone = new Map<string, { sinceMs: number; graceMs: number }>();
    term = { engine, server, isStalled, earliestMs, waiting, gone, heldUpMs: beganMs };
    noteStreams(term);
    look(term);
  }

  function noteStreams({ engine, gone }: Term): void {
    for (const worker of engine.state.workers.values()) {
      if (worker.connection !== null) gone.delete(worker.workerId);
      else if (!gone.has(worker.workerId)) {
        const graces = [...worker.assignments.values()].map(graceOf);
        gone.set(worker.workerId, {
          sinceMs: world.nowMs(),
          graceMs: Math.max(DEFAULT_TIMES.reconnectGraceMs, ...graces),
        });
      }
    }
  }

  function decided(state: EngineState, runs: readonly RunRecord[], command: CommandKind): void {
    if (term === null || term.engine.state !== state) return;
    if (command === 'postpone_deadlines') postpone(term);
    for (const run of runs) moved(term, run);
    noteStreams(term);
  }

  /** After a pause nobody is timed out before the grace. */
  function postpone(at: Term): void {
    at.earliestMs = world.nowMs() + DEFAULT_TIMES.reconnectGraceMs;
    for (const [runId, one] of at.waiting) {
      if (one.scheduleMs !== null)
        at.waiting.set(runId, { ...one, scheduleMs: Math.max(one.scheduleMs, at.earliestMs) });
    }
  }

  function moved(at: Term, run: RunRecord): void {
    const [step] = run.steps;
    if (step === undefined) return;
    const before = at.waiting.get(run.runId);
    const after = next(at, before, step);
    if (step.state === 'TIMED_OUT' && step.failure?.reason === 'SCHEDULE_TIMEOUT') checkTimeout(run, before);
    if (stepEnded(step.state)) at.waiting.delete(run.runId);
    else at.waiting.set(run.runId, after);
    const revisions = byRevision.get(run.runId) ?? new Map<number, number | null>();
    byRevision.set(run.runId, revisions);
    revisions.set(run.revision, after.scheduleMs);
  }

  function next(at: Term, before: Waiting | undefined, step: StepRecord): Waiting {
    const nowMs = world.nowMs();
    const { state } = step;
    const assignmentId = step.assignment?.assignmentId ?? null;
    const isSame = before !== undefined && before.state === state && before.assignmentId === assignmentId;
    const sinceMs = isSame ? before.sinceMs : nowMs;
    const waits = state === 'PENDING' || state === 'ASSIGNED';
    // What was never accepted goes on waiting as before; all else begins to wait anew.
    const goesOn = before?.state === 'PENDING' || before?.state === 'ASSIGNED';
    const timeoutMs = step.definition.scheduleTimeoutMs ?? at.engine.state.times.scheduleTimeoutMs;
    const freshMs = timeoutMs === 0 ? null : nowMs + timeoutMs;
    return { state, assignmentId, sinceMs, scheduleMs: !waits ? null : goesOn ? before.scheduleMs : freshMs };
  }

  function checkTimeout({ runId }: RunRecord, before: Waiting | undefined): void {
    timeouts += 1;
    const run = `run ${short(runId)}`;
    const dueMs = before?.scheduleMs ?? null;
    if (dueMs === null) world.broken(`${run} timed out while it did not wait (${before?.state})`);
    else if (world.nowMs() < dueMs - 1) world.broken(`${run} timed out ${dueMs - world.nowMs()} ms early`);
    else checkLate(`${run} timed out`, dueMs);
  }

  function checkLate(what: string, dueMs: number): void {
    const lateMs = world.nowMs() - Math.max(dueMs, term?.heldUpMs ?? dueMs);
    if (lateMs > LATE_MS_MAX + LOOK_MS) world.broken(`${what} ${Math.round(lateMs)} ms late`);
  }

  function attemptEnded({ assignment_id, worker_id, outcome, accept_ms, assign_ms, run_id }: AttemptRow): void {
    const nowMs = world.nowMs();
    const early = (dueMs: number) => {
      if (nowMs < dueMs - 1) world.broken(`attempt ${short(assignment_id)}: ${outcome} ${dueMs - nowMs} ms early`);
    };
    const definition = term?.engine.state.runs.get(run_id)?.steps[0]?.definition;
    if (outcome === 'ACCEPT_TIMEOUT') early(assign_ms + DEFAULT_TIMES.acceptTimeoutMs);
    if (outcome === 'WORKER_LOST') {
      early(
        (term?.gone.get(worker_id)?.sinceMs ?? nowMs) +
          (definition?.reconnectGraceMs ?? DEFAULT_TIMES.reconnectGraceMs),
      );
    }
    if (outcome === 'EXECUTION_TIMEOUT') {
      const { executionTimeoutMs, progressTimeoutMs } = definition ?? {
        executionTimeoutMs: null,
        progressTimeoutMs: null,
      };
      const shortestMs = Math.min(
        executionTimeoutMs ?? Number.POSITIVE_INFINITY,
        progressTimeoutMs ?? Number.POSITIVE_INFINITY,
      );
      early((accept_ms ?? nowMs) + shortestMs);
    }
  }

  function checkResume(workerId: string, workerName: string): void {
    const gone = term?.gone.get(workerId);
    if (gone !== undefined)
      checkLate(
        `${workerName} resumed, its grace was over`,
        Math.max(gone.sinceMs + gone.graceMs, term?.earliestMs ?? 0),
      );
  }

  /** Looks again and again, as long as this server lives, for what should have happened by now. */
  function look(at: Term): void {
    if (term !== at || !at.server.isAlive) return;
    world.after(LOOK_MS, () => look(at));
    if (at.server.isPaused || at.isStalled() || store.isSlow) {
      at.heldUpMs = world.nowMs();
      return;
    }
    for (const run of at.engine.state.runs.values()) {
      const [step] = run.steps;
      const waiting = at.waiting.get(run.runId);
      if (step !== undefined && waiting !== undefined) lookAt(at, step, waiting);
    }
  }

  function lookAt(at: Term, step: StepRecord, waiting: Waiting): void {
    const what = `run ${short(step.run.runId)} is ${step.state}; what should have ended that is`;
    if (waiting.scheduleMs !== null) checkLate(what, waiting.scheduleMs);
    for (const dueMs of dueTimes(at, step, waiting)) checkLate(what, Math.max(dueMs, at.earliestMs));
  }

  function dueTimes(
    at: Term,
    { assignment, definition, blockedOn, readyMs }: StepRecord,
    { sinceMs }: Waiting,
  ): number[] {
    if (blockedOn === 'BACKING_OFF') return [readyMs ?? sinceMs];
    if (assignment === null) return [];
    const { worker, acceptMs, cancelReason } = assignment;
    const dues: number[] = [];
    const gone = at.gone.get(worker.workerId);
    const graceMs = definition.reconnectGraceMs ?? DEFAULT_TIMES.reconnectGraceMs;
    if (gone !== undefined) dues.push(Math.max(gone.sinceMs, sinceMs) + graceMs);
    if (acceptMs === null) dues.push(sinceMs + ACCEPT_MS_MAX);
    else if (definition.executionTimeoutMs !== null) dues.push(acceptMs + definition.executionTimeoutMs);
    if (cancelReason !== null && cancelledMs(at, assignment) !== null) {
      dues.push((cancelledMs(at, assignment) ?? 0) + DEFAULT_TIMES.cancelCloseMs);
    }
    return dues;
  }

  // When each assignment was first seen to be cancelled.
  const cancelled = new WeakMap<object, number>();
  function cancelledMs(_at: Term, assignment: object): number | null {
    const knownMs = cancelled.get(assignment);
    if (knownMs === undefined) cancelled.set(assignment, world.nowMs());
    return knownMs ?? null;
  }

  return {
    begin,
    decided,
    attemptEnded,
    checkResume,
    committed(runId, revision) {
      const scheduleMs = byRevision.get(runId)?.get(revision);
      if (scheduleMs !== undefined) committedMs.set(runId, scheduleMs);
    },
    get timeouts() {
      return timeouts;
    },
  };
}

function graceOf({ definition }: StepRecord): number {
  return definition.reconnectGraceMs ?? DEFAULT_TIMES.reconnectGraceMs;
}
