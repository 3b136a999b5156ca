/** What a run was asked with, as it is stored: what is as it would be anyway is left out, and most of it is. */
import { MAX_INVALID_REPORTS_DEFAULT, RETRY_DEFAULT } from '../domain/retry.ts';
import type { RunRecord, RunTerms } from './run_record.ts';
import type { StepDefinition } from './state.ts';

/** What the definition column of a run says. */
export interface RunDefinition {
  /** null: it is its workflow's. */
  readonly step: StepDefinition | null;
  readonly desired: RunRecord['desired'];
  readonly scheduleTimeoutMs: number | null;
  readonly executionTimeoutMs: number | null;
}

/** Of a step that says nothing but its name and action. */
const STEP_DEFAULT: Omit<StepDefinition, 'name' | 'action'> = {
  needs: [],
  runsOn: [],
  desired: [],
  scheduleTimeoutMs: null,
  executionTimeoutMs: null,
  progressTimeoutMs: null,
  reconnectGraceMs: null,
  retry: RETRY_DEFAULT,
  device: null,
  maxInvalidReports: MAX_INVALID_REPORTS_DEFAULT,
};

const RUN_DEFAULT: RunDefinition = { step: null, desired: [], scheduleTimeoutMs: null, executionTimeoutMs: null };

interface Texts {
  readonly definition: string;
  readonly metadata: string;
}

/** Runs that were asked alike share their terms, so these are made once for all of them. */
const known = new WeakMap<RunTerms, Texts>();

/** Of the columns that say what the run was asked with. */
export function textsOf(run: RunRecord): Texts {
  const { terms } = run;
  let texts = known.get(terms);
  if (texts === undefined) {
    texts = { definition: definitionText(run), metadata: JSON.stringify(run.metadata) };
    known.set(terms, texts);
  }
  return texts;
}

function definitionText(run: RunRecord): string {
  const step = run.workflow === null ? (run.onlyStep?.definition ?? null) : null;
  const { desired, scheduleTimeoutMs, executionTimeoutMs } = run;
  const own = differing({ desired, scheduleTimeoutMs, executionTimeoutMs }, RUN_DEFAULT);
  return JSON.stringify(step === null ? own : { step: differing(step, STEP_DEFAULT), ...own });
}

function differing(all: object, defaults: object): object {
  const usual = new Map(Object.entries(defaults).map(([key, value]) => [key, JSON.stringify(value)]));
  return Object.fromEntries(Object.entries(all).filter(([key, value]) => JSON.stringify(value) !== usual.get(key)));
}

/** Also as it was stored when everything was, or before a field was added. */
export function readDefinition(json: string): RunDefinition {
  const read = JSON.parse(json) as Partial<RunDefinition>;
  return { ...RUN_DEFAULT, ...read, step: read.step ? completedStep(read.step) : null };
}

/** Definitions stored before a field was added lack it. */
export function completedStep(definition: StepDefinition): StepDefinition {
  return { ...STEP_DEFAULT, ...definition };
}
