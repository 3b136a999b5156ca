import { beforeEach, describe, expect, it, vi } from 'vitest';
import { type SilenceWatch, watchSilence } from '../../src/server/session/silence.ts';
import { FakeClock } from '../worker/fake-clock.ts';

const SILENCE_MS = 15_000;
/** The watch looks this often. */
const LOOK_MS = SILENCE_MS / 20;

let clock: FakeClock;
let silence: SilenceWatch;
beforeEach(() => {
  clock = new FakeClock();
  silence = watchSilence(clock, SILENCE_MS);
});

function speaker() {
  const one = { heardMs: clock.nowMs(), onSilent: vi.fn() };
  silence.add(one);
  return one;
}

describe('silence', () => {
  it('is noticed when it has lasted for the limit, at the next look, and once', async () => {
    const one = speaker();
    await clock.advance(SILENCE_MS - 1);
    expect(one.onSilent).not.toHaveBeenCalled();
    await clock.advance(LOOK_MS + 1);
    expect(one.onSilent).toHaveBeenCalledOnce();
    await clock.advance(2 * SILENCE_MS);
    expect(one.onSilent).toHaveBeenCalledOnce();
  });

  it('begins anew with every word, for each stream by itself', async () => {
    const talks = speaker();
    const still = speaker();
    for (let beats = 0; beats < 4; beats++) {
      await clock.advance(SILENCE_MS / 3);
      talks.heardMs = clock.nowMs();
    }
    expect(still.onSilent).toHaveBeenCalledOnce();
    expect(talks.onSilent).not.toHaveBeenCalled();
  });

  it('of a loop that stood still is not held against the workers: they get another while', async () => {
    const one = speaker();
    await clock.freeze(2 * SILENCE_MS);
    await clock.advance(SILENCE_MS - LOOK_MS);
    expect(one.onSilent).not.toHaveBeenCalled();
    await clock.advance(2 * LOOK_MS);
    expect(one.onSilent).toHaveBeenCalledOnce();
  });

  it('is no matter of a stream that is not watched any more, and nobody looks when none is', async () => {
    const after = vi.spyOn(clock, 'after');
    const gone = speaker();
    silence.delete(gone);
    await clock.advance(2 * SILENCE_MS);
    expect(gone.onSilent).not.toHaveBeenCalled();
    expect(after).toHaveBeenCalledOnce();
    const next = speaker();
    await clock.advance(2 * SILENCE_MS);
    expect(next.onSilent).toHaveBeenCalledOnce();
    const looks = after.mock.calls.length;
    await clock.advance(2 * SILENCE_MS);
    expect(after.mock.calls.length).toBe(looks);
  });
});
