/** JSON payloads are text from end to end: checked once here, stored and passed on as they came. */
import type { JsonValue } from '@bufbuild/protobuf';
import type { Value } from '@bufbuild/protobuf/wkt';
import type { Limits } from '../../domain/limits.ts';
import { type Refusal, refuseField, refuseLimit } from '../../domain/refusal.ts';
import { compareText } from '../../domain/text.ts';

/** null when `text` is one well-formed JSON value within the limits. */
export function checkJsonText(field: string, text: string, limits: Limits): Refusal | null {
  const bytes = Buffer.byteLength(text);
  if (bytes > limits.payloadBytesMax) {
    return { ...refuseLimit(field, bytes, limits.payloadBytesMax, 'bytes'), refused: 'PAYLOAD_TOO_LARGE' };
  }
  try {
    JSON.parse(text);
  } catch (error) {
    return refuseField('INVALID_JSON', field, `is not JSON: ${(error as Error).message}`);
  }
  const depth = nestingOf(text);
  return depth > limits.nestingMax ? refuseLimit(field, depth, limits.nestingMax, 'levels of nesting') : null;
}

/** Deepest nesting of arrays and objects in well-formed JSON. */
function nestingOf(text: string): number {
  let depth = 0;
  let deepest = 0;
  let inString = false;
  for (let index = 0; index < text.length; index++) {
    const unit = text.charCodeAt(index);
    if (inString) {
      if (unit === 0x5c) index += 1;
      else if (unit === 0x22) inString = false;
    } else if (unit === 0x22) inString = true;
    else if (unit === 0x5b || unit === 0x7b) deepest = Math.max(deepest, ++depth);
    else if (unit === 0x5d || unit === 0x7d) depth -= 1;
  }
  return deepest;
}

/** A google.protobuf.Value as JSON text. Its objects have no order on the wire, so keys are sorted: equal values, equal text. */
export function jsonTextOf(field: string, value: Value, limits: Limits): string | Refusal {
  const problems: Refusal[] = [];
  const plain = plainOf(field, value, limits.nestingMax, problems);
  return problems[0] ?? JSON.stringify(plain);
}

function plainOf(path: string, value: Value, levelsLeft: number, problems: Refusal[]): JsonValue {
  const { kind } = value;
  switch (kind.case) {
    case 'nullValue':
      return null;
    case 'boolValue':
    case 'stringValue':
      return kind.value;
    case 'numberValue':
      if (!Number.isFinite(kind.value))
        problems.push(refuseField('INVALID_FIELD', path, `${kind.value} is not a finite number`));
      return kind.value;
    case 'listValue':
      if (levelsLeft === 0) return tooDeep(path, problems);
      return kind.value.values.map((item, index) => plainOf(`${path}[${index}]`, item, levelsLeft - 1, problems));
    case 'structValue': {
      if (levelsLeft === 0) return tooDeep(path, problems);
      // Decoding takes a key of this name for the object's own prototype.
      if (Object.getPrototypeOf(kind.value.fields) !== Object.prototype) {
        problems.push(refuseField('INVALID_FIELD', `${path}.__proto__`, 'is not a usable key'));
      }
      const entries = Object.entries(kind.value.fields).sort(([a], [b]) => compareText(a, b));
      return Object.fromEntries(
        entries.map(([key, item]) => [key, plainOf(`${path}.${key}`, item, levelsLeft - 1, problems)]),
      );
    }
    default:
      problems.push(refuseField('INVALID_FIELD', path, 'is a Value without a kind'));
      return null;
  }
}

function tooDeep(path: string, problems: Refusal[]): null {
  problems.push(refuseField('LIMIT_EXCEEDED', path.slice(0, 200), 'is nested too deeply'));
  return null;
}
