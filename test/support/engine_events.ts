/** What may happen to a plane, as random data. Numbers choose among what is there when the event comes. */
import fc from 'fast-check';
import type { RunOrder, StepOrder, StickyOrder, Value, Wish } from './engine_wishes.ts';

export type StepDraft = Omit<StepOrder, 'name' | 'needs'>;

/** A run to be; what it names is chosen when it comes. */
export interface Draft extends Pick<RunOrder, 'namespace' | 'runsOn' | 'wishes' | 'priority' | 'key'> {
  /** null: a single step, `step`. */
  readonly workflow: number | null;
  readonly step: StepDraft;
  /** null: the workflow's. */
  readonly sticky: StickyOrder | null;
  /** null: not pinned at submission. */
  readonly pin: number | null;
  /** How far back the runs are that it depends on. */
  readonly dependsOn: readonly number[];
}

export interface FlowDraft {
  readonly steps: readonly StepOrder[];
  readonly sticky: StickyOrder;
}

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
  | {
      readonly kind: 'hello';
      readonly name: number;
      readonly tags: readonly string[];
      readonly labels: readonly (readonly [string, Value])[];
      readonly actions: readonly string[];
      readonly slots: number;
    }
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

// Fractions of milliseconds, each kind its own: then no two deadlines fall together whose order would matter.
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
const SCHEDULE_MS = [0, 0, 2_000 + 1 / 2048, 20_000 + 1 / 2048];
const EXECUTION_MS = [null, null, 5_000 + 1 / 4096];
const BACKOFF_MS = [0, 700 + 1 / 8192];

const labelEntry = fc.oneof(
  fc.tuple(fc.constant('memory'), fc.constantFrom<Value>(128, 256, 512)),
  fc.tuple(fc.constant('zone'), fc.constantFrom<Value>('a', 'b')),
  fc.tuple(fc.constant('disk'), fc.constantFrom<Value>(1, 'ssd')),
);

const wishWhat: fc.Arbitrary<Pick<Wish, 'key' | 'comparator' | 'value' | 'values'>> = fc.oneof(
  fc.record({
    key: fc.constant('memory'),
    comparator: fc.constantFrom<Wish['comparator']>('GREATER_THAN', 'LESS_THAN_OR_EQUAL', 'EQUAL', 'NOT_EQUAL'),
    value: fc.constantFrom(128, 256),
    values: fc.constant([]),
  }),
  fc.record({
    key: fc.constantFrom('zone', 'disk'),
    comparator: fc.constantFrom<Wish['comparator']>('EQUAL', 'NOT_EQUAL'),
    value: fc.constantFrom<Value>('a', 'b', 'ssd', 1),
    values: fc.constant([]),
  }),
  fc.record({
    key: fc.constant('zone'),
    comparator: fc.constantFrom<Wish['comparator']>('IN', 'NOT_IN'),
    value: fc.constant(null),
    values: fc.constantFrom(['a'], ['a', 'b']),
  }),
  fc.record({
    key: fc.constant('disk'),
    comparator: fc.constantFrom<Wish['comparator']>('EXISTS', 'NOT_EXISTS'),
    value: fc.constant(null),
    values: fc.constant([]),
  }),
);

const wish: fc.Arbitrary<Wish> = fc
  .tuple(wishWhat, fc.constantFrom(true, false, false), fc.constantFrom(-50, -20, -10, 30, 40, 60))
  .map(([what, required, weight]) => ({ ...what, required, weight }));

// Here the highest weight and the sum of the weights often prefer different workers.
const dilemma: fc.Arbitrary<Wish[]> = fc
  .tuple(fc.constantFrom(60, -10), fc.constantFrom(40, -30), fc.constantFrom(40, -30))
  .map(([memory, zone, disk]) => [
    { key: 'memory', comparator: 'EXISTS', value: null, values: [], required: false, weight: memory },
    { key: 'zone', comparator: 'EQUAL', value: 'a', values: [], required: false, weight: zone },
    { key: 'disk', comparator: 'EXISTS', value: null, values: [], required: false, weight: disk },
  ]);

const actions = fc.constantFrom(['build'], ['train'], ['build', 'train'], ['build', 'train', 'paint']);

const runsOn = fc.constantFrom<string[]>([], [], [], [], ['gpu'], ['gpu'], ['a100', 'gpu'], ['cpu']);

const asked = fc.oneof(
  { weight: 2, arbitrary: fc.constant([]) },
  { weight: 3, arbitrary: fc.array(wish, { minLength: 1, maxLength: 2 }) },
  { weight: 2, arbitrary: dilemma },
);

const LIMITS_OF_A_STEP = {
  scheduleMs: fc.constantFrom(...SCHEDULE_MS),
  executionMs: fc.constantFrom(...EXECUTION_MS),
  attemptsMax: fc.constantFrom(1, 2, 3),
  backoffMs: fc.constantFrom(...BACKOFF_MS),
  lossesMax: fc.constantFrom(-1, 0, 1),
};

const step: fc.Arbitrary<StepDraft> = fc.record({
  action: fc.constantFrom('build', 'build', 'build', 'train', 'train', 'paint'),
  runsOn,
  wishes: asked,
  ...LIMITS_OF_A_STEP,
});

// Steps of a workflow ask for less, or hardly any would get to its end.
const flowStep = fc.record({
  action: fc.constantFrom('build', 'build', 'build', 'train'),
  runsOn: fc.constantFrom<string[]>([], [], [], [], [], ['gpu']),
  wishes: fc.oneof(
    { weight: 4, arbitrary: fc.constant([]) },
    { weight: 1, arbitrary: fc.array(wish, { maxLength: 1 }) },
  ),
  ...LIMITS_OF_A_STEP,
});

const sticky = fc.constantFrom<StickyOrder>('NONE', 'SOFT', 'SOFT', 'HARD', 'HARD');
const STEP_NAMES = ['one', 'two', 'three', 'four', 'five'];

/** A step needs earlier ones, by the bits of a number; the definitions may come in the opposite order. */
const flow: fc.Arbitrary<FlowDraft> = fc
  .record({
    steps: fc.array(fc.tuple(flowStep, fc.nat({ max: 15 })), { minLength: 2, maxLength: 5 }),
    isReversed: fc.boolean(),
    sticky,
  })
  .map(({ steps, isReversed, ...rest }) => {
    const named = steps.map(([what, bits], place) => ({
      ...what,
      name: STEP_NAMES[place] as string,
      needs: STEP_NAMES.slice(0, place).filter((_name, earlier) => ((bits >> earlier) & 1) === 1),
    }));
    return { ...rest, steps: isReversed ? named.reverse() : named };
  });

const draft: fc.Arbitrary<Draft> = fc.record({
  namespace: fc.constantFrom(...Array(9).fill('default'), 'other'),
  workflow: fc.oneof(fc.constant(null), fc.nat()),
  step,
  runsOn,
  wishes: fc.oneof(
    { weight: 3, arbitrary: fc.constant([]) },
    { weight: 1, arbitrary: fc.array(wish, { maxLength: 1 }) },
  ),
  priority: fc.constantFrom(1, 2, 2, 3, 4),
  sticky: fc.oneof(fc.constant(null), sticky),
  pin: fc.oneof({ weight: 3, arbitrary: fc.constant(null) }, { weight: 1, arbitrary: fc.nat() }),
  key: fc.oneof(
    { weight: 1, arbitrary: fc.constant(null) },
    {
      weight: 1,
      arbitrary: fc.record({ key: fc.constantFrom('data', 'disk'), limit: fc.constantFrom(1, 1, 2) }),
    },
  ),
  dependsOn: fc.oneof(
    { weight: 4, arbitrary: fc.constant([]) },
    { weight: 1, arbitrary: fc.array(fc.nat({ max: 2 }), { minLength: 1, maxLength: 2 }) },
  ),
});

const workflow: fc.Arbitrary<Event> = fc.record({ kind: fc.constant('workflow' as const), which: fc.nat(), flow });

const hello: fc.Arbitrary<Event> = fc.record({
  kind: fc.constant('hello' as const),
  name: fc.nat(),
  tags: fc.constantFrom<string[]>([], [], ['gpu'], ['a100', 'gpu'], ['cpu']),
  labels: fc.array(labelEntry, { maxLength: 3 }),
  actions,
  slots: fc.constantFrom(1, 1, 2, 3),
});

const about = (kind: 'disconnect' | 'goodbye' | 'remove' | 'drain' | 'undrain' | FactKind) =>
  fc.record({ kind: fc.constant(kind), which: fc.nat() }) as fc.Arbitrary<Event>;

const event: fc.Arbitrary<Event> = fc.oneof(
  {
    weight: 18,
    arbitrary: fc.record({
      kind: fc.constant('submit' as const),
      runs: fc.array(draft, { minLength: 1, maxLength: 3 }),
    }),
  },
  { weight: 3, arbitrary: hello },
  { weight: 1, arbitrary: workflow },
  {
    weight: 5,
    arbitrary: fc.record({ kind: fc.constant('retry' as const), which: fc.nat(), keepPin: fc.boolean() }),
  },
  {
    weight: 4,
    arbitrary: fc.record({
      kind: fc.constant('edit' as const),
      which: fc.nat(),
      priority: fc.oneof(fc.constant(null), fc.constantFrom(1, 2, 3, 4)),
      runsOn: fc.oneof(fc.constant(null), runsOn),
    }),
  },
  {
    weight: 2,
    arbitrary: fc.record({ kind: fc.constant('resume' as const), which: fc.nat(), forgets: fc.nat({ max: 7 }) }),
  },
  {
    weight: 4,
    arbitrary: fc.record({
      kind: fc.constant('upsert' as const),
      which: fc.nat(),
      patch: fc.array(fc.oneof(labelEntry, fc.tuple(fc.constantFrom('memory', 'zone', 'disk'), fc.constant(null))), {
        maxLength: 3,
      }),
    }),
  },
  {
    weight: 2,
    arbitrary: fc.record({
      kind: fc.constant('slots' as const),
      which: fc.nat(),
      slots: fc.integer({ min: 0, max: 3 }),
    }),
  },
  { weight: 1, arbitrary: fc.record({ kind: fc.constant('mode' as const), strict: fc.boolean() }) },
  {
    weight: 8,
    arbitrary: fc.record({
      kind: fc.constant('pass' as const),
      byMs: fc.constantFrom(1, 100, 600, 1_500, 5_000, 15_000),
    }),
  },
  {
    weight: 3,
    arbitrary: fc.record({ kind: fc.constant('late' as const), which: fc.nat(), about: fc.nat(), fact: fc.nat() }),
  },
  { weight: 9, arbitrary: about('accept') },
  { weight: 4, arbitrary: about('return') },
  { weight: 16, arbitrary: about('finish') },
  { weight: 3, arbitrary: about('succeed') },
  { weight: 3, arbitrary: about('fail') },
  {
    weight: 3,
    arbitrary: fc.record({
      kind: fc.constant('cancel' as const),
      which: fc.nat(),
      step: fc.oneof(fc.constant(null), fc.nat()),
    }),
  },
  { weight: 1, arbitrary: about('confirm_cancel') },
  { weight: 1, arbitrary: about('progress') },
  { weight: 2, arbitrary: about('disconnect') },
  { weight: 1, arbitrary: about('goodbye') },
  { weight: 1, arbitrary: about('remove') },
  { weight: 1, arbitrary: about('drain') },
  { weight: 2, arbitrary: about('undrain') },
);

/** A life of a plane: a few workers and workflows first, then anything. */
export function eventsOf(count: number): fc.Arbitrary<Event[]> {
  const fleet = fc.array(hello, { minLength: 3, maxLength: 5 });
  const flows = fc.array(workflow, { minLength: 2, maxLength: 3 });
  return fc
    .tuple(fleet, flows, fc.array(event, { minLength: count, maxLength: count }))
    .map(([first, then, last]) => [...first, ...then, ...last]);
}
