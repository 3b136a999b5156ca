/**
 * Which output of which step is taken. A step that runs again, because its output was reported invalid, makes the next
 * generation of it; only who reported takes that one, everybody else keeps what they were given.
 */
import type { InvalidInput, RunRecord, StepRecord } from './state.ts';

export const FIRST_GENERATION = 1;

/** Generation of the output that the step takes of its need at this place of the run. */
function takenGeneration(step: StepRecord, place: number): number {
  return step.invalidInput?.takes.get(place) ?? FIRST_GENERATION;
}

/** The step has made the output of this generation. */
function hasMade(need: StepRecord, generation: number): boolean {
  return need.generation > generation || (need.generation === generation && need.state === 'SUCCEEDED');
}

export function needsOf(step: StepRecord): readonly number[] {
  return step.run.workflow?.graph.needs[step.index] ?? [];
}

/** The needs whose outputs the step still waits for. */
export function openNeeds(step: StepRecord): StepRecord[] {
  const needs: StepRecord[] = [];
  for (const place of needsOf(step)) {
    const need = step.run.steps[place] as StepRecord;
    if (!hasMade(need, takenGeneration(step, place))) needs.push(need);
  }
  return needs;
}

export function countOpenNeeds(run: RunRecord): void {
  for (const step of run.steps) step.openNeeds = openNeeds(step).length;
}

/** Whether the step waits for what `need` is making now, rather than for what it made before. */
export function takesWhatIsMade(step: StepRecord, need: StepRecord): boolean {
  return takenGeneration(step, need.index) === need.generation;
}

/** Generations of needed outputs by step name, where it is not the first; null: it is, of all of them. */
export function laterGenerations(step: StepRecord): ReadonlyMap<string, number> | null {
  const { invalidInput, run } = step;
  if (invalidInput === null || invalidInput.takes.size === 0) return null;
  const { steps } = run;
  return new Map([...invalidInput.takes].map(([place, generation]) => [nameAt(steps, place), generation]));
}

function nameAt(steps: readonly StepRecord[], place: number): string {
  return steps[place]?.definition.name ?? '';
}

/** What is kept of reports about the step's input; made when there is nothing yet. */
export function invalidInputOf(step: StepRecord): InvalidInput {
  step.invalidInput ??= { reports: 0, reporters: new Set(), takes: new Map(), outputBytes: new Map() };
  return step.invalidInput;
}

/** What was reported counts no more: the input is another one, or all begins anew. */
export function forgetReports({ invalidInput }: StepRecord): void {
  if (invalidInput === null) return;
  invalidInput.reports = 0;
  invalidInput.reporters.clear();
}

/** UTF-8 bytes of the output of `need` that the step takes. */
export function takenBytes(step: StepRecord, need: StepRecord): number {
  return need.invalidInput?.outputBytes.get(takenGeneration(step, need.index)) ?? need.outputBytes;
}

/** Only the first output is in the step's own row, and in its own field. */
export function rememberBytes(step: StepRecord, bytes: number): void {
  if (step.generation === FIRST_GENERATION) step.outputBytes = bytes;
  else invalidInputOf(step).outputBytes.set(step.generation, bytes);
}

/** As it is stored. Steps are named, as their places are a matter of memory. */
interface StoredInvalidInput {
  readonly reports: number;
  readonly reporters: readonly string[];
  readonly takes: readonly (readonly [stepName: string, generation: number])[];
  readonly outputBytes: readonly (readonly [generation: number, bytes: number])[];
}

export function invalidInputJson(step: StepRecord): string | null {
  const { invalidInput } = step;
  if (invalidInput === null) return null;
  const stored: StoredInvalidInput = {
    reports: invalidInput.reports,
    reporters: [...invalidInput.reporters],
    takes: [...(laterGenerations(step) ?? [])],
    outputBytes: [...invalidInput.outputBytes],
  };
  return JSON.stringify(stored);
}

export function restoreInvalidInput(step: StepRecord, json: string | null): void {
  if (json === null) return;
  const { reports, reporters, takes, outputBytes } = JSON.parse(json) as StoredInvalidInput;
  const places = new Map(needsOf(step).map((place) => [nameAt(step.run.steps, place), place]));
  step.invalidInput = {
    reports,
    reporters: new Set(reporters),
    takes: new Map(takes.map(([name, generation]) => [places.get(name) ?? -1, generation])),
    outputBytes: new Map(outputBytes),
  };
}

/** How often the step's input was reported, from what is stored. */
export function storedReports(json: string | null): number {
  return json === null ? 0 : (JSON.parse(json) as StoredInvalidInput).reports;
}
