/**
 * Group commit. While one batch is being written the next one gathers; what a command wants to send is released only
 * when the batch that holds its changes is in the store, in the order of the commands.
 */
import type { Change } from '../engine/turn.ts';
import { type Backoff, backoffMs } from '../lib/backoff.ts';
import { type Clock, sleep, type Timer } from '../lib/clock.ts';
import type { Log } from '../lib/log.ts';
import { createBatch, type Entry, type OpenBatch, type SealedBatch } from './batch.ts';
import { DeposedError } from './holder.ts';
import { errorFacts, isTransient } from './transient.ts';

/**
 * What is not urgent waits this long for something to travel with. An accept and the success right behind it then
 * cost one commit, and a submission that follows them does not have to wait until that one is through.
 */
const COMPANY_MS = 3;

const RETRY: Backoff = { initialMs: 20, factor: 2, maxMs: 1_000 };

/** A commit under way for longer than this means that the store is away: new work is better refused. */
export const STALLED_MS = 2_000;

/** A store that has answered this lately is there: what is due may be decided without asking it first. */
const FRESH_MS = 250;

/** Renewals within the time of a lease: some may be late, and an idle plane still costs less than a statement a second. */
const RENEWALS_PER_LEASE = 3;

/** Effects leave only while the lease has this much left: they take a moment, and clocks go at different paces. */
const LEASE_MARGIN_MS = 1_000;
/** Of a short lease no more than this part of it. */
const LEASE_MARGIN_SHARE = 0.2;

/** With so many commands waiting for the store, or … */
const WAITING_COMMANDS_MAX = 50_000;
/** … this much of their payloads, in UTF-16 units, whoever has more should keep it for a while. */
export const WAITING_LENGTH_MAX = 64 * 1024 * 1024;

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
  /** How long a commit gives the right to decide, counted from when it was sent. Without it the right never ends. */
  readonly leaseMs?: number;
}

interface JournalCounts {
  commits: number;
  commands: number;
}

export interface Journal {
  /**
   * Takes a command's changes; its entry is released after their commit, or at once when there is nothing to wait
   * for. Not urgent: nobody waits for it, so it may wait a moment for company and save a commit.
   */
  add(changes: readonly Change[], entry: Entry, urgent?: boolean): void;
  /** The store has not answered for too long. */
  isStalled(): boolean;
  /** Too much waits already. */
  isFull(): boolean;
  /** Calls `then` while the store is known to be there: at once, or after asking it, however long that takes. */
  confirm(then: () => void): void;
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
  let urgent = false;
  let company: Timer | null = null;
  let writing: SealedBatch | null = null;
  let writingSinceMs = 0;
  let failed = false;
  let confirming: (() => void)[] = [];
  let probing = false;
  let renewal: Timer | null = null;
  /** When the last commit that succeeded was sent, and when its answer came. */
  let sentMs = Number.NEGATIVE_INFINITY;
  let answeredMs = Number.NEGATIVE_INFINITY;
  const leaseMs = options.leaseMs ?? Number.POSITIVE_INFINITY;
  const leaseMarginMs = Math.min(LEASE_MARGIN_MS, leaseMs * LEASE_MARGIN_SHARE);
  const renewMs = leaseMs / RENEWALS_PER_LEASE;
  let oneCommandPerBatch = options.oneCommandPerBatch ?? false;

  /** Nothing more is written or released. */
  const isOver = () => failed || stopped.signal.aborted;

  function leaseHolds(): boolean {
    return leaseMs === Number.POSITIVE_INFINITY || clock.nowMs() < sentMs + leaseMs - leaseMarginMs;
  }

  /** Looks at a time at which something should have been written, and writes if nothing was. One timer, however much is. */
  function watchLease(): void {
    if (leaseMs === Number.POSITIVE_INFINITY || isOver()) return;
    const dueMs = sentMs + renewMs;
    const nowMs = clock.nowMs();
    if (nowMs >= dueMs) probe();
    renewal = clock.after(nowMs >= dueMs ? renewMs : dueMs - nowMs, watchLease);
  }

  /** Writes, be it nothing but the guard. */
  function probe(): void {
    probing = true;
    kick();
  }

  function seal(): SealedBatch {
    const batch = open.seal();
    open = createBatch();
    urgent = false;
    return batch;
  }

  function kick(): void {
    company?.clear();
    company = null;
    urgent = true;
    pumping ??= pump();
  }

  function waitForCompany(): void {
    if (pumping === null && !open.isEmpty) company ??= clock.after(COMPANY_MS, kick);
  }

  async function pump(): Promise<void> {
    // One microtask later, so that commands of the same moment share the commit.
    await null;
    try {
      let next = begin();
      while (next !== null) {
        const { batch, written } = next;
        if (!(await written)) return;
        // Whoever was paused since may have lost the right: only the store knows.
        while (!leaseHolds()) if (!(await write({ ...batch, parts: [], rows: [] }))) return;
        // The store gets the next one first, and has it to work on while this one's effects leave.
        next = begin();
        release(batch);
        next ??= begin();
      }
    } finally {
      pumping = null;
      if (!isOver()) waitForCompany();
    }
  }

  /** Sends what is to be written next; null: nothing is. */
  function begin(): { readonly batch: SealedBatch; readonly written: Promise<boolean> | true } | null {
    if (isOver() || (sealed.length === 0 && !urgent)) return null;
    const batch = sealed.shift() ?? seal();
    return { batch, written: batch.parts.length > 0 || probing ? write(batch) : true };
  }

  /** Tries until it is written; false when it never will be. */
  async function write(batch: SealedBatch): Promise<boolean> {
    batchNumber += 1;
    writing = batch;
    writingSinceMs = clock.nowMs();
    probing = false;
    for (let tries = 0; ; tries++) {
      try {
        await commit(batch, batchNumber);
        if (stopped.signal.aborted) return false;
        writing = null;
        // Of the first try: it may have been the one that was carried out.
        sentMs = writingSinceMs;
        answeredMs = clock.nowMs();
        if (batch.parts.length > 0) counts.commits += 1;
        if (batch.parts.length > 0) counts.commands += batch.entries.length;
        return true;
      } catch (error) {
        if (stopped.signal.aborted) return false;
        if (!isTransient(error)) {
          log.error(
            { ...errorFacts(error), commands: batch.entries.map((entry) => entry.command) },
            'batch cannot be written',
          );
          failed = true;
          // Told before the others are abandoned: by then its stream may be closed, and it would send the same again.
          if (batch.entries.length === 1 && !(error instanceof DeposedError)) {
            writing = null;
            abandon(batch, 'CULPRIT');
          }
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
    const confirmed = confirming;
    confirming = [];
    for (const then of confirmed) then();
    for (const entry of batch.entries) {
      try {
        entry.release();
      } catch (error) {
        // One stream's trouble must not keep the others' effects back.
        log.error({ err: error }, 'an effect failed');
      }
    }
  }

  function abandon(batch: SealedBatch, why: 'CULPRIT' | 'STANDING_DOWN'): void {
    for (const entry of batch.entries) {
      try {
        entry.abandon(why);
      } catch (error) {
        log.error({ err: error }, 'a caller could not be told that its command was abandoned');
      }
    }
  }

  const waiting = () => [...(writing === null ? [] : [writing]), ...sealed];

  watchLease();
  return {
    counts,
    add(changes, entry, isUrgent = true) {
      if (isOver()) {
        entry.abandon('STANDING_DOWN');
        return;
      }
      if (changes.length === 0 && pumping === null && open.isEmpty && leaseHolds()) {
        entry.release();
        return;
      }
      open.add(changes, entry);
      if (open.isFull || oneCommandPerBatch) sealed.push(seal());
      if (isUrgent || sealed.length > 0) kick();
      else waitForCompany();
    },
    setOneCommandPerBatch(on) {
      oneCommandPerBatch = on;
    },
    isFull() {
      let commands = open.commandCount;
      let length = open.payloadLength;
      for (const batch of waiting()) {
        commands += batch.entries.length;
        length += batch.payloadLength;
      }
      return commands >= WAITING_COMMANDS_MAX || length >= WAITING_LENGTH_MAX;
    },
    confirm(then) {
      if (isOver()) return;
      if (clock.nowMs() - answeredMs <= FRESH_MS && leaseHolds()) {
        then();
        return;
      }
      confirming.push(then);
      probe();
    },
    isStalled: () => writing !== null && clock.nowMs() - writingSinceMs > STALLED_MS,
    async settled() {
      while (!isOver() && (pumping !== null || !open.isEmpty)) {
        kick();
        await pumping;
      }
    },
    stop() {
      if (stopped.signal.aborted) return;
      company?.clear();
      renewal?.clear();
      stopped.abort(new Error('the journal was stopped'));
      const left = [...waiting(), open.seal()];
      for (const batch of left) abandon(batch, 'STANDING_DOWN');
    },
  };
}
