/** Runs: scheduling them, and what is read of them. */
import { isRefusal, type Refusal, refuse } from '../domain/refusal.ts';
import { stepEnded } from '../domain/step.ts';
import type { CommandOf, LiveStep, ResultOf, RunDraft, ScheduledRun, StoredSuccess, Warning } from './commands.ts';
import { dependencyStates, dependOn, failByDependency } from './dependencies.ts';
import { arrive } from './equal.ts';
import { awaitEquals, equalKeyOf } from './equal_records.ts';
import { checkRunsOn, indexPin } from './pins.ts';
import type { RunFields } from './run_record.ts';
import { newRun } from './run_terms.ts';
import { sharedDefinition, sharedDesired, sharedMetadata, sharedRunIds, sharedTags } from './shared.ts';
import { type EngineState, type NamespaceRecord, nameKey, type RunRecord, type WorkflowRecord } from './state.ts';
import { startStep } from './steps.ts';
import { countLiveRun } from './totals.ts';
import { hasStepRows, type Turn } from './turn.ts';
import { blockedReason, progressOf, runView } from './views.ts';
import { definitionWarnings } from './warnings.ts';
import { unknownNamespace } from './workers.ts';
import { chosenWorkflow } from './workflows.ts';

/** All or nothing: the first run that cannot be taken refuses the whole batch, before anything has changed. */
export function scheduleRuns(
  state: EngineState,
  turn: Turn,
  command: CommandOf<'schedule_runs'>,
): (() => ResultOf<'schedule_runs'>) | Refusal {
  const seen = new Map<string, RunDraft>();
  const plans: Plan[] = [];
  for (const draft of command.runs) {
    const plan = planOf(state, seen, draft);
    if (isRefusal(plan)) return { ...plan, metadata: { ...plan.metadata, run_index: String(plans.length) } };
    plans.push(plan);
    if (draft.requestId !== '') seen.set(nameKey(draft.namespace, draft.requestId), draft);
  }
  const scheduled = plans.map((plan) => scheduleOne(state, turn, plan, command.idsOnly ?? false));
  // The answer shows the runs as they are once everything has been matched.
  return () => scheduled.map((finish) => finish());
}

/** A draft that was found good, with everything it names. */
interface Plan {
  readonly draft: RunDraft;
  /** It was submitted before, or earlier in this very batch. */
  readonly isRepeated: boolean;
  readonly workflow: WorkflowRecord | null;
  readonly dependencies: ReturnType<typeof dependencyStates> & object;
}

function planOf(state: EngineState, seen: ReadonlyMap<string, RunDraft>, draft: RunDraft): Plan | Refusal {
  const { namespace } = draft;
  if (!state.namespaces.has(namespace)) return unknownNamespace(namespace);
  const key = nameKey(namespace, draft.requestId);
  const earlier =
    draft.requestId === ''
      ? null
      : (seen.get(key) ?? state.runsByRequest.get(namespace, draft.requestId) ?? draft.known);
  if (earlier !== null && earlier.requestDigest !== draft.requestDigest) return requestIdReused(draft, earlier.runId);
  // What was submitted before is only found again: what it names may be gone by now.
  if (earlier !== null) return { draft, isRepeated: true, workflow: null, dependencies: new Map() };
  const workflow = 'workflow' in draft.what ? chosenWorkflow(state, namespace, draft.what.workflow) : null;
  if (isRefusal(workflow)) return workflow;
  const steps = 'step' in draft.what ? [draft.what.step] : (workflow?.steps ?? []);
  const tooMany = checkRunsOn('runs_on', draft.runsOn, steps, state.limits);
  if (tooMany) return tooMany;
  const dependencies = dependencyStates(state, namespace, draft.dependsOn, draft.storedDependencies);
  if (isRefusal(dependencies)) return dependencies;
  if (draft.pinToWorkerId !== '' && state.workers.get(draft.pinToWorkerId)?.namespace !== namespace) {
    return refuse(
      'WORKER_NOT_FOUND',
      `pin_to_worker_id: "${draft.pinToWorkerId}" does not exist in namespace "${namespace}"`,
      { worker_id: draft.pinToWorkerId },
    );
  }
  return { draft, isRepeated: false, workflow, dependencies };
}

function requestIdReused({ requestId }: RunDraft, runId: string): Refusal {
  return refuse('REQUEST_ID_REUSED', `request_id "${requestId}" was used for run ${runId} with another body`, {
    request_id: requestId,
    run_id: runId,
  });
}

function scheduleOne(state: EngineState, turn: Turn, plan: Plan, idsOnly: boolean): () => ScheduledRun {
  const { draft } = plan;
  if (plan.isRepeated) {
    const known = state.runsByRequest.get(draft.namespace, draft.requestId) ?? draft.known;
    if (known) return () => ({ runId: known.runId, alreadyScheduled: true, view: null, warnings: [] });
  }
  const run = addRun(state, turn, plan);
  const failed = dependOn(state, run, plan.dependencies as ReadonlyMap<string, never>);
  if (failed !== null) failByDependency(state, turn, run, failed.runId, failed.state);
  else begin(state, turn, run, draft.storedSuccess);
  if (idsOnly) return () => ({ runId: run.runId, alreadyScheduled: false, view: null, warnings: [] });
  const warnings = runWarnings(state, run);
  return () => ({ runId: run.runId, alreadyScheduled: false, view: runView(run, draft.inputJson), warnings });
}

/** Starts the run, unless other runs or an equal one come first. Its steps are BLOCKED. */
export function begin(state: EngineState, turn: Turn, run: RunRecord, stored: StoredSuccess | null): void {
  if (run.openDependencies === 0) {
    arrive(state, turn, run, stored);
    return;
  }
  awaitEquals(state, run, stored);
  for (const step of run.steps) if (step.state === 'BLOCKED') startStep(state, turn, step);
}

function addRun(state: EngineState, turn: Turn, plan: Plan): RunRecord {
  const { draft, workflow } = plan;
  const definitions = 'step' in draft.what ? [sharedDefinition(draft.what.step)] : (workflow?.steps ?? []);
  const fields: RunFields = {
    runId: draft.runId,
    namespace: state.namespaces.get(draft.namespace) as NamespaceRecord,
    workflow,
    number: workflow === null ? 0 : nextNumber(state, turn, workflow),
    sticky: draft.sticky ?? workflow?.sticky ?? 'NONE',
    concurrency: draft.concurrency,
    dependsOn: sharedRunIds(draft.dependsOn),
    scheduleTimeoutMs: draft.scheduleTimeoutMs,
    executionTimeoutMs: draft.executionTimeoutMs,
    runsOn: sharedTags(draft.runsOn),
    desired: sharedDesired(draft.desired),
    pinnedWorkerId: draft.pinToWorkerId === '' ? null : draft.pinToWorkerId,
    keptPin: draft.pinToWorkerId === '' ? null : { workerId: draft.pinToWorkerId, sequence: 0 },
    equal: equalKeyOf(draft.contentHash, workflow, 'step' in draft.what ? draft.what.step.action : ''),
    executedBy: null,
    stepBacks: 0,
    failure: null,
    metadata: sharedMetadata(draft.metadata),
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
  const run = newRun(state, fields, definitions, () => turn.ids.orderedId());
  indexRun(state, run);
  countLiveRun(state, run);
  turn.changes.push({ table: 'runs', run, insert: { inputJson: draft.inputJson }, outputJson: null, extent: 'ALL' });
  if (hasStepRows(run)) {
    for (const step of run.steps) turn.changes.push({ table: 'steps', step, insert: true, outputJson: null });
  }
  return run;
}

function nextNumber(state: EngineState, turn: Turn, workflow: WorkflowRecord): number {
  const name = state.workflows.get(nameKey(workflow.namespace, workflow.name));
  if (name === undefined) throw new Error(`workflow "${workflow.name}" has no name record`);
  name.lastNumber += 1;
  turn.changes.push({ table: 'workflow_names', name });
  return name.lastNumber;
}

/** To be called when the run's steps are there. */
export function indexRun(state: EngineState, run: RunRecord): void {
  state.runs.add(run);
  state.runsByRequest.add(run);
  indexPin(state, run);
}

function runWarnings(state: EngineState, run: RunRecord): readonly Warning[] {
  const definitions = run.steps.map((step) => step.definition);
  return definitionWarnings(state, run.namespace.name, definitions, run);
}

export function findRun(state: EngineState, namespace: string, runId: string): RunRecord | Refusal {
  const run = state.runs.get(runId);
  if (run !== undefined && run.namespace.name === namespace) return run;
  return refuse('RUN_NOT_FOUND', `run_id "${runId}" does not exist in namespace "${namespace}", or has ended`, {
    run_id: runId,
  });
}

export function readProgress(state: EngineState, command: CommandOf<'read_progress'>): ResultOf<'read_progress'> {
  const live = new Map<string, LiveStep>();
  for (const step of state.runs.get(command.runId)?.steps ?? []) {
    if (stepEnded(step.state)) continue;
    live.set(step.definition.name, { progress: progressOf(step), blockedReason: blockedReason(step) });
  }
  return live;
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
