/**
 * Group commit. While one batch is being written the next one gathers; what a command wants to send is released only
 * when the batch that holds its changes is in the store, in the order of the commands.
 */
import type { Change } from '../engine/turn.ts';
import { type Backoff, backoffMs } from '../lib/backoff.ts';
import { type Clock, sleep } from '../lib/clock.ts';
import type { Log } from '../lib/log.ts';
import { createBatch, type OpenBatch, type SealedBatch } from './batch.ts';
import { isTransient } from './transient.ts';

const RETRY: Backoff = { initialMs: 20, factor: 2, maxMs: 1_000 };

/** A commit under way for longer than this means that the store is away: new work is better refused. */
export const STALLED_MS = 2_000;

/** Writes a batch under its number: 1, 2, 3 … within an epoch. The same number again must change nothing. */
export type Commit = (batch: SealedBatch, number: number) => Promise<void>;

export interface JournalOptions {
  readonly commit: Commit;
  readonly clock: Clock;
  readonly fraction: () => number;
  readonly log: Log;
  /** The batch cannot be written, now or ever. Nothing more is released; the owner stands down. */
  readonly onFatal: (error: unknown, batch: SealedBatch) => void;
  /** Seal after every command, to find the one that fails. */
  readonly oneCommandPerBatch?: boolean;
}

export interface JournalCounts {
  commits: number;
  commands: number;
}

export interface Journal {
  /** Takes a command's changes; `release` is called after their commit, never inside this call if anything is under way. */
  add(command: string, changes: readonly Change[], release: () => void): void;
  /** The store has not answered for too long. */
  isStalled(): boolean;
  /** Resolves when everything added so far is written and released. */
  settled(): Promise<void>;
  /** Releases nothing more. */
  stop(): void;
  readonly counts: Readonly<JournalCounts>;
}

export function createJournal(options: JournalOptions): Journal {
  const { commit, clock, log } = options;
  const sealed: SealedBatch[] = [];
  const stopped = new AbortController();
  const counts: JournalCounts = { commits: 0, commands: 0 };
  let open: OpenBatch = createBatch();
  let batchNumber = 0;
  let pumping: Promise<void> | null = null;
  let writingSinceMs: number | null = null;

  function seal(): SealedBatch {
    const batch = open.seal();
    open = createBatch();
    return batch;
  }

  async function pump(): Promise<void> {
    // One microtask later, so that commands of the same moment share the commit.
    await null;
    while (!stopped.signal.aborted && (sealed.length > 0 || !open.isEmpty)) {
      const batch = sealed.shift() ?? seal();
      if (batch.parts.length > 0 && !(await write(batch))) return;
      release(batch);
    }
    pumping = null;
  }

  /** Tries until it is written; false when it never will be. */
  async function write(batch: SealedBatch): Promise<boolean> {
    batchNumber += 1;
    writingSinceMs = clock.nowMs();
    for (let tries = 0; ; tries++) {
      try {
        await commit(batch, batchNumber);
        writingSinceMs = null;
        counts.commits += 1;
        counts.commands += batch.commands.length;
        return !stopped.signal.aborted;
      } catch (error) {
        if (stopped.signal.aborted) return false;
        if (!isTransient(error)) {
          options.onFatal(error, batch);
          return false;
        }
        log.warn({ tries, code: (error as { code?: string }).code }, 'commit failed, trying again');
        await sleep(clock, backoffMs(RETRY, tries, options.fraction()), stopped.signal).catch(() => {});
        if (stopped.signal.aborted) return false;
      }
    }
  }

  function release(batch: SealedBatch): void {
    for (const releaseOne of batch.releases) {
      try {
        releaseOne();
      } catch (error) {
        // One stream's trouble must not keep the others' effects back.
        log.error({ err: error }, 'an effect failed');
      }
    }
  }

  return {
    counts,
    add(command, changes, releaseOne) {
      if (stopped.signal.aborted) return;
      if (changes.length === 0 && pumping === null) {
        releaseOne();
        return;
      }
      open.add(command, changes, releaseOne);
      if (open.isFull || options.oneCommandPerBatch) sealed.push(seal());
      pumping ??= pump();
    },
    isStalled: () => writingSinceMs !== null && clock.nowMs() - writingSinceMs > STALLED_MS,
    async settled() {
      while (pumping !== null) await pumping;
    },
    stop: () => stopped.abort(new Error('the journal was stopped')),
  };
}
