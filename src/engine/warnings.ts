/** What is taken although it looks wrong: said in the answer, as it stands now. */
import type { Sticky } from '../domain/sticky.ts';
import { warningsFor } from '../domain/warnings.ts';
import type { Warning } from './commands.ts';
import { type EngineState, nameKey, type RunRecord, type StepDefinition } from './state.ts';

export function definitionWarnings(
  state: EngineState,
  namespace: string,
  steps: readonly StepDefinition[],
  run: Pick<RunRecord, 'runsOn' | 'desired' | 'pinnedWorkerId'> & { readonly sticky: Sticky },
): readonly Warning[] {
  return warningsFor(steps, {
    sticky: run.sticky,
    runsOn: run.runsOn,
    desired: run.desired,
    pinned: run.pinnedWorkerId !== null,
    isServed: (action) => state.workersListing.has(nameKey(namespace, action)),
  });
}
