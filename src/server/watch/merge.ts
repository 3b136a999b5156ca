/** A watched run, complete: what was read of it, and what pictures say since. Pure. */
import type { Progress } from '../../engine/state.ts';
import type { AttemptView, RunView, StepView } from '../../engine/views.ts';
import type { RunPicture } from './pictures.ts';

/** The run after `picture`; null when that says nothing that `known` does not. */
export function mergeRun(known: RunView, picture: RunPicture): RunView | null {
  return picture.kind === 'changed' ? mergeChange(known, picture) : mergeProgress(known, picture);
}

function mergeChange(known: RunView, picture: RunPicture & { kind: 'changed' }): RunView | null {
  const { view, ended, outputs } = picture;
  if (view.revision <= known.revision) return null;
  const before = new Map(known.steps.map((step) => [step.name, step]));
  const steps = view.steps.map((step) =>
    mergeStep(step, before.get(step.name), ended.get(step.name) ?? [], outputs.get(step.name)),
  );
  return { ...view, inputJson: known.inputJson, steps };
}

function mergeStep(
  step: StepView,
  before: StepView | undefined,
  ended: readonly AttemptView[],
  output: string | undefined,
): StepView {
  const succeeded = step.state === 'SUCCEEDED';
  // By id, so that an attempt that has ended takes the place of the same one under way.
  const attempts = new Map<string, AttemptView>();
  for (const attempt of [...(before?.attempts ?? []), ...ended]) {
    if (attempt.outcome !== '') attempts.set(attempt.assignmentId, attempt);
  }
  for (const current of step.attempts) {
    attempts.set(current.assignmentId, succeeded ? { ...current, endMs: step.endMs, outcome: 'SUCCEEDED' } : current);
  }
  return {
    ...step,
    attempts: [...attempts.values()],
    outputJson: output ?? (succeeded ? (before?.outputJson ?? '') : ''),
  };
}

function mergeProgress(known: RunView, picture: RunPicture & { kind: 'progressed' }): RunView | null {
  // Of an older state it is no news; of a newer one it comes after the picture of that state.
  if (picture.revision !== known.revision) return null;
  let changed = false;
  const steps = known.steps.map((step) => {
    const progress = picture.progress.get(step.name);
    if (progress === undefined || sameProgress(progress, step.progress)) return step;
    changed = true;
    return { ...step, progress };
  });
  return changed ? { ...known, steps } : null;
}

function sameProgress(a: Progress, b: Progress | null): boolean {
  return b !== null && a.text === b.text && a.phase === b.phase && a.fraction === b.fraction;
}
