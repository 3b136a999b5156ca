/** Watches every decision of the engine: who gets what, in which order, and whether an old session may go on. */
import { isRefusal } from '../../src/domain/refusal.ts';
import type { CommandKind, SessionOpened } from '../../src/engine/commands.ts';
import type { Engine, Outcome } from '../../src/engine/engine.ts';
import type { AttemptRow } from '../../src/engine/rows.ts';
import type { EngineState, RunRecord, StepRecord, WorkerRecord } from '../../src/engine/state.ts';
import { type Wish, wishHolds } from '../support/engine_wishes.ts';
import type { Deadlines } from './deadlines.ts';
import { short } from './ids.ts';
import type { SimProcess } from './process.ts';
import type { Scene } from './scene.ts';

/** After these nothing that waits can have become possible. */
const CHANGES_NO_PLACE: ReadonlySet<CommandKind> = new Set(['heartbeat', 'handed_over', 'log_step', 'progress_step']);

export function watchDecisions(scene: Scene, deadlines: Deadlines, engine: Engine, server: SimProcess): void {
  const { state } = engine;
  // By run: the assignment that was last seen.
  const seen = new Map<string, string | null>();
  for (const { runId, steps } of state.runs.values()) seen.set(runId, steps[0]?.assignment?.assignmentId ?? null);
  const isDeciding = () => scene.server().process === server;
  const apply = engine.apply.bind(engine);

  engine.apply = (command, nowMs, ids) => {
    const outcome = apply(command, nowMs, ids);
    if (!isDeciding()) return outcome;
    if (command.kind === 'open_session' && !isRefusal(outcome.result)) {
      const opened = outcome.result as unknown as SessionOpened;
      if (opened.resumed) deadlines.checkResume(opened.worker.workerId, opened.worker.name);
      checkOpened(scene, opened, state.workers.get(opened.worker.workerId), server);
    }
    const runs = changedRuns(outcome);
    for (const attempt of attemptsOf(outcome)) deadlines.attemptEnded(attempt);
    const placed = runs.flatMap((run) => newlyAssigned(seen, run));
    for (const step of placed) checkPlacement(scene, state, step, server);
    if (!CHANGES_NO_PLACE.has(command.kind)) {
      // With a timer overdue a pause may be over that the engine has not looked at yet.
      const isUpToDate = (engine.nextDueMs() ?? nowMs + 1) > nowMs;
      if (isUpToDate) checkOrder(scene, state, placed, nowMs);
      if (isUpToDate) checkNothingWaits(scene, state, nowMs);
    }
    deadlines.decided(state, runs, command.kind);
    return outcome;
  };
}

/**
 * Kept is what is current, dropped what is not. Places are kept for a session for as long as it can be resumed; what
 * still runs after that only the worker itself counts.
 */
function checkOpened(
  { world, workerAt, journal }: Scene,
  opened: SessionOpened,
  worker: WorkerRecord | undefined,
  server: SimProcess,
): void {
  const process = workerAt(server, worker?.connection ?? 0);
  if (worker === undefined || process === undefined) return;
  for (const id of opened.keptAssignmentIds) {
    if (!worker.assignments.has(id)) world.broken(`${worker.name} may keep ${short(id)}, which it does not hold`);
  }
  for (const id of opened.droppedAssignmentIds) {
    if (worker.assignments.has(id)) world.broken(`${worker.name} is to drop ${short(id)}, which it holds`);
  }
  for (const execution of journal.runningIn(process)) {
    const { assignmentId } = execution;
    if (worker.assignments.has(assignmentId) || worker.reserved.has(assignmentId)) continue;
    if (opened.resumed && !execution.isForgotten) {
      world.broken(`${worker.name} came back, and the slot of ${short(assignmentId)}, which still runs, is free`);
    }
    execution.isForgotten = true;
  }
}

function changedRuns({ changes }: Outcome<unknown>): RunRecord[] {
  return [...new Set(changes.flatMap((change) => (change.table === 'runs' ? [change.run] : [])))];
}

function attemptsOf({ changes }: Outcome<unknown>): AttemptRow[] {
  return changes.flatMap((change) => (change.table === 'attempts' ? [change.attempt] : []));
}

function newlyAssigned(seen: Map<string, string | null>, run: RunRecord): StepRecord[] {
  const [step] = run.steps;
  const assignmentId = step?.assignment?.assignmentId ?? null;
  const isNew = step?.state === 'ASSIGNED' && seen.get(run.runId) !== assignmentId;
  seen.set(run.runId, assignmentId);
  return isNew && step !== undefined ? [step] : [];
}

/** Tags and labels hold at the revision the assignment states, and there is room, also for handlers nobody counts any more. */
function checkPlacement({ world, workerAt, journal }: Scene, state: EngineState, step: StepRecord, server: SimProcess) {
  const { assignment } = step;
  if (assignment === null) return;
  const { worker, assignmentId } = assignment;
  const what = `${short(assignmentId)} of run ${short(step.run.runId)} to ${worker.name}`;
  world.note('server', `decides ${what}`);
  const misfit = whyNot(worker, step);
  if (misfit !== null) world.broken(`${what}: ${misfit}`);
  const { sticky, keptPin } = step.run;
  if (sticky === 'HARD' && (keptPin?.workerId ?? worker.workerId) !== worker.workerId)
    world.broken(`${what}: not its pin`);
  if (assignment.labelsRevision !== worker.labelsRevision) world.broken(`${what}: its labels are of another revision`);
  if (worker.connection === null) world.broken(`${what}: it is not connected`);
  if (worker.draining) world.broken(`${what}: it is draining`);
  const counted = worker.assignments.size + worker.reserved.size;
  if (counted > worker.slots) world.broken(`${what}: ${counted} of ${worker.slots} slots`);
  const process = workerAt(server, worker.connection ?? 0);
  if (process === undefined) return;
  const running = journal.runningIn(process).filter(({ isForgotten }) => !isForgotten);
  const held = new Set([...worker.assignments.keys(), ...running.map((execution) => execution.assignmentId)]);
  if (held.size > worker.slots) {
    world.broken(
      `${what}: with the handlers that still run (${running.map((one) => short(one.assignmentId)).join(' ')}), ${held.size} of ${worker.slots} slots`,
    );
  }
  if (state.assignments.get(assignmentId) !== step) world.broken(`${what}: it is not the current one of its step`);
}

/** The rules of tags and labels, read anew. */
export function whyNot(worker: WorkerRecord, step: StepRecord): string | null {
  const { run, definition } = step;
  if (!worker.actions.has(definition.action)) return `it does not serve ${definition.action}`;
  if (run.sticky === 'HARD' && (run.pinnedWorkerId ?? worker.workerId) !== worker.workerId)
    return 'another has the pin';
  const isWildcard = worker.tagList.length === 0;
  if (!isWildcard && run.runsOn.some((tag) => !worker.tagList.includes(tag))) return `it lacks one of ${run.runsOn}`;
  for (const wish of [...run.desired, ...definition.desired]) {
    if (wish.required && !wishHolds(worker.labels, wish as Wish)) return `its ${wish.key} is not as desired`;
  }
  return null;
}

function mayTakeNow(worker: WorkerRecord, step: StepRecord, nowMs: number): boolean {
  // What it gave back it is spared for a while; which while is the engine's to say.
  const spared = step.exclusions?.get(worker.workerId);
  if (spared !== undefined && spared.changeCount === worker.changeCount && nowMs < spared.untilMs) return false;
  return whyNot(worker, step) === null;
}

const goesBefore = (a: StepRecord, b: StepRecord) =>
  a.priority === b.priority ? a.readySequence < b.readySequence : a.priority > b.priority;

function pendingSteps(state: EngineState): StepRecord[] {
  return [...state.runs.values()].flatMap(({ steps }) => steps.filter((step) => step.state === 'PENDING'));
}

/** Nothing that waits would have gone before what was placed. */
function checkOrder({ world }: Scene, state: EngineState, placed: readonly StepRecord[], nowMs: number): void {
  if (placed.length === 0) return;
  for (const waiting of pendingSteps(state)) {
    for (const step of placed) {
      const worker = step.assignment?.worker;
      if (worker === undefined || !goesBefore(waiting, step) || !mayTakeNow(worker, waiting, nowMs)) continue;
      world.broken(`run ${short(step.run.runId)} overtook run ${short(waiting.run.runId)} at ${worker.name}`);
    }
  }
}

/** Nothing waits that somebody could take now. */
function checkNothingWaits({ world }: Scene, state: EngineState, nowMs: number): void {
  const free = [...state.workers.values()].filter(
    (worker) =>
      worker.connection !== null &&
      !worker.draining &&
      !worker.backPressured &&
      !worker.acceptMissed &&
      worker.assignments.size + worker.reserved.size < worker.slots,
  );
  if (free.length === 0) return;
  for (const step of pendingSteps(state)) {
    const worker = free.find((one) => mayTakeNow(one, step, nowMs));
    if (worker) world.broken(`run ${short(step.run.runId)} waits, and ${worker.name} could take it`);
  }
}
