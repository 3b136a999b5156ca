import { expect, it } from 'vitest';
import { createEngine } from '../../src/engine/engine.ts';
import type { Timer } from '../../src/lib/clock.ts';
import { SILENT_LOG } from '../../src/lib/log.ts';
import { systemIds } from '../../src/lib/random.ts';
import { createDecider } from '../../src/server/decider.ts';
import { NO_METERS } from '../../src/server/meters.ts';
import { createWatchHub } from '../../src/server/watch/hub.ts';
import { draftOf } from '../support/engine.ts';
import { FakeClock } from '../worker/fake-clock.ts';

const MINUTE_MS = 60_000;

/** Knows how many timers are set. */
class CountingClock extends FakeClock {
  readonly set = new Set<object>();

  override after(delayMs: number, run: () => void): Timer {
    const token = {};
    this.set.add(token);
    const timer = super.after(delayMs, () => {
      this.set.delete(token);
      run();
    });
    return {
      clear: () => {
        this.set.delete(token);
        timer.clear();
      },
    };
  }
}

it('an outage of the store sets no more and more timers, and none is left after the stop', async () => {
  const clock = new CountingClock();
  const decider = createDecider({
    engine: createEngine(),
    // The store never answers.
    commit: () => new Promise(() => {}),
    clock,
    ids: systemIds(),
    log: SILENT_LOG,
    meters: NO_METERS,
    oneCommandPerBatch: false,
    onStored: () => {},
    watches: createWatchHub(1, SILENT_LOG),
    onEffect: () => {},
    onFatal: (error) => {
      throw error;
    },
  });
  // Its schedule timeout comes due again and again while nothing can be made true.
  const run = draftOf('run', { scheduleTimeoutMs: 1_000 });
  decider.decide<'schedule_runs'>({ kind: 'schedule_runs', runs: [run] }, () => {});
  await clock.advance(MINUTE_MS / 6);
  const early = clock.set.size;
  await clock.advance(MINUTE_MS);
  expect(clock.set.size).toBeLessThanOrEqual(early);
  decider.stop();
  expect(clock.set.size).toBe(0);
});
