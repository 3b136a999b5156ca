/** Watches that outlive their stream: a server that starts again ends them, and is then watched anew. */
import { Code, ConnectError } from '../../client/index.ts';
import { type Backoff, backoffMs } from '../../lib/backoff.ts';
import { sleep } from '../../lib/clock.ts';
import { systemIds } from '../../lib/random.ts';
import type { Yard } from '../yard.ts';

const BACKOFF: Backoff = { initialMs: 50, factor: 2, maxMs: 1_000 };
/** A server that was never reached is given up after this … */
const REACH_MS_MAX = 10_000;
/** … and one that went away after this. */
const RETURN_MS_MAX = 60_000;

/** What `open` yields, opened again for as long as the server is only away. Everything else is thrown. */
export async function* watchAnew<T>({ io, signal }: Yard, open: () => AsyncIterable<T>): AsyncGenerator<T, void> {
  const { clock } = io;
  const ids = systemIds();
  let wasReached = false;
  let lostMs: number | null = null;
  for (let tries = 0; ; tries += 1) {
    try {
      for await (const event of open()) {
        wasReached = true;
        lostMs = null;
        tries = 0;
        yield event;
      }
      return;
    } catch (error) {
      if (ConnectError.from(error).code !== Code.Unavailable) throw error;
      lostMs ??= clock.nowMs();
      if (clock.nowMs() - lostMs > (wasReached ? RETURN_MS_MAX : REACH_MS_MAX)) throw error;
      await sleep(clock, backoffMs(BACKOFF, tries, ids.fraction()), signal);
    }
  }
}
