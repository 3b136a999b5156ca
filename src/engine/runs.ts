/** Runs: scheduling and cancelling. */
import { demandKey } from '../domain/demand.ts';
import { isRefusal, type Refusal, refuse } from '../domain/refusal.ts';
import { runEnded } from '../domain/run.ts';
import { stepEnded } from '../domain/step.ts';
import { endAssignment } from './assignments.ts';
import type { CommandOf, ResultOf, RunDraft, ScheduledRun, Warning } from './commands.ts';
import {
  createDemand,
  type DemandRecord,
  type EngineState,
  type NamespaceRecord,
  nameKey,
  type RunRecord,
  type StepRecord,
} from './state.ts';
import { endWaitingStep, failureOf, liveSteps, startWaiting, stepHasEnded, updateRun } from './steps.ts';
import { NO_TIMER } from './timers.ts';
import type { Turn } from './turn.ts';
import { runView } from './views.ts';
import { unknownNamespace } from './workers.ts';

/** All or nothing: the first run that cannot be taken refuses the whole batch, before anything has changed. */
export function scheduleRuns(
  state: EngineState,
  turn: Turn,
  command: CommandOf<'schedule_runs'>,
): (() => ResultOf<'schedule_runs'>) | Refusal {
  const seen = new Map<string, RunDraft>();
  for (const draft of command.runs) {
    const refusal = checkDraft(state, seen, draft);
    if (refusal) return refusal;
    if (draft.requestId !== '') seen.set(nameKey(draft.namespace, draft.requestId), draft);
  }
  const scheduled = command.runs.map((draft) => scheduleOne(state, turn, draft));
  // The answer shows the runs as they are once everything has been matched.
  return () => scheduled.map((finish) => finish());
}

function checkDraft(state: EngineState, seen: ReadonlyMap<string, RunDraft>, draft: RunDraft): Refusal | null {
  if (!state.namespaces.has(draft.namespace)) return unknownNamespace(draft.namespace);
  if (draft.requestId === '') return null;
  const key = nameKey(draft.namespace, draft.requestId);
  const earlier = seen.get(key) ?? state.runsByRequest.get(key) ?? draft.known;
  if (earlier === null || earlier.requestDigest === draft.requestDigest) return null;
  return refuse(
    'REQUEST_ID_REUSED',
    `request_id "${draft.requestId}" was used for run ${earlier.runId} with another body`,
    {
      request_id: draft.requestId,
      run_id: earlier.runId,
    },
  );
}

function scheduleOne(state: EngineState, turn: Turn, draft: RunDraft): () => ScheduledRun {
  if (draft.requestId !== '') {
    const known = state.runsByRequest.get(nameKey(draft.namespace, draft.requestId));
    if (known) return () => ({ runId: known.runId, alreadyScheduled: true, view: null, warnings: [] });
    const { known: stored } = draft;
    if (stored) return () => ({ runId: stored.runId, alreadyScheduled: true, view: null, warnings: [] });
  }
  const run = addRun(state, turn, draft);
  for (const step of run.steps) startWaiting(state, turn, step, 'FRESH');
  const warnings = warningsFor(state, run);
  return () => ({ runId: run.runId, alreadyScheduled: false, view: runView(run, draft.inputJson), warnings });
}

function addRun(state: EngineState, turn: Turn, draft: RunDraft): RunRecord {
  const run: RunRecord = {
    runId: draft.runId,
    namespace: state.namespaces.get(draft.namespace) as NamespaceRecord,
    steps: [],
    runsOn: draft.runsOn,
    desired: draft.desired,
    metadata: draft.metadata,
    requestId: draft.requestId,
    requestDigest: draft.requestDigest,
    createMs: turn.nowMs,
    priority: draft.priority,
    state: 'PENDING',
    revision: 1,
    startMs: null,
    endMs: null,
    cancelReason: null,
  };
  run.steps.push(newStep(run, draft.definition, demandOf(state, run, draft.definition)));
  indexRun(state, run);
  turn.changes.push({ table: 'runs', run, insert: { inputJson: draft.inputJson }, outputJson: null });
  return run;
}

export function indexRun(state: EngineState, run: RunRecord): void {
  state.runs.set(run.runId, run);
  if (run.requestId !== '') state.runsByRequest.set(nameKey(run.namespace.name, run.requestId), run);
}

/** A step that is ready and waits; the single step of a run has the run's id. */
export function newStep(run: RunRecord, definition: StepRecord['definition'], demand: DemandRecord): StepRecord {
  return {
    run,
    stepId: run.runId,
    definition,
    state: 'PENDING',
    priority: run.priority,
    readySequence: 0,
    demand,
    queued: false,
    assignment: null,
    failures: 0,
    losses: 0,
    started: false,
    readyMs: null,
    scheduleDeadlineMs: null,
    endMs: null,
    endSequence: 0,
    progress: null,
    failure: null,
    scheduleTimer: NO_TIMER,
    backoffTimer: NO_TIMER,
    reofferTimer: NO_TIMER,
    exclusions: null,
  };
}

/** What the step asks for: its own tags and labels, and the run's. */
export function demandOf(state: EngineState, run: RunRecord, definition: StepRecord['definition']): DemandRecord {
  const spec = {
    namespace: run.namespace.name,
    action: definition.action,
    runsOn: definition.runsOn.length === 0 ? run.runsOn : [...new Set([...run.runsOn, ...definition.runsOn])].sort(),
    desired: definition.desired.length === 0 ? run.desired : [...run.desired, ...definition.desired],
  };
  const key = demandKey(spec);
  return state.demands.get(key) ?? createDemand(run.namespace, spec, key);
}

function warningsFor(state: EngineState, run: RunRecord): Warning[] {
  return run.steps
    .filter((step) => !state.workersListing.has(step.demand.actionKey))
    .map((step) => ({
      reason: 'NO_WORKER_SERVES_ACTION',
      message: `no registered worker serves the action "${step.definition.action}"; the step waits for one`,
    }));
}

function findRun(state: EngineState, namespace: string, runId: string): RunRecord | Refusal {
  const run = state.runs.get(runId);
  if (run !== undefined && run.namespace.name === namespace) return run;
  return refuse('RUN_NOT_FOUND', `run_id "${runId}" does not exist in namespace "${namespace}", or has ended`, {
    run_id: runId,
  });
}

export function cancelRun(
  state: EngineState,
  turn: Turn,
  command: CommandOf<'cancel_run'>,
): ResultOf<'cancel_run'> | Refusal {
  const run = findRun(state, command.namespace, command.runId);
  if (isRefusal(run)) return run;
  const steps =
    command.stepName === '' ? run.steps : run.steps.filter((step) => step.definition.name === command.stepName);
  if (steps.length === 0) {
    return refuse('STEP_NOT_FOUND', `step_name "${command.stepName}" is not a step of run ${run.runId}`, {
      step_name: command.stepName,
    });
  }
  if (runEnded(run.state) && run.state !== 'CANCELLED') {
    return refuse('STEP_STATE', `run ${run.runId} has ended: ${run.state}`, { run_id: run.runId, state: run.state });
  }
  const busy =
    command.mode === 'IF_PENDING' ? run.steps.find((step) => step.started || step.assignment !== null) : undefined;
  if (busy) {
    return refuse(
      'NOT_PENDING',
      `step "${busy.definition.name}" of run ${run.runId} is ${busy.state}: it is or was assigned`,
      {
        run_id: run.runId,
        step_name: busy.definition.name,
        state: busy.state,
      },
    );
  }
  const reason = command.reason === '' ? 'cancelled by request' : command.reason;
  if (command.stepName === '') run.cancelReason ??= reason;
  for (const step of liveSteps(steps)) cancelStep(state, turn, step, reason);
  return { runId: run.runId };
}

function cancelStep(state: EngineState, turn: Turn, step: StepRecord, reason: string): void {
  const failure = failureOf('CANCELLED', reason);
  const { assignment } = step;
  if (assignment === null) {
    endWaitingStep(state, turn, step, 'CANCEL', failure);
  } else if (assignment.acceptMs === null) {
    endAssignment(state, turn, step, { event: 'CANCEL', outcome: 'CANCELLED', failure, fact: null });
    stepHasEnded(state, turn, step, failure);
  } else if (assignment.cancelReason === null) {
    askToStop(state, turn, step, reason);
  }
}

/** A running handler is told to stop, and has a while to say that it did. */
function askToStop(state: EngineState, turn: Turn, step: StepRecord, reason: string): void {
  const { assignment } = step;
  if (assignment === null) return;
  assignment.cancelReason = reason;
  assignment.cancelTimer = state.timers.arm(turn.nowMs + state.times.cancelCloseMs, { kind: 'cancel', step });
  const { connection } = assignment.worker;
  if (connection !== null) {
    turn.effects.push({ kind: 'cancel_step', connection, assignmentId: assignment.assignmentId, reason });
  }
  updateRun(state, turn, step);
}

export function readProgress(state: EngineState, command: CommandOf<'read_progress'>): ResultOf<'read_progress'> {
  const progress = new Map();
  for (const step of state.runs.get(command.runId)?.steps ?? []) {
    if (step.progress !== null && !stepEnded(step.state)) progress.set(step.definition.name, step.progress);
  }
  return progress;
}

export function readQueueDepth(
  state: EngineState,
  command: CommandOf<'read_queue_depth'>,
): ResultOf<'read_queue_depth'> | Refusal {
  if (!state.namespaces.has(command.namespace)) return unknownNamespace(command.namespace);
  const depths = new Map<string, number>(command.actions.map((action) => [action, 0]));
  for (const demand of state.demands.values()) {
    const { namespace, action } = demand.spec;
    if (namespace !== command.namespace || (command.actions.length > 0 && !depths.has(action))) continue;
    depths.set(action, (depths.get(action) ?? 0) + demand.queue.size);
  }
  return depths;
}
