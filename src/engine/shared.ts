/** What is said in the same words is kept once: thousands of waiting runs have the same definition and the same wishes. */
import type { RunRecord, StepDefinition } from './state.ts';

/** With more different ones than this, remembering them helps nobody. */
const SHARED_MAX = 10_000;
/** Of those that a short look cannot tell apart. */
const ALIKE_MAX = 16;

const NO_WISHES: RunRecord['desired'] = [];
const NO_TAGS: RunRecord['runsOn'] = [];
const NO_METADATA: RunRecord['metadata'] = {};
const NO_RUNS: RunRecord['dependsOn'] = [];

const definitions = sharing<StepDefinition>(
  ({ action, name, scheduleTimeoutMs, executionTimeoutMs }) =>
    `${action} ${name} ${scheduleTimeoutMs} ${executionTimeoutMs}`,
);
const wishes = sharing<RunRecord['desired']>((all) => `${all[0]?.key} ${all[0]?.value} ${all.length}`);

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

/**
 * Outside the state: whether two runs share an object is nothing that anybody can tell. Compared field by field: as JSON
 * they took a quarter of the time of a submission.
 */
function sharing<T extends object>(glanceOf: (value: T) => string): (value: T) => T {
  const known = new Map<string, T[]>();
  return (value) => {
    const glance = glanceOf(value);
    let alike = known.get(glance);
    if (alike === undefined) {
      if (known.size === SHARED_MAX) known.clear();
      alike = [];
      known.set(glance, alike);
    }
    for (const earlier of alike) if (isEqual(earlier, value)) return earlier;
    if (alike.length === ALIKE_MAX) alike.shift();
    alike.push(value);
    return value;
  };
}

/** Of plain values, as they come from messages: lists, objects and what they hold. */
function isEqual(a: unknown, b: unknown): boolean {
  if (a === b) return true;
  if (typeof a !== 'object' || typeof b !== 'object' || a === null || b === null) return false;
  if (Array.isArray(a)) return Array.isArray(b) && a.length === b.length && a.every((one, at) => isEqual(one, b[at]));
  let keys = 0;
  for (const key in a) {
    if (!(key in b) || !isEqual(a[key as never], b[key as never])) return false;
    keys += 1;
  }
  for (const _ in b) keys -= 1;
  return keys === 0;
}
