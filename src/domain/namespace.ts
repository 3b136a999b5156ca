/** What a namespace may be called. */
import { type Refusal, refuseField } from './refusal.ts';

/** It travels as metadata of every call, so it keeps to what a header may carry. */
const NAME_PATTERN = /^[a-zA-Z0-9][a-zA-Z0-9._-]*$/;
const NAME_CHARACTERS_MAX = 128;

/** null when `name` may be a namespace's name, else what is wrong with it. */
export function checkNamespaceName(field: string, name: string): Refusal | null {
  if (name.length <= NAME_CHARACTERS_MAX && NAME_PATTERN.test(name)) return null;
  const shown = name.length > 40 ? `${name.slice(0, 40)}…` : name;
  const rule = `must have 1 to ${NAME_CHARACTERS_MAX} characters and match ${NAME_PATTERN.source}`;
  return refuseField('INVALID_NAME', field, `"${shown}" ${rule}`);
}
