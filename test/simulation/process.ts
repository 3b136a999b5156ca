/** A process that can stand still and die: nothing of it runs, and none of its timers fires, but while it lives and goes. */
import type { Clock, Timer } from '../../src/lib/clock.ts';
import type { World } from './world.ts';

export interface SimProcess extends Clock {
  readonly name: string;
  readonly isAlive: boolean;
  readonly isPaused: boolean;
  /** Something comes in from outside: runs now, after the pause, or never. */
  enter(run: () => void): void;
  /** SIGSTOP, and SIGCONT after `forMs`. */
  pause(forMs: number): void;
  /** SIGKILL: nothing more of it ever runs. */
  kill(): void;
  /** Called when it dies, by the machine it runs on. */
  onDeath(run: () => void): void;
}

export function createProcess(world: World, name: string): SimProcess {
  const died: (() => void)[] = [];
  // What became due in a pause, in the order in which it did. A loop that goes on looks at its timers before its sockets.
  const dueTimers: (() => void)[] = [];
  const arrived: (() => void)[] = [];
  let alive = true;
  let paused = false;

  /** One at a time, so that each has its promises done before the next. */
  function catchUp(): void {
    if (!alive) return;
    const next = dueTimers.shift() ?? arrived.shift();
    if (next === undefined) {
      paused = false;
      return;
    }
    next();
    world.after(0, catchUp);
  }

  const process: SimProcess = {
    name,
    get isAlive() {
      return alive;
    },
    get isPaused() {
      return paused;
    },
    nowMs: world.nowMs,
    enter(run) {
      if (!alive) return;
      if (paused) arrived.push(run);
      else run();
    },
    after(delayMs, run): Timer {
      let cleared = false;
      const fire = () => {
        if (!cleared) run();
      };
      const timer = world.after(delayMs, () => {
        if (!alive) return;
        if (paused) dueTimers.push(fire);
        else fire();
      });
      return {
        clear() {
          cleared = true;
          timer.clear();
        },
      };
    },
    pause(forMs) {
      if (!alive || paused) return;
      paused = true;
      world.note(name, `stands still for ${Math.round(forMs)} ms`);
      world.after(forMs, () => {
        if (!alive) return;
        world.note(name, `goes on: ${dueTimers.length} timers are due, ${arrived.length} messages wait`);
        catchUp();
      });
    },
    kill() {
      if (!alive) return;
      alive = false;
      world.note(name, 'is killed');
      for (const tell of died) tell();
    },
    onDeath: (run) => void died.push(run),
  };
  return process;
}
