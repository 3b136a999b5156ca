/** What is said in the same words is kept once: thousands of waiting runs have the same definition and the same wishes. */
import type { RunRecord, StepDefinition } from './state.ts';

/** With more different ones than this, remembering them helps nobody. */
const SHARED_MAX = 10_000;

const NO_WISHES: RunRecord['desired'] = [];
const NO_TAGS: RunRecord['runsOn'] = [];
const NO_METADATA: RunRecord['metadata'] = {};
const NO_RUNS: RunRecord['dependsOn'] = [];

const definitions = sharing<StepDefinition>();
const wishes = sharing<RunRecord['desired']>();

/** Equal to the given one; nobody may change it. */
export function sharedDefinition(definition: StepDefinition): StepDefinition {
  return definitions(definition);
}

export function sharedDesired(desired: RunRecord['desired']): RunRecord['desired'] {
  return desired.length === 0 ? NO_WISHES : wishes(desired);
}

export function sharedTags(tags: RunRecord['runsOn']): RunRecord['runsOn'] {
  return tags.length === 0 ? NO_TAGS : tags;
}

export function sharedRunIds(runIds: RunRecord['dependsOn']): RunRecord['dependsOn'] {
  return runIds.length === 0 ? NO_RUNS : runIds;
}

export function sharedMetadata(metadata: RunRecord['metadata']): RunRecord['metadata'] {
  for (const _ in metadata) return metadata;
  return NO_METADATA;
}

/** Outside the state: whether two runs share an object is nothing that anybody can tell. */
function sharing<T extends object>(): (value: T) => T {
  const known = new Map<string, T>();
  return (value) => {
    const key = JSON.stringify(value);
    const earlier = known.get(key);
    if (earlier !== undefined) return earlier;
    if (known.size === SHARED_MAX) known.clear();
    known.set(key, value);
    return value;
  };
}
