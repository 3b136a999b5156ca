/** What workers have in common is kept once: most of a fleet lists the same actions, and much of what it has is empty. */
import type { DevicesInUse } from '../domain/devices.ts';
import type { Labels } from '../domain/labels.ts';

/** With more different lists than this, remembering them helps nobody. */
const LISTS_MAX = 1_000;

const NO_TEXTS: ReadonlySet<string> = new Set();
const NO_LABELS: Labels = new Map();
export const NO_DEVICES_IN_USE: DevicesInUse = { gpuIds: NO_TEXTS, cpus: 0 };

const lists = new Map<string, ReadonlySet<string>>();

/** Equal lists give the same set; nobody may change it. Outside the state: whether two share one is nothing that anybody can tell. */
export function sharedActions(actions: readonly string[]): ReadonlySet<string> {
  const key = JSON.stringify(actions);
  let shared = lists.get(key);
  if (shared === undefined) {
    if (lists.size === LISTS_MAX) lists.clear();
    shared = new Set(actions);
    lists.set(key, shared);
  }
  return shared;
}

/** Its tags are often its own, so only having none is shared. */
export function tagSetOf(tags: readonly string[]): ReadonlySet<string> {
  return tags.length === 0 ? NO_TEXTS : new Set(tags);
}

export function sharedLabels(labels: Labels): Labels {
  return labels.size === 0 ? NO_LABELS : labels;
}
