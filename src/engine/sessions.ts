/** Streams of workers: opening, resuming, closing. A worker has at most one; a newer one fences the older. */
import { mergeLabels } from '../domain/labels.ts';
import { isRefusal, type Refusal, refuse, refuseLimit } from '../domain/refusal.ts';
import { SLOTS_DEFAULT } from '../domain/worker.ts';
import { armAccept } from './assignments.ts';
import { capacityChanged, setActions } from './capacity.ts';
import type { CommandOf, OpenSession, ResultOf, SessionOpened } from './commands.ts';
import { identify } from './identity.ts';
import { giveBack, lose, loseAll } from './losses.ts';
import type { EngineState, StepRecord, WorkerRecord } from './state.ts';
import { NO_TIMER } from './timers.ts';
import { type Turn, workerChanged } from './turn.ts';
import { workerView } from './views.ts';
import { sharedActions, sharedLabels } from './worker_parts.ts';

export function openSession(state: EngineState, turn: Turn, hello: CommandOf<'open_session'>): SessionOpened | Refusal {
  const slots = slotsOf(state, hello);
  if (isRefusal(slots)) return slots;
  // Everything that can refuse comes before anything that changes.
  const labels = hello.labels === null ? null : mergeLabels('hello.labels', new Map(), hello.labels, state.limits);
  if (isRefusal(labels)) return labels;
  const worker = identify(state, turn, hello);
  if (isRefusal(worker)) return worker;

  const resumed =
    hello.resume !== null && worker.sessionHash !== null && hello.resume.sessionHash === worker.sessionHash;
  fenceOlderStream(state, turn, worker, resumed);
  const held = hello.resume?.heldAssignmentIds ?? [];
  if (resumed) settleResumed(state, turn, worker, new Set(held));
  else startProcess(state, turn, worker, hello);
  if (labels !== null) {
    worker.labels = sharedLabels(labels);
    worker.labelsRevision += 1;
  }
  worker.slots = slots;
  worker.devices = hello.devices;
  worker.sdk = hello.sdk;
  if (hello.nickname !== '') worker.nickname = hello.nickname;
  connect(state, turn, worker, hello);
  if (resumed) repeatCancels(turn, worker, hello.connection);
  const kept = held.filter((assignmentId) => worker.assignments.has(assignmentId));
  return {
    worker: workerView(worker),
    resumed,
    keptAssignmentIds: kept,
    droppedAssignmentIds: held.filter((assignmentId) => !worker.assignments.has(assignmentId)),
    warnings: [],
  };
}

function slotsOf(state: EngineState, hello: OpenSession): number | Refusal {
  const { devices } = hello;
  // Declaring no GPUs and leaving the CPU slots open says nothing about slots.
  const says = devices !== null && (devices.gpuIds.length > 0 || devices.cpuSlots !== null);
  const fromDevices = says ? devices.gpuIds.length + (devices.cpuSlots ?? 0) : null;
  const slots = hello.slots ?? fromDevices ?? SLOTS_DEFAULT;
  return slots > state.limits.slotsMax ? refuseLimit('hello.slots', slots, state.limits.slotsMax, 'slots') : slots;
}

function fenceOlderStream(state: EngineState, turn: Turn, worker: WorkerRecord, resumed: boolean): void {
  if (worker.connection === null) return;
  // A stream that its own process replaced ends without a word: SUPERSEDED means that the process has to stop.
  turn.effects.push(
    resumed
      ? { kind: 'end_stream', connection: worker.connection }
      : {
          kind: 'evict',
          connection: worker.connection,
          reason: 'SUPERSEDED',
          message: `another process connected as worker "${worker.name}"`,
        },
  );
  state.workersByConnection.delete(worker.connection);
  worker.connection = null;
}

/** The process names what it still holds; whatever else the plane thinks it holds, it does not. */
function settleResumed(state: EngineState, turn: Turn, worker: WorkerRecord, held: ReadonlySet<string>): void {
  for (const [assignmentId, step] of [...worker.assignments]) {
    if (held.has(assignmentId)) {
      keepResumed(state, turn, step);
    } else {
      lose(state, turn, step, 'SESSION_DROPPED');
      worker.reserved.delete(assignmentId);
    }
  }
  for (const assignmentId of [...worker.reserved]) if (!held.has(assignmentId)) worker.reserved.delete(assignmentId);
}

function keepResumed(state: EngineState, turn: Turn, step: StepRecord): void {
  if (step.assignment === null) return;
  state.timers.disarm(step.assignment.graceTimer);
  // Its acceptance is on its way again.
  if (step.assignment.acceptMs === null) armAccept(state, turn, step);
}

/** What was cancelled while the stream was away: the process has not heard of it. */
function repeatCancels(turn: Turn, worker: WorkerRecord, connection: number): void {
  for (const [assignmentId, { assignment }] of worker.assignments) {
    const reason = assignment?.cancelReason ?? null;
    if (reason !== null) turn.effects.push({ kind: 'cancel_step', connection, assignmentId, reason });
  }
}

/** A new process has none of the old one's work: what that had accepted is lost, its reserved places are free. */
function startProcess(state: EngineState, turn: Turn, worker: WorkerRecord, hello: OpenSession): void {
  worker.sessionHash = null;
  loseAll(state, turn, worker, 'SUPERSEDED');
  worker.reserved.clear();
  worker.sessionHash = hello.newSessionHash;
}

function connect(state: EngineState, turn: Turn, worker: WorkerRecord, hello: OpenSession): void {
  state.timers.disarm(worker.graceTimer);
  worker.graceTimer = NO_TIMER;
  clearMissedAccept(state, worker);
  worker.connection = hello.connection;
  worker.connectMs = turn.nowMs;
  worker.lastSeenMs = turn.nowMs;
  worker.crashed = false;
  worker.backPressured = false;
  worker.changeCount += 1;
  state.workersByConnection.set(hello.connection, worker);
  setActions(state, turn, worker, sharedActions(hello.actions));
  workerChanged(turn, worker);
}

export function clearMissedAccept(state: EngineState, worker: WorkerRecord): void {
  state.timers.disarm(worker.acceptMissedTimer);
  worker.acceptMissedTimer = NO_TIMER;
  worker.acceptMissed = false;
}

/** The worker whose current stream this is. A fenced stream may not speak for it any more. */
export function workerOf(state: EngineState, connection: number): WorkerRecord | Refusal {
  return (
    state.workersByConnection.get(connection) ??
    refuse('STALE_SESSION', 'this stream is no longer the current one of its worker')
  );
}

/** The stream ended without a goodbye: what it holds waits for its process to come back. */
export function closeSession(
  state: EngineState,
  turn: Turn,
  command: CommandOf<'close_session'>,
): ResultOf<'close_session'> {
  const worker = state.workersByConnection.get(command.connection);
  if (worker === undefined) return null;
  if (command.reason === 'SILENT') {
    const message = `nothing was heard for ${state.times.silenceTimeoutMs} ms`;
    turn.effects.push({ kind: 'evict', connection: command.connection, reason: 'SILENT', message });
  }
  disconnect(state, turn, worker);
  startGrace(state, turn.nowMs, worker);
  return null;
}

function disconnect(state: EngineState, turn: Turn, worker: WorkerRecord): void {
  if (worker.connection !== null) state.workersByConnection.delete(worker.connection);
  worker.connection = null;
  worker.lastSeenMs = turn.nowMs;
  worker.changeCount += 1;
  capacityChanged(turn, worker);
  workerChanged(turn, worker);
}

/** Arms the grace of each assignment, and of the session itself: it can be resumed as long as anything of it waits. */
export function startGrace(state: EngineState, nowMs: number, worker: WorkerRecord): void {
  let longestMs = state.times.reconnectGraceMs;
  for (const step of worker.assignments.values()) {
    const graceMs = step.definition.reconnectGraceMs ?? state.times.reconnectGraceMs;
    longestMs = Math.max(longestMs, graceMs);
    if (step.assignment === null) continue;
    step.assignment.graceTimer = state.timers.arm(nowMs + graceMs, { kind: 'grace', step });
    // Nobody can accept over a stream that is gone: the grace is what it waits for now.
    state.timers.disarm(step.assignment.acceptTimer);
  }
  worker.graceTimer = state.timers.arm(nowMs + longestMs, { kind: 'worker_grace', worker });
}

/** The worker leaves in good order: all it holds goes back at once. */
export function goodbye(state: EngineState, turn: Turn, command: CommandOf<'goodbye'>): ResultOf<'goodbye'> | Refusal {
  const worker = workerOf(state, command.connection);
  if (isRefusal(worker)) return worker;
  disconnect(state, turn, worker);
  worker.sessionHash = null;
  for (const step of [...worker.assignments.values()]) giveBack(state, turn, step, 'WORKER_GOODBYE');
  worker.reserved.clear();
  capacityChanged(turn, worker);
  return null;
}

export function heartbeat(state: EngineState, turn: Turn, command: CommandOf<'heartbeat'>): null {
  const worker = state.workersByConnection.get(command.connection);
  if (worker) worker.lastSeenMs = turn.nowMs;
  return null;
}

export function changeSlots(state: EngineState, turn: Turn, command: CommandOf<'change_slots'>): null | Refusal {
  const worker = workerOf(state, command.connection);
  if (isRefusal(worker)) return worker;
  if (command.slots > state.limits.slotsMax)
    return refuseLimit('slots_changed.slots', command.slots, state.limits.slotsMax, 'slots');
  worker.slots = command.slots;
  worker.changeCount += 1;
  clearMissedAccept(state, worker);
  capacityChanged(turn, worker);
  workerChanged(turn, worker);
  return null;
}

export function setBackPressure(state: EngineState, turn: Turn, command: CommandOf<'set_back_pressure'>): null {
  const worker = state.workersByConnection.get(command.connection);
  if (worker === undefined || worker.backPressured === command.on) return null;
  worker.backPressured = command.on;
  capacityChanged(turn, worker);
  return null;
}

/** What waits in a queue that is not read is better with somebody else. */
export function withdrawUnsent(state: EngineState, turn: Turn, command: CommandOf<'withdraw_unsent'>): null {
  const worker = state.workersByConnection.get(command.connection);
  for (const step of [...(worker?.assignments.values() ?? [])]) {
    if (step.assignment?.handedOver === false) giveBack(state, turn, step, 'BACK_PRESSURE');
  }
  return null;
}

export function upsertLabels(
  state: EngineState,
  turn: Turn,
  command: CommandOf<'upsert_labels'>,
): ResultOf<'upsert_labels'> | Refusal {
  const worker = workerOf(state, command.connection);
  if (isRefusal(worker)) return worker;
  const labels = mergeLabels('upsert_labels.labels', worker.labels, command.patch, state.limits);
  if (isRefusal(labels)) return labels;
  worker.labels = labels;
  worker.labelsRevision += 1;
  worker.changeCount += 1;
  worker.lastSeenMs = turn.nowMs;
  capacityChanged(turn, worker);
  workerChanged(turn, worker);
  return { labels, labelsRevision: worker.labelsRevision };
}
