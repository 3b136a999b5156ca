/** What values conditions on one label leave together: found without looking at any worker. */
import { type DesiredLabel, type LabelValue, labelMatches } from './labels.ts';

interface Bound {
  readonly value: number;
  /** The value itself is left out. */
  readonly open: boolean;
}

/** Every way a worker's label may be. Grows smaller with every condition. */
export interface LabelRange {
  absent: boolean;
  /** Only these, when conditions name the values one by one; else `strings` and `numbers` say it. */
  listed: readonly LabelValue[] | null;
  strings: boolean;
  numbers: boolean;
  low: Bound;
  high: Bound;
  readonly excluded: Set<LabelValue>;
}

export function anyLabel(): LabelRange {
  return {
    absent: true,
    listed: null,
    strings: true,
    numbers: true,
    low: { value: Number.NEGATIVE_INFINITY, open: true },
    high: { value: Number.POSITIVE_INFINITY, open: true },
    excluded: new Set(),
  };
}

/** The range that the required ones of these conditions leave of each key they name. */
export function rangesOf(conditions: readonly DesiredLabel[]): Map<string, LabelRange> {
  const ranges = new Map<string, LabelRange>();
  for (const condition of conditions) if (condition.required) narrow(rangeOf(ranges, condition.key), condition);
  return ranges;
}

function rangeOf(ranges: Map<string, LabelRange>, key: string): LabelRange {
  const range = ranges.get(key) ?? anyLabel();
  ranges.set(key, range);
  return range;
}

function narrow(range: LabelRange, condition: DesiredLabel): void {
  if (condition.comparator === 'NOT_EXISTS') {
    range.listed = [];
    return;
  }
  range.absent = false;
  if (range.listed === null) narrowOpen(range, condition);
  // Listed from the start, or since this condition.
  if (range.listed !== null) range.listed = range.listed.filter((value) => matches(value, condition));
}

function narrowOpen(range: LabelRange, condition: DesiredLabel): void {
  const { comparator, value, values } = condition;
  switch (comparator) {
    case 'EQUAL':
    case 'IN':
      range.listed = named(condition).filter((each) => holds(range, each));
      return;
    case 'NOT_EQUAL':
    case 'NOT_IN': {
      const [first] = named(condition);
      if (typeof first === 'string') range.numbers = false;
      else range.strings = false;
      for (const each of value === null ? values : [value]) range.excluded.add(each);
      return;
    }
    case 'GREATER_THAN':
    case 'GREATER_THAN_OR_EQUAL':
      range.strings = false;
      range.low = tighter(range.low, { value: Number(value), open: comparator === 'GREATER_THAN' }, 1);
      return;
    case 'LESS_THAN':
    case 'LESS_THAN_OR_EQUAL':
      range.strings = false;
      range.high = tighter(range.high, { value: Number(value), open: comparator === 'LESS_THAN' }, -1);
      return;
    default:
  }
}

function tighter(a: Bound, b: Bound, sign: 1 | -1): Bound {
  if (a.value === b.value) return a.open ? a : b;
  return (a.value - b.value) * sign > 0 ? a : b;
}

/** The right-hand side, whichever way it is given. */
function named({ value, values }: DesiredLabel): readonly LabelValue[] {
  return value === null ? values : [value];
}

function matches(value: LabelValue, condition: DesiredLabel): boolean {
  return labelMatches(new Map([[condition.key, value]]), condition);
}

/** Whether a worker may have this very value. */
function holds(range: LabelRange, value: LabelValue): boolean {
  if (range.listed !== null) return range.listed.includes(value);
  if (range.excluded.has(value)) return false;
  return typeof value === 'string' ? range.strings : range.numbers && isWithin(range, value);
}

function isWithin({ low, high }: LabelRange, value: number): boolean {
  return (
    (value > low.value || (value === low.value && !low.open)) &&
    (value < high.value || (value === high.value && !high.open))
  );
}

/** No worker can ever have such a label. */
export function isEmptyRange(range: LabelRange): boolean {
  if (range.absent) return false;
  if (range.listed !== null) return range.listed.length === 0;
  return !range.strings && !hasNumbers(range);
}

function hasNumbers(range: LabelRange): boolean {
  const { low, high, numbers } = range;
  if (!numbers) return false;
  // Between two different bounds there are always more numbers than were left out.
  return low.value < high.value || (isWithin(range, low.value) && holds(range, low.value));
}

/** Whether every label of this range meets the condition: asking for it asks for nothing new. */
export function implies(range: LabelRange, condition: DesiredLabel): boolean {
  if (isEmptyRange(range)) return true;
  const { comparator } = condition;
  if (comparator === 'NOT_EXISTS') return !hasValues(range);
  if (range.absent) return false;
  if (range.listed !== null) return range.listed.every((value) => matches(value, condition));
  switch (comparator) {
    case 'EXISTS':
      return true;
    case 'EQUAL':
    case 'IN':
      return !range.strings && isSingle(range) && matches(range.low.value, condition);
    case 'NOT_EQUAL':
    case 'NOT_IN':
      return (
        (typeof named(condition)[0] === 'string' ? !hasNumbers(range) : !range.strings) &&
        named(condition).every((value) => !holds(range, value))
      );
    default:
      return !range.strings && boundImplies(range, condition);
  }
}

function hasValues(range: LabelRange): boolean {
  return range.listed === null ? range.strings || hasNumbers(range) : range.listed.length > 0;
}

function isSingle({ low, high }: LabelRange): boolean {
  return low.value === high.value;
}

function boundImplies({ low, high, excluded }: LabelRange, { comparator, value }: DesiredLabel): boolean {
  const limit = Number(value);
  switch (comparator) {
    case 'GREATER_THAN':
      return low.value > limit || (low.value === limit && (low.open || excluded.has(limit)));
    case 'GREATER_THAN_OR_EQUAL':
      return low.value >= limit;
    case 'LESS_THAN':
      return high.value < limit || (high.value === limit && (high.open || excluded.has(limit)));
    default:
      return high.value <= limit;
  }
}
