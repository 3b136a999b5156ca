/** Seeded chance: everything that is random in a simulation comes from here, so that a seed replays exactly. */

export interface Chance {
  /** Uniform in [0, 1). */
  fraction(): number;
  /** Uniform in [from, to). */
  between(from: number, to: number): number;
  /** A whole number from `from` to `to`, both included. */
  whole(from: number, to: number): number;
  happens(probability: number): boolean;
  pick<T>(items: readonly T[]): T;
  /** Another source, whose draws do not move this one's. */
  fork(): Chance;
}

/** 32 bits of state are enough for the few thousand draws of one simulation, and it is quick (mulberry32). */
export function createChance(seed: number): Chance {
  let state = seed >>> 0;

  function fraction(): number {
    state = (state + 0x6d2b79f5) >>> 0;
    let mixed = Math.imul(state ^ (state >>> 15), state | 1);
    mixed ^= mixed + Math.imul(mixed ^ (mixed >>> 7), mixed | 61);
    return ((mixed ^ (mixed >>> 14)) >>> 0) / 2 ** 32;
  }

  const between = (from: number, to: number) => from + (to - from) * fraction();
  const whole = (from: number, to: number) => Math.floor(between(from, to + 1));
  return {
    fraction,
    between,
    whole,
    happens: (probability) => fraction() < probability,
    pick: <T>(items: readonly T[]) => items[whole(0, items.length - 1)] as T,
    fork: () => createChance(Math.floor(fraction() * 2 ** 32)),
  };
}
