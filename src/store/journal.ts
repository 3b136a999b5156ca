/**
 * Group commit. While one batch is being written the next one gathers; what a command wants to send is released only
 * when the batch that holds its changes is in the store, in the order of the commands.
 */
import type { Change } from '../engine/turn.ts';
import { type Backoff, backoffMs } from '../lib/backoff.ts';
import { type Clock, sleep } from '../lib/clock.ts';
import type { Log } from '../lib/log.ts';
import { createBatch, type Entry, type OpenBatch, type SealedBatch } from './batch.ts';
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
  /** The batch cannot be written, now or ever. Nothing more is released; the owner stands down and stops the journal. */
  readonly onFatal: (error: unknown) => void;
  /** Seal after every command, to find the one that fails. */
  readonly oneCommandPerBatch?: boolean;
}

export interface JournalCounts {
  commits: number;
  commands: number;
}

export interface Journal {
  /** Takes a command's changes; its entry is released after their commit, or at once when there is nothing to wait for. */
  add(changes: readonly Change[], entry: Entry): void;
  /** The store has not answered for too long. */
  isStalled(): boolean;
  /** Resolves when everything added so far is written and released. */
  settled(): Promise<void>;
  /** Seal after every command, or in groups. */
  setOneCommandPerBatch(on: boolean): void;
  /** Releases nothing more: what was not released is abandoned. */
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
  let writing: SealedBatch | null = null;
  let writingSinceMs = 0;
  let culprit: Entry | null = null;
  let oneCommandPerBatch = options.oneCommandPerBatch ?? false;

  function seal(): SealedBatch {
    const batch = open.seal();
    open = createBatch();
    return batch;
  }

  async function pump(): Promise<void> {
    // One microtask later, so that commands of the same moment share the commit.
    await null;
    try {
      while (!stopped.signal.aborted && (sealed.length > 0 || !open.isEmpty)) {
        const batch = sealed.shift() ?? seal();
        if (batch.parts.length > 0 && !(await write(batch))) return;
        release(batch);
      }
    } finally {
      pumping = null;
    }
  }

  /** Tries until it is written; false when it never will be. */
  async function write(batch: SealedBatch): Promise<boolean> {
    batchNumber += 1;
    writing = batch;
    writingSinceMs = clock.nowMs();
    for (let tries = 0; ; tries++) {
      try {
        await commit(batch, batchNumber);
        if (stopped.signal.aborted) return false;
        writing = null;
        counts.commits += 1;
        counts.commands += batch.entries.length;
        return true;
      } catch (error) {
        if (stopped.signal.aborted) return false;
        if (!isTransient(error)) {
          log.error({ err: error, commands: batch.entries.map((entry) => entry.command) }, 'batch cannot be written');
          if (batch.entries.length === 1) culprit = batch.entries[0] ?? null;
          options.onFatal(error);
          return false;
        }
        log.warn({ tries, code: (error as { code?: string }).code }, 'commit failed, trying again');
        await sleep(clock, backoffMs(RETRY, tries, options.fraction()), stopped.signal).catch(() => {});
        if (stopped.signal.aborted) return false;
      }
    }
  }

  function release(batch: SealedBatch): void {
    for (const entry of batch.entries) {
      try {
        entry.release();
      } catch (error) {
        // One stream's trouble must not keep the others' effects back.
        log.error({ err: error }, 'an effect failed');
      }
    }
  }

  return {
    counts,
    add(changes, entry) {
      if (stopped.signal.aborted) {
        entry.abandon('STANDING_DOWN');
        return;
      }
      if (changes.length === 0 && pumping === null) {
        entry.release();
        return;
      }
      open.add(changes, entry);
      if (open.isFull || oneCommandPerBatch) sealed.push(seal());
      pumping ??= pump();
    },
    setOneCommandPerBatch(on) {
      oneCommandPerBatch = on;
    },
    isStalled: () => writing !== null && clock.nowMs() - writingSinceMs > STALLED_MS,
    async settled() {
      while (pumping !== null) await pumping;
    },
    stop() {
      if (stopped.signal.aborted) return;
      stopped.abort(new Error('the journal was stopped'));
      const left = [...(writing === null ? [] : [writing]), ...sealed, open.seal()];
      for (const batch of left) {
        for (const entry of batch.entries) entry.abandon(entry === culprit ? 'CULPRIT' : 'STANDING_DOWN');
      }
    },
  };
}
