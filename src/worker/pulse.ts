/** When to beat, and when the other side has been silent for too long. */
import { durationMs } from '@bufbuild/protobuf/wkt';
import type { Welcome } from '../../gen/yardmaster/v1/worker_service_pb.ts';
import { PAUSE_MS, WELCOME_TIMEOUT_MS } from './limits.ts';

const HEARTBEAT_INTERVAL_MS_DEFAULT = 5_000;
const SILENCE_TIMEOUT_MS_DEFAULT = 15_000;

export class Pulse {
  #intervalMs = HEARTBEAT_INTERVAL_MS_DEFAULT;
  #silenceTimeoutMs = SILENCE_TIMEOUT_MS_DEFAULT;
  #beatMs = Number.POSITIVE_INFINITY;
  #heardMs = 0;

  get silenceTimeoutMs(): number {
    return this.#silenceTimeoutMs;
  }

  get dueMs(): number {
    return Math.min(this.#heardMs + this.#silenceTimeoutMs, this.#beatMs);
  }

  /** A stream is open; until the welcome there are no beats. */
  opened(nowMs: number): void {
    this.#heardMs = nowMs;
    this.#silenceTimeoutMs = WELCOME_TIMEOUT_MS;
    this.#beatMs = Number.POSITIVE_INFINITY;
  }

  welcomed(welcome: Welcome, nowMs: number): void {
    const { heartbeatInterval, silenceTimeout } = welcome;
    this.#intervalMs = heartbeatInterval ? durationMs(heartbeatInterval) : HEARTBEAT_INTERVAL_MS_DEFAULT;
    this.#silenceTimeoutMs = silenceTimeout ? durationMs(silenceTimeout) : SILENCE_TIMEOUT_MS_DEFAULT;
    this.#beatMs = nowMs + this.#intervalMs;
  }

  /** Any message is a sign of life. */
  heard(nowMs: number): void {
    this.#heardMs = nowMs;
  }

  isSilent(nowMs: number, dueMs: number): boolean {
    if (nowMs - dueMs > PAUSE_MS) {
      // The process stood still: the silence was ours. Give what waits in the socket one interval to be read.
      this.#heardMs = Math.max(this.#heardMs, nowMs - this.#silenceTimeoutMs + this.#intervalMs);
    }
    return nowMs >= this.#heardMs + this.#silenceTimeoutMs;
  }

  /** True, once, when a heartbeat is due. */
  takeBeat(nowMs: number): boolean {
    if (nowMs < this.#beatMs) return false;
    this.#beatMs = nowMs + this.#intervalMs;
    return true;
  }
}
