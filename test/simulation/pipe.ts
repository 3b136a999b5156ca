/** One direction of a connection: in order, late, and now and then not at all. */
import type { Chance } from './chance.ts';
import type { SimProcess } from './process.ts';
import type { World } from './world.ts';

/** Messages on their way before a writer is asked to wait, as the high-water mark of an object stream. */
const WINDOW_MESSAGES = 16;

export interface Pipe {
  /** Runs `deliver` in the receiving process when the message arrives. False: more should wait for `onDrained`. */
  send(deliver: () => void): boolean;
  /** Nothing arrives any more, and nobody is told. */
  blackHole(): void;
  /** What is sent from now on arrives after this at the earliest. */
  holdUntil(atMs: number): void;
  /** Messages arrive no closer together than this, for a while. */
  slowDown(gapMs: number, untilMs: number): void;
}

export interface PipeOptions {
  readonly world: World;
  readonly chance: Chance;
  readonly receiver: () => SimProcess | null;
  readonly delayMs: number;
  readonly onDrained: () => void;
}

export function createPipe({ world, chance, receiver, delayMs, onDrained }: PipeOptions): Pipe {
  let lost = false;
  let lastMs = 0;
  let heldMs = 0;
  let gapMs = 0;
  let slowUntilMs = 0;
  let onTheWay = 0;
  let full = false;

  function arrivalMs(): number {
    const jitterMs = chance.happens(0.02) ? chance.between(0, 1_500) : chance.between(0, delayMs);
    const spacedMs = lastMs + (world.nowMs() < slowUntilMs ? gapMs : 0);
    return Math.max(world.nowMs() + delayMs + jitterMs, spacedMs, heldMs);
  }

  function arrived(deliver: () => void): void {
    onTheWay -= 1;
    deliver();
    if (!full || onTheWay >= WINDOW_MESSAGES) return;
    full = false;
    onDrained();
  }

  return {
    send(deliver) {
      onTheWay += 1;
      lastMs = arrivalMs();
      world.at(lastMs, () => {
        if (!lost) receiver()?.enter(() => arrived(deliver));
      });
      full ||= onTheWay >= WINDOW_MESSAGES;
      return !full;
    },
    blackHole() {
      lost = true;
    },
    holdUntil(atMs) {
      heldMs = Math.max(heldMs, atMs);
    },
    slowDown(gap, untilMs) {
      gapMs = gap;
      slowUntilMs = untilMs;
    },
  };
}
