/** A few dozen of the simulations that `npm run simulate` runs by the hundred. */
import { describe, expect, it } from 'vitest';
import { simulate } from './simulation.ts';

const SEEDS = 24;

describe('simulation', () => {
  it.each(Array.from({ length: SEEDS }, (_, index) => index + 1))('keeps every promise with seed %i', async (seed) => {
    const report = await simulate(seed);
    expect(report.failure, `replay it with: npm run simulate -- --seed ${seed}`).toBeNull();
    expect(report.successes).toBeGreaterThan(0);
  });

  it('replays a seed exactly', async () => {
    const first = await simulate(7);
    const second = await simulate(7, true);
    expect(second.hash).toBe(first.hash);
    expect(second.lines.length).toBeGreaterThan(100);
    expect((await simulate(8)).hash).not.toBe(first.hash);
  });
});
