/**
 * Thousands of runs ask for the same step in the same words, a batch most of all: the words are read once, and with them
 * comes the JSON that each run's digest is made of. Both took a tenth of a submission.
 */
import type { StepDefinition as WireStep } from '../../../gen/yardmaster/v1/run_pb.ts';
import type { Limits } from '../../domain/limits.ts';
import { isRefusal, type Refusal } from '../../domain/refusal.ts';
import type { StepDefinition } from '../../engine/state.ts';
import { readStep } from './step.ts';

/** With more actions than this, remembering them helps nobody. */
const KNOWN_MAX = 1_000;

interface KnownStep {
  readonly wire: WireStep;
  readonly limits: Limits;
  readonly definition: StepDefinition;
}

/** The latest of each action. */
const known = new Map<string, KnownStep>();
const texts = new WeakMap<StepDefinition, string>();

/** Like readStep; who says the same gets the same object, and nobody may change it. */
export function readKnownStep(path: string, wire: WireStep, limits: Limits): StepDefinition | Refusal {
  const latest = known.get(wire.action);
  if (latest !== undefined && latest.limits === limits && isEqual(latest.wire, wire)) return latest.definition;
  const definition = readStep(path, wire, limits);
  if (isRefusal(definition)) return definition;
  if (known.size >= KNOWN_MAX) known.clear();
  known.set(wire.action, { wire, limits, definition });
  return definition;
}

/** The same as JSON.stringify. */
export function definitionJson(definition: StepDefinition): string {
  let text = texts.get(definition);
  if (text === undefined) {
    text = JSON.stringify(definition);
    texts.set(definition, text);
  }
  return text;
}

/** Of messages and what they hold. */
function isEqual(a: unknown, b: unknown): boolean {
  if (a === b) return true;
  if (typeof a !== 'object' || typeof b !== 'object' || a === null || b === null) return false;
  if (Array.isArray(a)) return Array.isArray(b) && a.length === b.length && a.every((item, at) => isEqual(item, b[at]));
  let more = 0;
  for (const key in a) {
    if (!(key in b) || !isEqual(a[key as never], b[key as never])) return false;
    more += 1;
  }
  for (const _ in b) more -= 1;
  return more === 0;
}
