/** New records of runs and their steps, with what those that were asked alike share. */
import { demandOf } from './pins.ts';
import { type RunFields, RunRecord, type RunTerms } from './run_record.ts';
import type { DemandRecord, EngineState, StepDefinition, WorkflowRecord } from './state.ts';
import { StepRecord, type StepRole } from './step_record.ts';
import { countNewStep, stepTotalsOf } from './totals.ts';

/** With more different ones than this, remembering them helps nobody. */
const ASKED_MAX = 10_000;
/** Of the same definition and wishes, with different priorities, say. */
const VARIANTS_MAX = 8;

/** What a run was asked with, and what follows from it alone. */
interface Asked {
  readonly terms: RunTerms;
  /** Of its single step; null: it has several, each with a role of its own. */
  readonly role: StepRole | null;
  /** What that step asks for as long as the run has no pin; null: nobody has asked yet. */
  demand: DemandRecord | null;
}

/** By what it is that runs, and by the wishes: both are kept once where they are equal. */
export interface KnownTerms {
  readonly byWhat: Map<StepDefinition | WorkflowRecord, Map<RunTerms['desired'], Asked[]>>;
  /** Of all lists together. */
  count: number;
}

/** A run and its steps, BLOCKED all of them, in no index yet; the single step of a run has the run's id. */
export function newRun(
  state: EngineState,
  fields: RunFields,
  definitions: readonly StepDefinition[],
  newId: (name: string) => string,
): RunRecord {
  const asked = askedOf(state, fields, definitions);
  const run = new RunRecord(asked.terms, fields);
  // Not pushed one by one: a list that grows makes room for sixteen more.
  run.steps = definitions.map((definition, index) => {
    const role = asked.role ?? roleOf(state, asked.terms, definition, index, newId(definition.name));
    const openNeeds = run.workflow?.graph.needs[index]?.length ?? 0;
    const step = new StepRecord(run, role, firstDemand(state, run, role, asked), openNeeds);
    countNewStep(step);
    return step;
  });
  return run;
}

function firstDemand(state: EngineState, run: RunRecord, { definition }: StepRole, asked: Asked): DemandRecord {
  if (asked.role === null || run.pinnedWorkerId !== null) return demandOf(state, run, definition);
  asked.demand ??= demandOf(state, run, definition);
  return state.demands.get(asked.demand.key) ?? asked.demand;
}

function askedOf(state: EngineState, fields: RunFields, definitions: readonly StepDefinition[]): Asked {
  const [only] = definitions;
  const what = fields.workflow ?? only;
  // What is one run's own is not looked for in others.
  if (what === undefined || !isCommon(fields)) return newAsked(state, fields, definitions);
  const variants = variantsOf(state.knownTerms, what, fields.desired);
  const known = variants.find((variant) => isAskedAlike(variant, fields));
  if (known !== undefined) return known;
  const asked = newAsked(state, fields, definitions);
  if (variants.length === VARIANTS_MAX) variants.shift();
  else state.knownTerms.count += 1;
  variants.push(asked);
  return asked;
}

function variantsOf(known: KnownTerms, what: StepDefinition | WorkflowRecord, desired: RunTerms['desired']): Asked[] {
  if (known.count >= ASKED_MAX) {
    known.byWhat.clear();
    known.count = 0;
  }
  let byWishes = known.byWhat.get(what);
  if (byWishes === undefined) {
    byWishes = new Map();
    known.byWhat.set(what, byWishes);
  }
  let variants = byWishes.get(desired);
  if (variants === undefined) {
    variants = [];
    byWishes.set(desired, variants);
  }
  return variants;
}

function isCommon({ concurrency, dependsOn, equal }: RunFields): boolean {
  return concurrency === null && dependsOn.length === 0 && equal === null;
}

function isAskedAlike({ terms, role }: Asked, fields: RunFields): boolean {
  return (
    terms.namespace === fields.namespace &&
    terms.priority === fields.priority &&
    terms.sticky === fields.sticky &&
    terms.scheduleTimeoutMs === fields.scheduleTimeoutMs &&
    terms.executionTimeoutMs === fields.executionTimeoutMs &&
    terms.runsOn === fields.runsOn &&
    terms.metadata === fields.metadata &&
    // The namespace's own time may be another by now.
    (role === null || role.scheduleTimeoutMs === waitOf(fields, role.definition))
  );
}

function newAsked(state: EngineState, fields: RunFields, definitions: readonly StepDefinition[]): Asked {
  const { namespace, workflow, sticky, concurrency, dependsOn, scheduleTimeoutMs, executionTimeoutMs } = fields;
  const { runsOn, desired, equal, metadata, priority } = fields;
  const terms: RunTerms = {
    namespace,
    workflow,
    sticky,
    concurrency,
    dependsOn,
    scheduleTimeoutMs,
    executionTimeoutMs,
    runsOn,
    desired,
    equal,
    metadata,
    priority,
  };
  const [only] = definitions;
  const role = definitions.length === 1 && only !== undefined ? roleOf(state, terms, only, 0, null) : null;
  return { terms, role, demand: null };
}

function roleOf(
  state: EngineState,
  terms: RunTerms,
  definition: StepDefinition,
  index: number,
  stepId: string | null,
): StepRole {
  const { namespace, workflow } = terms;
  const totals = stepTotalsOf(state, namespace.name, workflow?.name ?? '', definition.action);
  return { definition, index, totals, stepId, scheduleTimeoutMs: waitOf(terms, definition) };
}

/** How long a step waits for a worker; 0: for ever. */
export function waitOf(
  { scheduleTimeoutMs, namespace }: Pick<RunTerms, 'scheduleTimeoutMs' | 'namespace'>,
  definition: StepDefinition,
): number {
  return definition.scheduleTimeoutMs ?? scheduleTimeoutMs ?? namespace.scheduleTimeoutMs;
}
