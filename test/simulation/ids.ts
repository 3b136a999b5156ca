/** Ids that count, in the shape of a UUID: short in a trace, and the same in every replay. */
import type { IdSource } from '../../src/lib/random.ts';
import type { Chance } from './chance.ts';

export function seededIds(chance: Chance): IdSource {
  let count = 0;
  const next = (version: number) => {
    count += 1;
    return `00000000-0000-${version}000-8000-${String(count).padStart(12, '0')}`;
  };
  return { orderedId: () => next(7), randomId: () => next(4), fraction: chance.fraction };
}

/** The part of an id that differs. */
export function short(id: string): string {
  return `#${Number(id.slice(-12))}`;
}
