/** What is ordered of the naive plane, and desired labels as it reads them: a comparison of its own, not the one under test. */

export type Value = string | number;

export interface Wish {
  readonly key: string;
  readonly comparator:
    | 'EQUAL'
    | 'NOT_EQUAL'
    | 'GREATER_THAN'
    | 'LESS_THAN_OR_EQUAL'
    | 'IN'
    | 'NOT_IN'
    | 'EXISTS'
    | 'NOT_EXISTS';
  readonly value: Value | null;
  readonly values: readonly Value[];
  readonly required: boolean;
  readonly weight: number;
}

export type StickyOrder = 'NONE' | 'SOFT' | 'HARD';

export interface StepOrder {
  readonly name: string;
  readonly action: string;
  /** Names of other steps of the run. */
  readonly needs: readonly string[];
  readonly runsOn: readonly string[];
  readonly wishes: readonly Wish[];
  /** 0: for ever. */
  readonly scheduleMs: number;
  readonly executionMs: number | null;
  readonly attemptsMax: number;
  readonly backoffMs: number;
  readonly lossesMax: number;
}

export interface RunOrder {
  readonly id: string;
  readonly namespace: string;
  readonly steps: readonly StepOrder[];
  readonly runsOn: readonly string[];
  readonly wishes: readonly Wish[];
  readonly priority: number;
  readonly sticky: StickyOrder;
  /** At most so many runs of the key at once; null: no key. */
  readonly key: { readonly key: string; readonly limit: number } | null;
}

export function wishHolds(labels: ReadonlyMap<string, Value>, wish: Wish): boolean {
  if (!labels.has(wish.key)) return wish.comparator === 'NOT_EXISTS';
  const has = labels.get(wish.key) as Value;
  const sameType = (other: Value | null | undefined) => typeof other === typeof has;
  const numbers = typeof has === 'number' && typeof wish.value === 'number';
  switch (wish.comparator) {
    case 'EXISTS':
      return true;
    case 'NOT_EXISTS':
      return false;
    case 'EQUAL':
      return sameType(wish.value) && has === wish.value;
    case 'NOT_EQUAL':
      return sameType(wish.value) && has !== wish.value;
    case 'GREATER_THAN':
      return numbers && has > (wish.value as number);
    case 'LESS_THAN_OR_EQUAL':
      return numbers && has <= (wish.value as number);
    case 'IN':
      return wish.values.some((value) => sameType(value) && value === has);
    case 'NOT_IN':
      return sameType(wish.values[0]) && wish.values.every((value) => value !== has);
  }
}
