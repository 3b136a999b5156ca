/** What may happen to a plane, as random data. Numbers choose among what is there when the event comes. */
import fc from 'fast-check';
import {
  CHOOSY,
  type Draft,
  type FlowDraft,
  labelEntry,
  NARROW,
  runsOn,
  WIDE,
  type WorkerDraft,
  type World,
} from './engine_orders.ts';
import type { Value } from './engine_wishes.ts';

export type Event =
  | { readonly kind: 'submit'; readonly runs: readonly Draft[] }
  | { readonly kind: 'workflow'; readonly which: number; readonly flow: FlowDraft }
  | { readonly kind: 'cancel'; readonly which: number; readonly step: number | null }
  | { readonly kind: 'retry'; readonly which: number; readonly keepPin: boolean }
  | {
      readonly kind: 'edit';
      readonly which: number;
      readonly priority: number | null;
      readonly runsOn: readonly string[] | null;
    }
  | ({ readonly kind: 'hello' } & WorkerDraft)
  | { readonly kind: 'resume'; readonly which: number; readonly forgets: number }
  | { readonly kind: 'upsert'; readonly which: number; readonly patch: readonly (readonly [string, Value | null])[] }
  | { readonly kind: 'slots'; readonly which: number; readonly slots: number }
  | { readonly kind: 'mode'; readonly strict: boolean }
  | { readonly kind: 'pass'; readonly byMs: number }
  | { readonly kind: 'late'; readonly which: number; readonly about: number; readonly fact: number }
  | {
      readonly kind: 'disconnect' | 'goodbye' | 'remove' | 'drain' | 'undrain' | FactKind;
      readonly which: number;
    };

const FACTS = ['finish', 'accept', 'return', 'succeed', 'fail', 'confirm_cancel', 'progress'] as const;
export type FactKind = (typeof FACTS)[number];

export function isFact(kind: Event['kind']): kind is FactKind {
  return FACTS.some((fact) => fact === kind);
}

export const WORKFLOW_NAMES = ['ship', 'train', 'sweep'];
export const WORKER_NAMES = ['alpha', 'beta', 'gamma', 'delta', 'foreigner'];
export const namespaceOf = (name: string) => (name === 'foreigner' ? 'other' : 'default');

// Fractions of milliseconds, as in what is ordered: no two kinds of deadline fall together.
export const EVENT_TIMES = {
  acceptMs: 4_000 + 1 / 8,
  missedPauseMs: 12_000 + 1 / 32,
  graceMs: 9_000 + 1 / 16,
  cancelCloseMs: 3_000 + 1 / 64,
  pauseMs: 1_000 + 1 / 1024,
  pauseMsMax: 5_000 + 1 / 4,
  /** Short: runs are to be retried from memory and from the store. */
  endedInMemoryMs: 10_000,
};

type About = 'disconnect' | 'goodbye' | 'remove' | 'drain' | 'undrain' | FactKind;

function about(kind: About): fc.Arbitrary<Event> {
  return fc.record({ kind: fc.constant(kind), which: fc.nat() });
}

const resume: fc.Arbitrary<Event> = fc.record({
  kind: fc.constant('resume' as const),
  which: fc.nat(),
  forgets: fc.nat({ max: 7 }),
});
const upsert: fc.Arbitrary<Event> = fc.record({
  kind: fc.constant('upsert' as const),
  which: fc.nat(),
  patch: fc.array(fc.oneof(labelEntry, fc.tuple(fc.constantFrom('memory', 'zone', 'disk'), fc.constant(null))), {
    maxLength: 3,
  }),
});
const slots: fc.Arbitrary<Event> = fc.record({
  kind: fc.constant('slots' as const),
  which: fc.nat(),
  slots: fc.integer({ min: 0, max: 3 }),
});
const mode: fc.Arbitrary<Event> = fc.record({ kind: fc.constant('mode' as const), strict: fc.boolean() });
const pass: fc.Arbitrary<Event> = fc.record({
  kind: fc.constant('pass' as const),
  byMs: fc.constantFrom(1, 100, 600, 1_500, 5_000, 15_000),
});
const late: fc.Arbitrary<Event> = fc.record({
  kind: fc.constant('late' as const),
  which: fc.nat(),
  about: fc.nat(),
  fact: fc.nat(),
});
const retry: fc.Arbitrary<Event> = fc.record({
  kind: fc.constant('retry' as const),
  which: fc.nat(),
  keepPin: fc.boolean(),
});
const edit: fc.Arbitrary<Event> = fc.record({
  kind: fc.constant('edit' as const),
  which: fc.nat(),
  priority: fc.oneof(fc.constant(null), fc.constantFrom(1, 2, 3, 4)),
  runsOn: fc.oneof(fc.constant(null), runsOn),
});
const cancel: fc.Arbitrary<Event> = fc.record({
  kind: fc.constant('cancel' as const),
  which: fc.nat(),
  step: fc.oneof(fc.constant(null), fc.nat()),
});

/** How often each kind of event comes, beside the others. */
const WEIGHTS: Readonly<Record<Event['kind'], number>> = {
  submit: 18,
  hello: 3,
  workflow: 1,
  retry: 5,
  edit: 4,
  resume: 2,
  upsert: 4,
  slots: 2,
  mode: 1,
  pass: 8,
  late: 3,
  accept: 9,
  return: 4,
  finish: 16,
  succeed: 3,
  fail: 3,
  cancel: 3,
  confirm_cancel: 1,
  progress: 1,
  disconnect: 2,
  goodbye: 1,
  remove: 1,
  drain: 1,
  undrain: 2,
};

interface Theme {
  readonly world: World;
  /** What comes more or less often than in `WEIGHTS`. */
  readonly weights: Partial<Record<Event['kind'], number>>;
}

const THEMES: readonly Theme[] = [
  { world: WIDE, weights: {} },
  { world: WIDE, weights: {} },
  { world: CHOOSY, weights: { submit: 12, finish: 24, drain: 0 } },
  // Much work that only moves on, and stands in its own way.
  { world: NARROW, weights: { submit: 12, finish: 30, upsert: 0, late: 1 } },
  // Workers that are deleted with what they were given and have not accepted.
  { world: NARROW, weights: { hello: 9, remove: 6, goodbye: 3, accept: 4, upsert: 0 } },
  // Runs that are changed while they wait, ended and begun again.
  { world: NARROW, weights: { cancel: 18, retry: 12, edit: 14, fail: 6, accept: 5, finish: 8, upsert: 0 } },
];

function lifeOf({ world, weights }: Theme, count: number): fc.Arbitrary<Event[]> {
  const hello: fc.Arbitrary<Event> = world.worker.map((worker) => ({ ...worker, kind: 'hello' }));
  const workflow: fc.Arbitrary<Event> = fc.record({
    kind: fc.constant('workflow' as const),
    which: fc.nat(),
    flow: world.flow,
  });
  const submit: fc.Arbitrary<Event> = fc.record({
    kind: fc.constant('submit' as const),
    runs: fc.array(world.draft, { minLength: 1, maxLength: 3 }),
  });
  const named = { submit, hello, workflow, retry, edit, resume, upsert, slots, mode, pass, late, cancel };
  const all = Object.entries({ ...WEIGHTS, ...weights }).map(([kind, weight]) => ({
    weight,
    arbitrary: kind in named ? named[kind as keyof typeof named] : about(kind as About),
  }));
  const event = fc.oneof(...all);
  return fc
    .tuple(
      fc.array(hello, { minLength: 3, maxLength: 5 }),
      fc.array(workflow, { minLength: 2, maxLength: 3 }),
      fc.array(event, { minLength: count, maxLength: count }),
    )
    .map(([fleet, flows, then]) => [...fleet, ...flows, ...then]);
}

/** A life of a plane: a few workers and workflows first, then anything. */
export function eventsOf(count: number): fc.Arbitrary<Event[]> {
  return fc.oneof(...THEMES.map((theme) => lifeOf(theme, count)));
}
