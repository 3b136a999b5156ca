/** Workers as durable identities: registering, draining, deleting. */
import { isRefusal, type Refusal, refuse } from '../domain/refusal.ts';
import { sameTags, type TagSet } from '../domain/tags.ts';
import { checkWorkerName, displayName, NICKNAME_DEFAULT, SLOTS_DEFAULT } from '../domain/worker.ts';
import { capacityChanged, forgetActions } from './capacity.ts';
import type { CommandOf, ResultOf, Warning } from './commands.ts';
import { loseAll } from './losses.ts';
import { setPin } from './pins.ts';
import { sharedTags } from './shared.ts';
import { type EngineState, nameKey, type WorkerRecord } from './state.ts';
import { endWaitingStep, stickyWorkerDeleted } from './steps.ts';
import { NO_TIMER } from './timers.ts';
import { type Turn, workerChanged } from './turn.ts';
import { workerView } from './views.ts';
import { NO_DEVICES_IN_USE, sharedActions, sharedLabels, tagSetOf } from './worker_parts.ts';

export interface NewWorker {
  readonly namespace: string;
  readonly name: string;
  readonly tags: TagSet;
  readonly nickname: string;
  readonly defaultWorker: boolean;
}

/** Makes a worker and puts it into the indexes. The name is free; the caller has looked. */
export function addWorker(state: EngineState, turn: Turn, draft: NewWorker): WorkerRecord {
  state.workerNumber += 1;
  const worker: WorkerRecord = {
    workerId: turn.ids.orderedId(),
    workerNumber: state.workerNumber,
    namespace: draft.namespace,
    name: draft.name,
    displayName: freeDisplayName(state, turn, draft.namespace),
    nickname: draft.nickname === '' ? NICKNAME_DEFAULT : draft.nickname,
    defaultWorker: draft.defaultWorker,
    tags: tagSetOf(draft.tags),
    tagList: sharedTags(draft.tags),
    labels: sharedLabels(new Map()),
    labelsRevision: 0,
    actions: sharedActions([]),
    slots: SLOTS_DEFAULT,
    devices: null,
    sdk: null,
    registerMs: turn.nowMs,
    completedCount: 0,
    crashed: false,
    draining: false,
    sessionHash: null,
    ...freshWorkerState(),
  };
  indexWorker(state, worker);
  workerChanged(turn, worker);
  return worker;
}

/** What a worker has while it is not connected; also how recovery finds it. */
export function freshWorkerState() {
  return {
    connection: null,
    connectMs: null,
    lastSeenMs: null,
    assignments: new Map(),
    reserved: new Set<string>(),
    leases: new Map(),
    devicesInUse: NO_DEVICES_IN_USE,
    slotsUsed: 0,
    backPressured: false,
    acceptMissed: false,
    notReadyReason: 'DISCONNECTED',
    actionKeys: [],
    changeCount: 0,
    lastAssignSequence: 0,
    lastAssignMs: null,
    graceTimer: NO_TIMER,
    acceptMissedTimer: NO_TIMER,
    open: false,
    listed: false,
  };
}

export function indexWorker(state: EngineState, worker: WorkerRecord): void {
  state.workers.set(worker.workerId, worker);
  state.workersByName.set(nameKey(worker.namespace, worker.name), worker);
  state.displayNames.add(nameKey(worker.namespace, worker.displayName));
}

const DISPLAY_NAME_TRIES = 100;

function freeDisplayName(state: EngineState, turn: Turn, namespace: string): string {
  for (let tries = 0; tries < DISPLAY_NAME_TRIES; tries++) {
    const name = displayName(turn.ids.fraction());
    if (!state.displayNames.has(nameKey(namespace, name))) return name;
  }
  // With the words nearly used up, a number nobody has makes any of them unique.
  return `${displayName(turn.ids.fraction())}-${state.workerNumber}`;
}

export function registerWorker(
  state: EngineState,
  turn: Turn,
  command: CommandOf<'register_worker'>,
): ResultOf<'register_worker'> | Refusal {
  const { namespace, tags, nickname } = command;
  if (!state.namespaces.has(namespace)) return unknownNamespace(namespace);
  const name = command.name === '' ? freeName(state, turn, namespace) : command.name;
  const badName = checkWorkerName('name', name);
  if (badName) return badName;
  const known = state.workersByName.get(nameKey(namespace, name));
  if (known === undefined) {
    const worker = addWorker(state, turn, { namespace, name, tags, nickname, defaultWorker: false });
    return { worker: workerView(worker), alreadyRegistered: false, warnings: [] };
  }
  const warnings: Warning[] = sameTags(tags, known.tagList) ? [] : [tagsKept(known, tags)];
  return { worker: workerView(known), alreadyRegistered: true, warnings };
}

const GENERATED_NAME_TRIES = 10;

function freeName(state: EngineState, turn: Turn, namespace: string): string {
  for (let tries = 0; tries < GENERATED_NAME_TRIES; tries++) {
    const name = `worker-${turn.ids.randomId().slice(0, 8)}`;
    if (!state.workersByName.has(nameKey(namespace, name))) return name;
  }
  return `worker-${turn.ids.randomId()}`;
}

function tagsKept(worker: WorkerRecord, asked: TagSet): Warning {
  return {
    reason: 'TAGS_KEPT',
    message: `worker "${worker.name}" keeps the tags it was registered with (${shownTags(worker.tagList)}); the tags ${shownTags(asked)} were not taken`,
  };
}

/** Of many or long tags the first ones: a message has room for two such lists. */
const SHOWN_TAGS_LENGTH_MAX = 300;

export function shownTags(tags: TagSet): string {
  const all = tags.length === 0 ? 'none' : tags.join(', ');
  return all.length <= SHOWN_TAGS_LENGTH_MAX ? all : `${all.slice(0, SHOWN_TAGS_LENGTH_MAX)}… (${tags.length} in all)`;
}

export function unknownNamespace(namespace: string): Refusal {
  return refuse('NAMESPACE_NOT_FOUND', `namespace "${namespace}" does not exist`, { namespace });
}

/** A worker by id, within its namespace: another namespace's id does not exist. */
export function findWorker(state: EngineState, namespace: string, workerId: string): WorkerRecord | Refusal {
  const worker = state.workers.get(workerId);
  if (worker !== undefined && worker.namespace === namespace) return worker;
  return refuse('WORKER_NOT_FOUND', `worker_id "${workerId}" does not exist in namespace "${namespace}"`, {
    worker_id: workerId,
  });
}

export function readWorker(state: EngineState, command: CommandOf<'read_worker'>): ResultOf<'read_worker'> | Refusal {
  if (command.workerId !== '') {
    const worker = findWorker(state, command.namespace, command.workerId);
    return isRefusal(worker) ? worker : workerView(worker);
  }
  const worker = state.workersByName.get(nameKey(command.namespace, command.name));
  if (worker) return workerView(worker);
  return refuse('WORKER_NOT_FOUND', `name "${command.name}" does not exist in namespace "${command.namespace}"`, {
    name: command.name,
  });
}

export function readWorkers(
  state: EngineState,
  command: CommandOf<'read_workers'>,
): ResultOf<'read_workers'> | Refusal {
  if (!state.namespaces.has(command.namespace)) return unknownNamespace(command.namespace);
  return [...state.workers.values()].filter((worker) => worker.namespace === command.namespace).map(workerView);
}

export function drainWorker(
  state: EngineState,
  turn: Turn,
  command: CommandOf<'drain_worker'>,
): ResultOf<'drain_worker'> | Refusal {
  const worker = findWorker(state, command.namespace, command.workerId);
  if (isRefusal(worker)) return worker;
  setDraining(turn, worker, true);
  if (worker.connection !== null)
    turn.effects.push({ kind: 'drain', connection: worker.connection, reason: command.reason });
  return workerView(worker);
}

export function resumeWorker(
  state: EngineState,
  turn: Turn,
  command: CommandOf<'resume_worker'>,
): ResultOf<'resume_worker'> | Refusal {
  const worker = findWorker(state, command.namespace, command.workerId);
  if (isRefusal(worker)) return worker;
  setDraining(turn, worker, false);
  return workerView(worker);
}

function setDraining(turn: Turn, worker: WorkerRecord, draining: boolean): void {
  if (worker.draining === draining) return;
  worker.draining = draining;
  capacityChanged(turn, worker);
  workerChanged(turn, worker);
}

export function deleteWorker(
  state: EngineState,
  turn: Turn,
  command: CommandOf<'delete_worker'>,
): ResultOf<'delete_worker'> | Refusal {
  const worker = findWorker(state, command.namespace, command.workerId);
  if (isRefusal(worker)) return worker;
  const reopenedSteps = worker.assignments.size;
  if (reopenedSteps > 0 && !command.force) {
    return refuse(
      'WORKER_BUSY',
      `worker "${worker.name}" holds ${reopenedSteps} assignments; force re-opens their steps`,
      {
        worker_id: worker.workerId,
        assignments: String(reopenedSteps),
      },
    );
  }
  removeWorker(state, turn, worker);
  return { reopenedSteps };
}

/** The worker is no more: what it held is open again, and nothing stays pinned to it. */
export function removeWorker(state: EngineState, turn: Turn, worker: WorkerRecord): void {
  const { connection } = worker;
  forgetWorker(state, worker);
  loseAll(state, turn, worker, 'WORKER_DELETED');
  unpinDeleted(state, turn, worker);
  turn.changes.push({ table: 'workers', worker, deleted: true });
  if (connection !== null) {
    turn.effects.push({ kind: 'evict', connection, reason: 'DELETED', message: `worker "${worker.name}" was deleted` });
  }
}

/** What waits for it alone waits in vain; what only preferred it looks for another one. */
function unpinDeleted(state: EngineState, turn: Turn, worker: WorkerRecord): void {
  for (const run of [...(state.pinnedRuns.get(worker.workerId) ?? [])]) {
    if (run.sticky !== 'HARD') {
      setPin(state, turn, run, null);
      continue;
    }
    for (const step of run.steps) {
      if (step.state === 'PENDING' || step.blockedOn === 'HELD')
        endWaitingStep(state, turn, step, 'FAIL', stickyWorkerDeleted(worker.name));
    }
  }
}

function forgetWorker(state: EngineState, worker: WorkerRecord): void {
  state.timers.disarm(worker.graceTimer);
  state.timers.disarm(worker.acceptMissedTimer);
  if (worker.connection !== null) state.workersByConnection.delete(worker.connection);
  worker.connection = null;
  worker.sessionHash = null;
  forgetActions(state, worker);
  worker.actions = sharedActions([]);
  state.workers.delete(worker.workerId);
  state.workersByName.delete(nameKey(worker.namespace, worker.name));
  state.displayNames.delete(nameKey(worker.namespace, worker.displayName));
}
