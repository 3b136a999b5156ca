/** Labels: what a worker says of its present state; desired labels: what a step asks of it. */
import type { Limits } from './limits.ts';
import { type Refusal, refuseField, refuseLimit } from './refusal.ts';
import { hasNul, utf8Bytes } from './text.ts';

export type LabelValue = string | number;
export type Labels = ReadonlyMap<string, LabelValue>;
/** A change: null removes the key. */
export type LabelPatch = ReadonlyMap<string, LabelValue | null>;

export type Comparator =
  | 'EQUAL'
  | 'NOT_EQUAL'
  | 'GREATER_THAN'
  | 'GREATER_THAN_OR_EQUAL'
  | 'LESS_THAN'
  | 'LESS_THAN_OR_EQUAL'
  | 'IN'
  | 'NOT_IN'
  | 'EXISTS'
  | 'NOT_EXISTS';

export interface DesiredLabel {
  readonly key: string;
  readonly comparator: Comparator;
  /** The right-hand side; null for EXISTS and NOT_EXISTS, and for IN and NOT_IN, which have `values`. */
  readonly value: LabelValue | null;
  readonly values: readonly LabelValue[];
  readonly required: boolean;
  /** Ranks when not required; without effect otherwise. */
  readonly weight: number;
}

/** What a caller asked for, before it is checked. `null` stands for a value that is neither string nor number. */
export interface DesiredLabelDraft {
  key: string;
  comparator: Comparator;
  value?: LabelValue | null;
  values: (LabelValue | null)[];
  required?: boolean;
  weight?: number;
}

const DESIRED_WEIGHT_DEFAULT = 100;

/** Whether a worker with `labels` satisfies `desired`. The worker's value is the left-hand side. */
export function labelMatches(labels: Labels, desired: DesiredLabel): boolean {
  const has = labels.get(desired.key);
  if (has === undefined) return desired.comparator === 'NOT_EXISTS';
  const { value, values } = desired;
  switch (desired.comparator) {
    case 'EQUAL':
      return has === value;
    case 'NOT_EQUAL':
      return typeof has === typeof value && has !== value;
    case 'GREATER_THAN':
      return typeof has === 'number' && typeof value === 'number' && has > value;
    case 'GREATER_THAN_OR_EQUAL':
      return typeof has === 'number' && typeof value === 'number' && has >= value;
    case 'LESS_THAN':
      return typeof has === 'number' && typeof value === 'number' && has < value;
    case 'LESS_THAN_OR_EQUAL':
      return typeof has === 'number' && typeof value === 'number' && has <= value;
    case 'IN':
      return values.includes(has);
    case 'NOT_IN':
      return typeof has === typeof values[0] && !values.includes(has);
    case 'EXISTS':
      return true;
    case 'NOT_EXISTS':
      return false;
  }
}

/** Merges `patch` into `labels`, or refuses the whole of it. `field` names the patch in the refusal. */
export function mergeLabels(field: string, labels: Labels, patch: LabelPatch, limits: Limits): Labels | Refusal {
  const merged = new Map(labels);
  for (const [key, value] of patch) {
    const refusal =
      checkKey(`${field}["${clip(key)}"]`, key, limits) ?? checkValue(`${field}["${clip(key)}"]`, value, limits);
    if (refusal) return refusal;
    if (value === null) merged.delete(key);
    else merged.set(key, value);
  }
  if (merged.size > limits.labelsPerWorkerMax)
    return refuseLimit(field, merged.size, limits.labelsPerWorkerMax, 'labels');
  return merged;
}

function checkKey(field: string, key: string, limits: Limits): Refusal | null {
  if (key === '') return refuseField('INVALID_LABEL', field, 'the key is empty');
  if (hasNul(key)) return refuseField('INVALID_LABEL', field, 'the key holds U+0000');
  const bytes = utf8Bytes(key);
  return bytes > limits.keyBytesMax ? refuseLimit(field, bytes, limits.keyBytesMax, 'bytes in its key') : null;
}

function checkValue(field: string, value: LabelValue | null, limits: Limits): Refusal | null {
  if (value === null) return null;
  if (typeof value === 'number') {
    return Number.isFinite(value) ? null : refuseField('INVALID_LABEL', field, `${value} is not a finite number`);
  }
  if (hasNul(value)) return refuseField('INVALID_LABEL', field, 'the value holds U+0000');
  const bytes = utf8Bytes(value);
  return bytes > limits.valueBytesMax ? refuseLimit(field, bytes, limits.valueBytesMax, 'bytes') : null;
}

/** Checks one desired label and fills in its defaults. `field` is its path in the request. */
export function parseDesiredLabel(field: string, draft: DesiredLabelDraft, limits: Limits): DesiredLabel | Refusal {
  const name = `${field} (key "${clip(draft.key)}")`;
  const refusal = checkKey(name, draft.key, limits) ?? checkOperands(name, draft, limits);
  if (refusal) return refusal;
  return {
    key: draft.key,
    comparator: draft.comparator,
    value: draft.value ?? null,
    values: draft.values.filter((value) => value !== null),
    required: draft.required ?? true,
    weight: draft.weight ?? DESIRED_WEIGHT_DEFAULT,
  };
}

function checkOperands(field: string, draft: DesiredLabelDraft, limits: Limits): Refusal | null {
  const { comparator } = draft;
  if (comparator === 'EXISTS' || comparator === 'NOT_EXISTS') {
    if (draft.value === undefined && draft.values.length === 0) return null;
    return refuseField('INVALID_LABEL', field, `${comparator} takes neither value nor values`);
  }
  if (comparator === 'IN' || comparator === 'NOT_IN') return checkList(field, draft, limits);
  if (draft.values.length > 0) return refuseField('INVALID_LABEL', field, `${comparator} takes value, not values`);
  if (draft.value === undefined) return refuseField('INVALID_LABEL', field, `${comparator} needs a value`);
  if (draft.value === null) return refuseField('INVALID_LABEL', field, 'value must be a string or a finite number');
  const ordered = comparator !== 'EQUAL' && comparator !== 'NOT_EQUAL';
  if (ordered && typeof draft.value === 'string') {
    return refuseField(
      'INVALID_LABEL',
      field,
      `${comparator} compares numbers, value is the string "${clip(draft.value)}"`,
    );
  }
  return checkValue(field, draft.value, limits);
}

function checkList(field: string, draft: DesiredLabelDraft, limits: Limits): Refusal | null {
  if (draft.value !== undefined)
    return refuseField('INVALID_LABEL', field, `${draft.comparator} takes values, not value`);
  if (draft.values.length === 0)
    return refuseField('INVALID_LABEL', field, `${draft.comparator} needs 1 to ${limits.comparatorValuesMax} values`);
  if (draft.values.length > limits.comparatorValuesMax) {
    return refuseLimit(field, draft.values.length, limits.comparatorValuesMax, 'values');
  }
  const type = typeof draft.values[0];
  for (const value of draft.values) {
    if (value === null) return refuseField('INVALID_LABEL', field, 'values must be strings or finite numbers');
    if (typeof value !== type) return refuseField('INVALID_LABEL', field, 'values must all be of one type');
    const refusal = checkValue(field, value, limits);
    if (refusal) return refusal;
  }
  return null;
}

/** A key or value inside an error message: long enough to be recognised, never longer. */
function clip(text: string): string {
  return text.length > 40 ? `${text.slice(0, 40)}…` : text;
}
