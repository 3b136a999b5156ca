/**
 * What a command has changed, as watchers see it: taken when the engine has applied it, shown when it is committed. A
 * picture is of that moment; memory may be ahead of it by the time it is shown.
 */
import { isRefusal } from '../../domain/refusal.ts';
import type { Command } from '../../engine/commands.ts';
import type { Outcome } from '../../engine/engine.ts';
import { followersOf } from '../../engine/equal_records.ts';
import type { EngineState, Progress, RunRecord, StepRecord } from '../../engine/state.ts';
import {
  type AttemptView,
  progressOf,
  type RunView,
  runView,
  type WorkerView,
  workerView,
} from '../../engine/views.ts';
import { endedAttempt } from '../../store/queries/run_row.ts';

export type RunPicture =
  | {
      readonly kind: 'changed';
      /** As memory knows the run: without its input, its outputs and earlier attempts. */
      readonly view: RunView;
      /** Attempts this command ended, by name of the step. */
      readonly ended: ReadonlyMap<string, readonly AttemptView[]>;
      /** Outputs this command brought, by name of the step. */
      readonly outputs: ReadonlyMap<string, string>;
    }
  /** Progress is no change of the run: the revision is the one it belongs to. */
  | { readonly kind: 'progressed'; readonly revision: number; readonly progress: ReadonlyMap<string, Progress> };

export type WorkerPicture =
  | { readonly kind: 'changed'; readonly worker: WorkerView }
  | { readonly kind: 'deleted'; readonly workerId: string };

interface Draft {
  readonly run: RunRecord;
  readonly ended: Map<string, AttemptView[]>;
  readonly outputs: Map<string, string>;
}

/** Of the runs that somebody watches, by run id. */
export function runPictures(
  state: EngineState,
  command: Command,
  { result, changes }: Outcome<unknown>,
  isWatched: (runId: string) => boolean,
): Map<string, RunPicture> {
  const drafts = new Map<string, Draft>();
  for (const change of changes) {
    if (change.table !== 'runs' && change.table !== 'steps') continue;
    // A run of one step shares its row with that step.
    const { run, step } =
      change.table === 'runs' ? { run: change.run, step: change.run.steps[0] } : ofStep(change.step);
    if (!isWatched(run.runId)) continue;
    const draft = drafts.get(run.runId) ?? { run, ended: new Map(), outputs: new Map() };
    drafts.set(run.runId, draft);
    if (change.outputJson !== null && step !== undefined) draft.outputs.set(step.definition.name, change.outputJson);
  }
  for (const change of changes) {
    if (change.table !== 'attempts') continue;
    const { run_id, step_name } = change.attempt;
    const ended = drafts.get(run_id)?.ended;
    ended?.set(step_name, [...(ended.get(step_name) ?? []), endedAttempt(change.attempt)]);
  }
  const pictures = new Map<string, RunPicture>();
  for (const [runId, { run, ended, outputs }] of drafts) {
    pictures.set(runId, { kind: 'changed', view: runView(run, ''), ended, outputs });
  }
  if (!isRefusal(result)) addProgress(state, command, isWatched, pictures);
  return pictures;
}

function ofStep(step: StepRecord) {
  return { run: step.run, step };
}

/** Progress leaves no row, so the command itself is looked at: the one that reports it, and the one that reads it. */
function addProgress(
  state: EngineState,
  command: Command,
  isWatched: (runId: string) => boolean,
  pictures: Map<string, RunPicture>,
): void {
  const run = progressedRun(state, command);
  if (run === undefined) return;
  // Those that follow it show its progress as theirs.
  for (const shown of [run, ...followersOf(state, run)]) {
    if (!isWatched(shown.runId) || pictures.has(shown.runId)) continue;
    const progress = new Map<string, Progress>();
    for (const step of shown.steps) {
      const made = progressOf(step);
      if (made !== null) progress.set(step.definition.name, made);
    }
    pictures.set(shown.runId, { kind: 'progressed', revision: shown.revision, progress });
  }
}

function progressedRun(state: EngineState, command: Command): RunRecord | undefined {
  if (command.kind === 'progress_step') return state.assignments.get(command.assignmentId)?.run;
  return command.kind === 'read_progress' ? state.runs.get(command.runId) : undefined;
}

/** Of the workers in namespaces that somebody watches, with their namespace. */
export function workerPictures(
  state: EngineState,
  { changes, touchedWorkers }: Outcome<unknown>,
  isWatched: (namespace: string) => boolean,
): [namespace: string, WorkerPicture][] {
  const pictures: [string, WorkerPicture][] = [];
  for (const worker of touchedWorkers) {
    if (!isWatched(worker.namespace) || state.workers.get(worker.workerId) !== worker) continue;
    pictures.push([worker.namespace, { kind: 'changed', worker: workerView(worker) }]);
  }
  for (const change of changes) {
    if (change.table !== 'workers' || !change.deleted || !isWatched(change.worker.namespace)) continue;
    pictures.push([change.worker.namespace, { kind: 'deleted', workerId: change.worker.workerId }]);
  }
  return pictures;
}
