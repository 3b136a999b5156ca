/** Conditions on labels as people write them: `memory>=256`, `model in llama,mistral`, `!spot`. */
import { create, type MessageInitShape } from '@bufbuild/protobuf';
import { InvalidArgumentError } from 'commander';
import { Comparator, type DesiredLabel, DesiredLabelSchema } from '../../../gen/yardmaster/v1/run_pb.ts';

const KEY = '([^\\s=<>!,]+)';
const ABSENT = new RegExp(`^!\\s*${KEY}$`);
const PRESENT = new RegExp(`^${KEY}\\s+exists$`);
const AMONG = new RegExp(`^${KEY}\\s+(not\\s+)?in\\s+(.+)$`);
const COMPARED = new RegExp(`^${KEY}\\s*(!=|>=|<=|==|=|>|<)\\s*(.+)$`);

const OPERATORS: Readonly<Record<string, Comparator>> = {
  '=': Comparator.EQUAL,
  '==': Comparator.EQUAL,
  '!=': Comparator.NOT_EQUAL,
  '>': Comparator.GREATER_THAN,
  '>=': Comparator.GREATER_THAN_OR_EQUAL,
  '<': Comparator.LESS_THAN,
  '<=': Comparator.LESS_THAN_OR_EQUAL,
};

/** As JSON writes numbers: `007` and `1.2.3` are strings. */
const NUMBER = /^-?(?:0|[1-9]\d*)(?:\.\d+)?(?:[eE][+-]?\d+)?$/;
/** Words and quoted strings between commas. */
const LISTED = /"(?:[^"\\]|\\.)*"|[^,]+/g;
const WEIGHTED = /^(.*):(-?\d+)$/s;

const INT32_MIN = -(2 ** 31);
const INT32_MAX = 2 ** 31 - 1;

const EXAMPLES = 'like memory>256, model!="x", zone in a,b, zone not in a,b, gpu exists or !spot';

/** For an option that may be given several times: a condition that must hold. */
export function addLabel(text: string, before: readonly DesiredLabel[] = []): readonly DesiredLabel[] {
  return [...before, create(DesiredLabelSchema, { ...condition(text), required: true })];
}

/** The same for a wish, with its weight behind a colon. A value that ends like a weight has to be quoted. */
export function addWish(text: string, before: readonly DesiredLabel[] = []): readonly DesiredLabel[] {
  const [, expression = text, weightText] = WEIGHTED.exec(text) ?? [];
  const wish = { ...condition(expression), required: false };
  if (weightText === undefined) return [...before, create(DesiredLabelSchema, wish)];
  const weight = Number(weightText);
  if (weight < INT32_MIN || weight > INT32_MAX) {
    throw new InvalidArgumentError(`Its weight must be from ${INT32_MIN} to ${INT32_MAX}.`);
  }
  return [...before, create(DesiredLabelSchema, { ...wish, weight })];
}

function condition(text: string): MessageInitShape<typeof DesiredLabelSchema> {
  const whole = text.trim();
  const absent = ABSENT.exec(whole)?.[1];
  if (absent !== undefined) return { key: absent, comparator: Comparator.NOT_EXISTS };
  const present = PRESENT.exec(whole)?.[1];
  if (present !== undefined) return { key: present, comparator: Comparator.EXISTS };
  const [, listKey, not, list] = AMONG.exec(whole) ?? [];
  if (listKey !== undefined && list !== undefined) {
    const values = listed(list).map(wireValue);
    return { key: listKey, comparator: not === undefined ? Comparator.IN : Comparator.NOT_IN, values };
  }
  const [, key, operator = '', value] = COMPARED.exec(whole) ?? [];
  const comparator = OPERATORS[operator];
  if (key === undefined || comparator === undefined || value === undefined) {
    throw new InvalidArgumentError(`It must be a condition ${EXAMPLES}.`);
  }
  return { key, comparator, value: compared(comparator, value) };
}

function compared(comparator: Comparator, text: string) {
  const value = wireValue(text);
  const ordered = comparator !== Comparator.EQUAL && comparator !== Comparator.NOT_EQUAL;
  if (ordered && value.kind.case !== 'numberValue') {
    throw new InvalidArgumentError(`Only numbers have an order, and ${text} is none.`);
  }
  return value;
}

function listed(text: string): string[] {
  const items = (text.match(LISTED) ?? []).map((item) => item.trim()).filter((item) => item !== '');
  if (items.length > 0) return items;
  throw new InvalidArgumentError('Its list is empty.');
}

function wireValue(text: string) {
  if (NUMBER.test(text)) {
    const value = Number(text);
    if (!Number.isFinite(value)) throw new InvalidArgumentError(`${text} is too large for a number.`);
    return { kind: { case: 'numberValue' as const, value } };
  }
  return { kind: { case: 'stringValue' as const, value: text.startsWith('"') ? unquoted(text) : text } };
}

function unquoted(text: string): string {
  try {
    return String(JSON.parse(text));
  } catch {
    throw new InvalidArgumentError(`${text} is not a quoted string.`);
  }
}
