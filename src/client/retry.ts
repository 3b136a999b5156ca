/** Repeats unary calls that ended UNAVAILABLE, and nothing else. */
import { Code, ConnectError, type Transport } from '@connectrpc/connect';
import { type Backoff, backoffMs } from '../lib/backoff.ts';
import { type Clock, sleep } from '../lib/clock.ts';

export interface RetryOptions {
  clock: Clock;
  /** Uniform in [0, 1). */
  fraction: () => number;
  /** The whole call, all tries and the waits between them, ends by then; milliseconds. */
  deadlineMs: number;
  /** Tries in all, the first included. */
  triesMax: number;
  backoff: Backoff;
}

/**
 * Wraps a transport. Each try gets what is left of the deadline. Outcome unknown means that a request may have been
 * carried out: those that create something carry a request_id, by which the control plane knows it again.
 */
export function retryUnavailable(transport: Transport, options: RetryOptions): Transport {
  const { clock, fraction, backoff } = options;
  return {
    stream: (...args) => transport.stream(...args),
    async unary(method, signal, timeoutMs, header, input, contextValues) {
      const wholeMs = timeoutMs ?? options.deadlineMs;
      const endMs = wholeMs > 0 ? clock.nowMs() + wholeMs : Number.POSITIVE_INFINITY;
      for (let attempt = 0; ; attempt += 1) {
        const leftMs = endMs === Number.POSITIVE_INFINITY ? 0 : Math.max(1, endMs - clock.nowMs());
        try {
          return await transport.unary(method, signal, leftMs, header, input, contextValues);
        } catch (error) {
          if (ConnectError.from(error).code !== Code.Unavailable) throw error;
          const delayMs = backoffMs(backoff, attempt, fraction());
          if (attempt + 1 >= options.triesMax || clock.nowMs() + delayMs >= endMs) throw error;
          await sleep(clock, delayMs, signal);
        }
      }
    },
  };
}
