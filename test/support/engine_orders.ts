/** What may be ordered of a plane, as random data. Numbers choose among what is there when the order comes. */
import fc from 'fast-check';
import type { RunOrder, StepOrder, StickyOrder, Value, Wish } from './engine_wishes.ts';

type StepDraft = Omit<StepOrder, 'name' | 'needs'>;

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

export interface WorkerDraft {
  readonly name: number;
  readonly tags: readonly string[];
  readonly labels: readonly (readonly [string, Value])[];
  readonly actions: readonly string[];
  readonly slots: number;
}

export interface FlowDraft {
  readonly steps: readonly StepOrder[];
  readonly sticky: StickyOrder;
}

// Fractions of milliseconds, each kind its own: then no two deadlines fall together whose order would matter.
const SCHEDULE_MS = [0, 0, 2_000 + 1 / 2048, 20_000 + 1 / 2048];
const EXECUTION_MS = [null, null, 5_000 + 1 / 4096];
const BACKOFF_MS = [0, 700 + 1 / 8192];

export const labelEntry = fc.oneof(
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

export const runsOn = fc.constantFrom<string[]>([], [], [], [], ['gpu'], ['gpu'], ['a100', 'gpu'], ['cpu']);

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
const flowOf = (step: fc.Arbitrary<StepDraft>, bits: fc.Arbitrary<number>): fc.Arbitrary<FlowDraft> =>
  fc
    .record({
      steps: fc.array(fc.tuple(step, bits), { minLength: 2, maxLength: 5 }),
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

const anyBits = fc.nat({ max: 15 });
const pin = fc.oneof({ weight: 3, arbitrary: fc.constant(null) }, { weight: 1, arbitrary: fc.nat() });

/** What the runs of a life, its workflows and its workers are like. */
export interface World {
  readonly draft: fc.Arbitrary<Draft>;
  readonly flow: fc.Arbitrary<FlowDraft>;
  readonly worker: fc.Arbitrary<WorkerDraft>;
}

/** Everything may be asked for, and only some workers have it. */
export const WIDE: World = {
  flow: flowOf(flowStep, anyBits),
  worker: fc.record({
    name: fc.nat(),
    tags: fc.constantFrom<string[]>([], [], ['gpu'], ['a100', 'gpu'], ['cpu']),
    labels: fc.array(labelEntry, { maxLength: 3 }),
    actions,
    slots: fc.constantFrom(1, 1, 2, 3),
  }),
  draft: fc.record({
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
    pin,
    key: fc.oneof(
      fc.constant(null),
      fc.record({ key: fc.constantFrom('data', 'disk'), limit: fc.constantFrom(1, 1, 2) }),
    ),
    dependsOn: fc.oneof(
      { weight: 4, arbitrary: fc.constant([]) },
      { weight: 1, arbitrary: fc.array(fc.nat({ max: 2 }), { minLength: 1, maxLength: 2 }) },
    ),
  }),
};

const narrowStep: fc.Arbitrary<StepDraft> = fc.record({
  ...LIMITS_OF_A_STEP,
  action: fc.constantFrom('build', 'train'),
  runsOn: fc.constant([]),
  wishes: fc.constant([]),
});

/** Only actions tell workers apart: nearly everything is possible, and stands in the way of something else. */
export const NARROW: World = {
  flow: flowOf(narrowStep, fc.oneof(fc.constant(0), anyBits)),
  worker: fc.record({
    name: fc.nat(),
    tags: fc.constant([]),
    labels: fc.constant([]),
    actions: fc.constantFrom(['build'], ['train'], ['build', 'train']),
    slots: fc.constantFrom(1, 1, 2),
  }),
  draft: fc.record({
    namespace: fc.constant('default'),
    workflow: fc.oneof(fc.constant(null), fc.nat()),
    step: narrowStep,
    runsOn: fc.constant([]),
    wishes: fc.constant([]),
    priority: fc.constantFrom(2, 2, 3),
    sticky: fc.oneof(fc.constant(null), sticky),
    pin,
    key: fc.constantFrom(null, { key: 'data', limit: 1 }, { key: 'data', limit: 1 }, { key: 'data', limit: 2 }),
    dependsOn: fc.oneof(fc.constant([]), fc.array(fc.nat({ max: 2 }), { minLength: 1, maxLength: 1 })),
  }),
};

/** Anybody may take anything, and the optional labels say who is to. */
export const CHOOSY: World = {
  ...NARROW,
  worker: fc.record({
    name: fc.nat(),
    tags: fc.constantFrom<string[]>([], [], ['gpu']),
    labels: fc.array(labelEntry, { maxLength: 4 }),
    actions: fc.constant(['build', 'train', 'paint']),
    slots: fc.constantFrom(1, 2, 2),
  }),
  draft: fc.record({
    namespace: fc.constant('default'),
    workflow: fc.constant(null),
    step: fc.record({
      ...LIMITS_OF_A_STEP,
      action: fc.constant('build'),
      runsOn: fc.constant([]),
      wishes: fc.oneof(dilemma, fc.array(wish, { maxLength: 3 })),
    }),
    runsOn: fc.constantFrom<string[]>([], [], ['gpu']),
    wishes: fc.constant([]),
    priority: fc.constantFrom(2, 2, 3),
    sticky: fc.constantFrom<StickyOrder>('NONE', 'SOFT'),
    pin,
    key: fc.constant(null),
    dependsOn: fc.constant([]),
  }),
};
