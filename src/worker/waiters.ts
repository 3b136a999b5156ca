/** Waiting for a condition, without looking again and again: whoever may have made it true says so. */
import type { Clock } from '../lib/clock.ts';

export interface Deferred<Value> {
  readonly promise: Promise<Value>;
  resolve(value: Value): void;
  reject(error: Error): void;
}

export function deferred<Value>(): Deferred<Value> {
  let resolve!: (value: Value) => void;
  let reject!: (error: Error) => void;
  const promise = new Promise<Value>((onValue, onError) => {
    resolve = onValue;
    reject = onError;
  });
  return { promise, resolve, reject };
}

interface Waiter {
  readonly condition: () => boolean;
  readonly release: (held: boolean) => void;
}

export class Waiters {
  readonly #clock: Clock;
  readonly #waiters = new Set<Waiter>();

  constructor(clock: Clock) {
    this.#clock = clock;
  }

  /** To be called after anything that may have made a condition true. */
  check(): void {
    for (const waiter of this.#waiters) {
      if (!waiter.condition()) continue;
      this.#waiters.delete(waiter);
      waiter.release(true);
    }
  }

  /** Resolves with true as soon as the condition holds. */
  until(condition: () => boolean): Promise<boolean> {
    return new Promise((resolve) => {
      if (condition()) resolve(true);
      else this.#waiters.add({ condition, release: resolve });
    });
  }

  /** The same, or with false after `ms` milliseconds. */
  within(ms: number, condition: () => boolean): Promise<boolean> {
    return new Promise((resolve) => {
      if (condition()) {
        resolve(true);
        return;
      }
      const waiter: Waiter = {
        condition,
        release: (held) => {
          timer.clear();
          resolve(held);
        },
      };
      const timer = this.#clock.after(
        ms,
        () => {
          this.#waiters.delete(waiter);
          resolve(false);
        },
        true,
      );
      this.#waiters.add(waiter);
    });
  }
}
