/**
 * The common case of validation, at a tenth of its price. The validator evaluates each annotation as an expression; here
 * the few kinds of annotations that the contract uses are plain comparisons. Says only of messages that are valid beyond
 * doubt that they are: all others, and every annotation that is not known here, are the validator's to judge.
 */
import { type DescField, type DescMessage, getOption, hasOption, isFieldSet, type Message } from '@bufbuild/protobuf';
import type { Duration } from '@bufbuild/protobuf/wkt';
import {
  DoubleRulesSchema,
  DurationRulesSchema,
  EnumRulesSchema,
  type FieldRules,
  field as fieldOption,
  Ignore,
  Int32RulesSchema,
  MapRulesSchema,
  message as messageOption,
  oneof as oneofOption,
  RepeatedRulesSchema,
  StringRulesSchema,
  UInt32RulesSchema,
  UInt64RulesSchema,
} from '../../gen/buf/validate/validate_pb.ts';

/** True: valid beyond doubt. null in place of a check: there is nothing to look at. */
type Check = (value: unknown) => boolean;
type Values = Readonly<Record<string, unknown>>;

const DOUBT: Check = () => false;
/** Well-known types carry no annotations. */
const WELL_KNOWN = 'google.protobuf.';
/** What the standard allows; the validator refuses more. */
const DURATION_SECONDS_MAX = 315_576_000_000n;
const DURATION_NANOS_MAX = 999_999_999;

const checks = new Map<DescMessage, Check>();

export function isSurelyValid(schema: DescMessage, message: Message): boolean {
  return checkOf(schema)(message);
}

function checkOf(schema: DescMessage): Check {
  let check = checks.get(schema);
  if (check === undefined) {
    // A type that contains itself finds this one.
    checks.set(schema, (value) => (checks.get(schema) ?? DOUBT)(value));
    check = compile(schema);
    checks.set(schema, check);
  }
  return check;
}

function compile(schema: DescMessage): Check {
  if (hasOption(schema, messageOption)) return DOUBT;
  const all: Check[] = [];
  for (const oneof of schema.oneofs) {
    // There is one such rule: one of them must be set.
    if (hasOption(oneof, oneofOption)) all.push((message) => caseOf(message, oneof.localName) !== undefined);
  }
  for (const field of schema.fields) {
    const check = fieldCheck(field);
    if (check !== null) all.push(check);
  }
  return (message) => all.every((check) => check(message));
}

function caseOf(message: unknown, oneof: string): string | undefined {
  return ((message as Values)[oneof] as { case?: string }).case;
}

/** Of the message that has the field. */
function fieldCheck(field: DescField): Check | null {
  const rules = hasOption(field, fieldOption) ? getOption(field, fieldOption) : null;
  if (rules?.ignore === Ignore.ALWAYS) return null;
  // Not there at all is for the validator to judge too.
  if (rules?.required) return DOUBT;
  const check = valueCheck(field, rules);
  if (check === null) return null;
  const { localName, oneof } = field;
  if (oneof === undefined) {
    return (message) => {
      const value = (message as Values)[localName];
      // Only what may be left out is undefined.
      return value === undefined || check(value);
    };
  }
  return (message) => {
    const set = (message as Values)[oneof.localName] as { case?: string; value?: unknown };
    return set.case !== localName || check(set.value);
  };
}

function valueCheck(field: DescField, rules: FieldRules | null): Check | null {
  const known = rules === null ? {} : knownRules(rules);
  if (known === null) return DOUBT;
  switch (field.fieldKind) {
    case 'list':
      return listCheck(field, known);
    case 'map':
      return mapCheck(field, known);
    case 'message':
      return messageCheck(field.message, known);
    case 'enum':
      return enumCheck(field.enum.values, known);
    case 'scalar':
      return scalarCheck(known);
  }
}

const SCHEMAS: Readonly<Record<string, DescMessage>> = {
  string: StringRulesSchema,
  enum: EnumRulesSchema,
  repeated: RepeatedRulesSchema,
  map: MapRulesSchema,
  duration: DurationRulesSchema,
  uint32: UInt32RulesSchema,
  uint64: UInt64RulesSchema,
  int32: Int32RulesSchema,
  double: DoubleRulesSchema,
};

/** The rules that are set, by name; null: some of them mean nothing here. */
function knownRules(rules: FieldRules): Values | null {
  if (rules.ignore !== Ignore.UNSPECIFIED || rules.cel.length > 0 || rules.celExpression.length > 0) return null;
  const { type } = rules;
  if (type.case === undefined) return {};
  const schema = SCHEMAS[type.case];
  if (schema === undefined) return null;
  const found: Record<string, unknown> = {};
  for (const field of schema.fields) {
    if (!isFieldSet(type.value as never, field)) continue;
    const value = type.value as unknown as Values;
    found[field.name] = field.oneof
      ? (value[field.oneof.localName] as { value: unknown }).value
      : value[field.localName];
  }
  return found;
}

/** Whether only these are among the rules. */
function only(rules: Values, ...names: readonly string[]): boolean {
  return Object.keys(rules).every((name) => names.includes(name));
}

function numberOf(value: unknown, otherwise: number): number {
  return value === undefined ? otherwise : Number(value);
}

function scalarCheck(rules: Values): Check | null {
  if (Object.keys(rules).length === 0) return null;
  if (only(rules, 'min_len', 'max_len')) {
    const min = numberOf(rules.min_len, 0);
    const max = numberOf(rules.max_len, Number.POSITIVE_INFINITY);
    // Counted in characters: there are never more of them than of units, nor fewer than half as many.
    return (value) => (value as string).length <= max && (min < 2 ? 1 : 0.5) * (value as string).length >= min;
  }
  if (!only(rules, 'gte', 'lte')) return DOUBT;
  const min = numberOf(rules.gte, Number.NEGATIVE_INFINITY);
  const max = numberOf(rules.lte, Number.POSITIVE_INFINITY);
  return (value) => typeof value === 'number' && value >= min && value <= max;
}

function enumCheck(values: readonly { readonly number: number }[], rules: Values): Check | null {
  if (Object.keys(rules).length === 0) return null;
  if (!only(rules, 'defined_only')) return DOUBT;
  const numbers = new Set<unknown>(values.map(({ number }) => number));
  return rules.defined_only ? (value) => numbers.has(value) : null;
}

function messageCheck(schema: DescMessage, rules: Values): Check | null {
  if (Object.keys(rules).length > 0) return schema.typeName === `${WELL_KNOWN}Duration` ? durationCheck(rules) : DOUBT;
  return schema.typeName.startsWith(WELL_KNOWN) ? null : checkOf(schema);
}

function durationCheck(rules: Values): Check {
  const least = rules.gte as Duration | undefined;
  if (!only(rules, 'gte') || least === undefined || least.seconds !== 0n || least.nanos !== 0) return DOUBT;
  return (value) => {
    const { seconds, nanos } = value as Duration;
    return seconds >= 0n && seconds <= DURATION_SECONDS_MAX && nanos >= 0 && nanos <= DURATION_NANOS_MAX;
  };
}

function listCheck(field: DescField & { fieldKind: 'list' }, rules: Values): Check | null {
  if (!only(rules, 'min_items', 'max_items', 'items')) return DOUBT;
  const item = elementCheck(field, rules.items as FieldRules | undefined);
  const min = numberOf(rules.min_items, 0);
  const max = numberOf(rules.max_items, Number.POSITIVE_INFINITY);
  return (value) => {
    const items = value as readonly unknown[];
    return items.length >= min && items.length <= max && (item === null || items.every(item));
  };
}

function elementCheck(field: DescField & { fieldKind: 'list' }, rules: FieldRules | undefined): Check | null {
  const known = rules === undefined ? {} : knownRules(rules);
  if (known === null || rules?.required) return DOUBT;
  switch (field.listKind) {
    case 'message':
      return messageCheck(field.message, known);
    case 'enum':
      return enumCheck(field.enum.values, known);
    case 'scalar':
      return scalarCheck(known);
  }
}

function mapCheck(field: DescField & { fieldKind: 'map' }, rules: Values): Check | null {
  if (!only(rules, 'max_pairs', 'keys', 'values') || field.mapKind !== 'scalar') return DOUBT;
  const max = numberOf(rules.max_pairs, Number.POSITIVE_INFINITY);
  const keys = entryCheck(rules.keys as FieldRules | undefined);
  const values = entryCheck(rules.values as FieldRules | undefined);
  return (value) => {
    const entries = Object.entries(value as Values);
    return entries.length <= max && entries.every(([key, one]) => keys(key) && values(one));
  };
}

function entryCheck(rules: FieldRules | undefined): Check {
  const known = rules === undefined ? {} : knownRules(rules);
  return known === null || rules?.required ? DOUBT : (scalarCheck(known) ?? (() => true));
}
