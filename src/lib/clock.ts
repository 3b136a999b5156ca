/** The only door to time. Everything else is handed a Clock, so that tests and the simulation can own it. */

/** A timer that was set and may be cleared once; clearing it again does nothing. */
export interface Timer {
  clear(): void;
}

export interface Clock {
  /** Milliseconds since the Unix epoch. Never goes backwards while the process lives. */
  nowMs(): number;
  /** Calls `run` once, no earlier than `delayMs` from now. The process may exit before it unless `keepAlive`. */
  after(delayMs: number, run: () => void, keepAlive?: boolean): Timer;
}

// setTimeout fires at once when the delay does not fit 31 bits; longer waits are cut, and the waiter looks again.
const DELAY_MS_MAX = 2 ** 31 - 1;

/** Wall time read once, then carried forward by the monotonic clock: a step of the system's clock moves no deadline. */
export function systemClock(): Clock {
  const anchorMs = Date.now() - performance.now();
  return {
    nowMs: () => anchorMs + performance.now(),
    after(delayMs, run, keepAlive = false) {
      const handle = setTimeout(run, Math.min(Math.max(0, delayMs), DELAY_MS_MAX));
      if (!keepAlive) handle.unref();
      return { clear: () => clearTimeout(handle) };
    },
  };
}

/** Resolves once everything that was waiting for the event loop has had its turn: between the slices of long work. */
export function othersFirst(): Promise<void> {
  return new Promise((resolve) => {
    setImmediate(resolve);
  });
}

/** Resolves after `delayMs`, or rejects with the signal's reason as soon as it aborts. */
export function sleep(clock: Clock, delayMs: number, signal?: AbortSignal): Promise<void> {
  return new Promise((resolve, reject) => {
    if (signal?.aborted) {
      reject(signal.reason);
      return;
    }
    const onAbort = () => {
      timer.clear();
      reject(signal?.reason);
    };
    const timer = clock.after(
      delayMs,
      () => {
        signal?.removeEventListener('abort', onAbort);
        resolve();
      },
      true,
    );
    signal?.addEventListener('abort', onAbort, { once: true });
  });
}
