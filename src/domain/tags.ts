/** Tags are immutable strings of a worker; runs_on names those a run needs. Compared exactly, case-sensitive. */
import type { Limits } from './limits.ts';
import { type Refusal, refuseField, refuseLimit } from './refusal.ts';
import { compareText, hasNul, utf8Bytes } from './text.ts';

/** LEGACY: a worker without tags takes anything. STRICT: it takes only runs without runs_on. */
export type MatchMode = 'LEGACY' | 'STRICT';

/** Sorted, without duplicates: two lists that mean the same are the same. */
export type TagSet = readonly string[];

/** Checks and normalises tags or runs_on. `field` is the caller's name for the list, `limit` its largest size. */
export function parseTags(field: string, tags: readonly string[], limit: number, limits: Limits): TagSet | Refusal {
  const unique = [...new Set(tags)].sort(compareText);
  if (unique.length > limit) return refuseLimit(field, unique.length, limit, 'tags');
  for (const tag of unique) {
    if (tag === '') return refuseField('INVALID_FIELD', field, 'holds an empty tag');
    if (hasNul(tag)) return refuseField('INVALID_FIELD', field, 'holds a tag with U+0000');
    const bytes = utf8Bytes(tag);
    if (bytes > limits.valueBytesMax) return refuseLimit(field, bytes, limits.valueBytesMax, 'bytes in one tag');
  }
  return unique;
}

export function sameTags(a: TagSet, b: TagSet): boolean {
  return a.length === b.length && a.every((tag, index) => tag === b[index]);
}

/** Every tag of `runsOn` is among the worker's. */
export function tagsCover(runsOn: TagSet, tags: ReadonlySet<string>): boolean {
  for (const tag of runsOn) if (!tags.has(tag)) return false;
  return true;
}

/** The rule of runs_on: covered, or nothing asked for, or (LEGACY) a worker that has no tags at all. */
export function tagsAllow(runsOn: TagSet, tags: ReadonlySet<string>, mode: MatchMode): boolean {
  if (runsOn.length === 0) return true;
  if (tags.size === 0) return mode === 'LEGACY';
  return tagsCover(runsOn, tags);
}
