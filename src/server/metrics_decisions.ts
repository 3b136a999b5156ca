/** What one command did that is counted: read from the engine before and after it, told once it is committed. */

import { isRefusal } from '../domain/refusal.ts';
import { runEnded } from '../domain/run.ts';
import type { Command } from '../engine/commands.ts';
import type { Outcome } from '../engine/engine.ts';
import type { EngineState } from '../engine/state.ts';
import type { Meters } from './meters.ts';

export interface Before {
  readonly assignSequence: number;
  readonly endSequence: number;
}

export function beforeCommand(state: EngineState): Before {
  return { assignSequence: state.assignSequence, endSequence: state.endSequence };
}

/** Records change with later commands, so they are read now; `tell` is for the time of the commit. */
export function countDecision(
  state: EngineState,
  before: Before,
  command: Command,
  outcome: Outcome<unknown>,
  meters: Meters,
): () => void {
  const told: (() => void)[] = [];
  const assigned = state.assignSequence - before.assignSequence;
  if (assigned > 0) told.push(() => meters.assigned(assigned));
  if (state.endSequence > before.endSequence) {
    for (const runState of endedRuns(before, outcome)) told.push(() => meters.runEnded(runState));
  }
  if (command.kind === 'accept_step' && !isRefusal(outcome.result) && outcome.changes.length > 0) {
    const step = state.assignments.get(command.assignmentId);
    const acceptMs = step?.assignment?.acceptMs;
    if (step?.assignment && acceptMs !== null && acceptMs !== undefined) {
      const sinceAssignMs = acceptMs - step.assignment.assignMs;
      const sinceSubmissionMs = step.run.startMs === acceptMs ? acceptMs - step.run.createMs : null;
      told.push(() => meters.accepted(sinceAssignMs, sinceSubmissionMs));
    }
  }
  if (told.length === 0) return NOTHING;
  return () => {
    for (const tell of told) tell();
  };
}

const NOTHING = () => {};

/** Each once, however often the command changed it. One that had ended before has no step that ended just now. */
function endedRuns(before: Before, { changes }: Outcome<unknown>) {
  const runs = new Set(changes.flatMap((change) => (change.table === 'runs' ? [change.run] : [])));
  return [...runs]
    .filter(({ state, steps }) => runEnded(state) && steps.some(({ endSequence }) => endSequence > before.endSequence))
    .map(({ state }) => state);
}
