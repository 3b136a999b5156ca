/** What looks wrong with a workflow or a run that is taken all the same. */
import { needed } from './feasibility.ts';
import { implies, isEmptyRange, type LabelRange, rangesOf } from './label_range.ts';
import type { DesiredLabel } from './labels.ts';
import type { Reason } from './reasons.ts';
import type { Sticky } from './sticky.ts';
import type { TagSet } from './tags.ts';

interface Warning {
  readonly reason: Reason;
  readonly message: string;
}

/** What the rules need to know of a step. */
interface Asking {
  readonly name: string;
  readonly action: string;
  readonly needs: readonly string[];
  readonly runsOn: TagSet;
  readonly desired: readonly DesiredLabel[];
}

interface WarningOptions {
  /** As it will apply. */
  readonly sticky: Sticky;
  /** Of the run, for every step; empty for a workflow. */
  readonly runsOn: TagSet;
  readonly desired: readonly DesiredLabel[];
  /** A worker was named at submission. */
  readonly pinned: boolean;
  /** Whether any registered worker lists the action. */
  readonly isServed: (action: string) => boolean;
}

/** A workflow may have a thousand mistakes of one kind; these are enough to see it. */
const WARNINGS_PER_REASON_MAX = 10;
/** First steps that later ones are compared with. */
const ROOTS_COMPARED_MAX = 16;
/** Conditions that one warning spells out. */
const CONDITIONS_SHOWN_MAX = 4;

/** Everything that looks wrong, in the order of the steps within each reason. Never too many: see the maximum above. */
export function warningsFor(steps: readonly Asking[], options: WarningOptions): Warning[] {
  return [
    ...pinWithoutSticky(options),
    ...contradictions(steps, options),
    ...(options.sticky === 'HARD' ? stickyMismatches(steps, options) : []),
    ...unserved(steps, options),
  ];
}

function pinWithoutSticky({ pinned, sticky }: WarningOptions): Warning[] {
  if (!pinned || sticky !== 'NONE') return [];
  const message = 'pin_to_worker_id has no effect on a run that is not sticky: sticky says how strongly it is pinned';
  return [{ reason: 'PIN_WITHOUT_STICKY', message }];
}

/** Of the run alone once; of a step when it takes the step to make it impossible. */
function contradictions(steps: readonly Asking[], { desired }: WarningOptions): Warning[] {
  const never = impossibleKeys(desired);
  const found: Warning[] = [];
  for (const key of never) found.push(contradiction('the run asks', key, desired));
  for (const step of steps) {
    if (found.length >= WARNINGS_PER_REASON_MAX) break;
    if (step.desired.length === 0) continue;
    const all = withRun(step.desired, desired);
    for (const key of impossibleKeys(all)) {
      if (!never.includes(key)) found.push(contradiction(`step "${step.name}" asks`, key, all));
    }
  }
  return found.slice(0, WARNINGS_PER_REASON_MAX);
}

function impossibleKeys(conditions: readonly DesiredLabel[]): string[] {
  return [...rangesOf(conditions)].filter(([, range]) => isEmptyRange(range)).map(([key]) => key);
}

/** The run's conditions on keys that the step does not name change nothing here. */
function withRun(own: readonly DesiredLabel[], ofRun: readonly DesiredLabel[]): readonly DesiredLabel[] {
  if (ofRun.length === 0) return own;
  const keys = new Set(own.map(({ key }) => key));
  return [...ofRun.filter(({ key }) => keys.has(key)), ...own];
}

function contradiction(who: string, key: string, conditions: readonly DesiredLabel[]): Warning {
  const its = conditions.filter((condition) => condition.required && condition.key === key);
  return {
    reason: 'CONTRADICTORY_LABELS',
    message: `${who} for ${shownTogether(its.map(labelText))}, which no worker can ever have together`,
  };
}

/** A first step and what a worker that takes it is known to have. */
interface Root {
  readonly step: Asking;
  readonly tags: ReadonlySet<string>;
  readonly ranges: ReadonlyMap<string, LabelRange>;
}

/** Whoever takes one of the first steps is to take all others too: what they ask for besides, it may not have. */
function stickyMismatches(steps: readonly Asking[], { runsOn, desired }: WarningOptions): Warning[] {
  if (steps.length < 2) return [];
  const roots = steps
    .filter(({ needs }) => needs.length === 0)
    .slice(0, ROOTS_COMPARED_MAX)
    .map((step) => ({
      step,
      tags: new Set([...runsOn, ...step.runsOn]),
      ranges: rangesOf([...desired, ...step.desired]),
    }));
  const found: Warning[] = [];
  for (const step of steps) {
    if (found.length === WARNINGS_PER_REASON_MAX) break;
    for (const root of roots) {
      const extra = root.step === step ? [] : askedBesides(step, root);
      if (extra.length === 0) continue;
      found.push(mismatch(step, root.step, extra));
      break;
    }
  }
  return found;
}

function askedBesides(step: Asking, root: Root): string[] {
  return [
    ...(step.action === root.step.action ? [] : [`action "${step.action}"`]),
    ...step.runsOn.filter((tag) => !root.tags.has(tag)).map((tag) => `tag "${tag}"`),
    ...step.desired.filter((label) => label.required && !isAsked(root, label)).map(labelText),
  ];
}

function isAsked({ ranges }: Root, label: DesiredLabel): boolean {
  const range = ranges.get(label.key);
  return range !== undefined && implies(range, label);
}

function mismatch(step: Asking, root: Asking, extra: readonly string[]): Warning {
  return {
    reason: 'STICKY_MISMATCH',
    message:
      `step "${step.name}" asks for ${shownTogether(extra)}, which step "${root.name}" does not ask for: ` +
      'sticky HARD keeps both on one worker, and it may not have that',
  };
}

function unserved(steps: readonly Asking[], { isServed }: WarningOptions): Warning[] {
  const actions = new Set(steps.map(({ action }) => action));
  return [...actions]
    .filter((action) => !isServed(action))
    .slice(0, WARNINGS_PER_REASON_MAX)
    .map((action) => ({
      reason: 'NO_WORKER_SERVES_ACTION',
      message: `no registered worker serves the action "${action}"; the step waits for one`,
    }));
}

/** As an explanation shows it. */
function labelText(label: DesiredLabel): string {
  return `label ${label.key} ${needed(label)}`;
}

function shownTogether(conditions: readonly string[]): string {
  const more = conditions.length - CONDITIONS_SHOWN_MAX;
  if (more <= 0) return conditions.join(', ');
  return `${conditions.slice(0, CONDITIONS_SHOWN_MAX).join(', ')} and ${more} more`;
}
