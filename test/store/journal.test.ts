/** Group commit, with a store that is a function: what is written when, and what is let go when. */
import { beforeEach, describe, expect, it, vi } from 'vitest';
import type { Change } from '../../src/engine/turn.ts';
import { SILENT_LOG } from '../../src/lib/log.ts';
import { BATCH_BYTES_MAX, BATCH_ROWS_MAX, createBatch, type Entry, type SealedBatch } from '../../src/store/batch.ts';
import { DeposedError } from '../../src/store/holder.ts';
import { createJournal, type Journal, STALLED_MS } from '../../src/store/journal.ts';
import { createYard, draftOf, type Yard } from '../support/engine.ts';
import { aMoment, movingClock, WAIT } from '../support/store.ts';

interface Write {
  readonly batch: SealedBatch;
  readonly number: number;
  done(): void;
  fail(error: unknown): void;
}

let yard: Yard;
let clock: ReturnType<typeof movingClock>;
let writes: Write[];
/** What became of the entries, in order. */
let events: string[];
let journal: Journal;
const fatal = vi.fn();

beforeEach(() => {
  yard = createYard();
  clock = movingClock();
  writes = [];
  events = [];
  fatal.mockReset();
  journal = createJournal({
    commit: (batch, number) => new Promise((done, fail) => writes.push({ batch, number, done, fail })),
    clock,
    fraction: () => 0,
    log: SILENT_LOG,
    onFatal: fatal,
  });
});

const away = Object.assign(new Error('gone'), { code: 'CONNECTION_CLOSED' });

const entry = (name: string): Entry => ({
  command: name,
  release: () => void events.push(name),
  abandon: (why) => void events.push(`${name} ${why}`),
});

/** The changes of one submitted run. */
function submitted(inputJson?: string): readonly Change[] {
  const runId = yard.submit();
  const changes = yard.changes;
  return inputJson === undefined
    ? changes
    : changes.map((change) =>
        change.table === 'runs' && change.run.runId === runId ? { ...change, insert: { inputJson } } : change,
      );
}

async function nextWrite(count: number): Promise<Write> {
  await vi.waitFor(() => expect(writes.length).toBeGreaterThanOrEqual(count), WAIT);
  return writes[count - 1] as Write;
}

const rowsOf = (batch: SealedBatch, part: string): readonly unknown[] =>
  batch.rows[batch.parts.indexOf(part as never)] ?? [];

describe('what leaves, and when', () => {
  it('nothing before its commit, everything after it, in order', async () => {
    journal.add(submitted(), entry('first'));
    journal.add([], entry('read'));
    journal.add(submitted(), entry('second'));
    const write = await nextWrite(1);
    expect(events).toEqual([]);
    write.done();
    await journal.settled();
    expect(events).toEqual(['first', 'read', 'second']);
    expect(journal.counts).toEqual({ commits: 1, commands: 3 });
  });

  it('a command without changes leaves at once when nothing is under way', () => {
    journal.add([], entry('read'));
    expect(events).toEqual(['read']);
  });

  it('what comes while a batch is written gathers for the next one', async () => {
    journal.add(submitted(), entry('first'));
    const first = await nextWrite(1);
    for (const name of ['second', 'third']) journal.add(submitted(), entry(name));
    journal.add([], entry('read'));
    first.done();
    const second = await nextWrite(2);
    expect(events).toEqual(['first']);
    expect(rowsOf(second.batch, 'runs_insert')).toHaveLength(2);
    expect(second.number).toBe(2);
    second.done();
    await journal.settled();
    expect(events).toEqual(['first', 'second', 'third', 'read']);
  });

  it('what nobody waits for travels with what somebody does', async () => {
    journal.add(submitted(), entry('accepted'), false);
    journal.add(submitted(), entry('asked'));
    const write = await nextWrite(1);
    expect(write.batch.entries.map(({ command }) => command)).toEqual(['accepted', 'asked']);
    write.done();
    await journal.settled();
    expect(events).toEqual(['accepted', 'asked']);
  });

  it('what nobody waits for leaves by itself all the same', async () => {
    journal.add(submitted(), entry('accepted'), false);
    (await nextWrite(1)).done();
    await vi.waitFor(() => expect(events).toEqual(['accepted']), WAIT);
  });

  it('an entry that throws keeps nobody else back', async () => {
    journal.add(submitted(), {
      ...entry('broken'),
      release() {
        throw new Error('its stream is gone');
      },
    });
    journal.add([], entry('next'));
    (await nextWrite(1)).done();
    await journal.settled();
    expect(events).toEqual(['next']);
  });

  it('commands without changes are not written, and wait all the same', async () => {
    journal.add(submitted(), entry('first'));
    const first = await nextWrite(1);
    journal.add([], entry('read'));
    expect(events).toEqual([]);
    first.done();
    await journal.settled();
    expect(events).toEqual(['first', 'read']);
    expect(writes).toHaveLength(1);
  });
});

describe('a batch', () => {
  it('holds one image a row: the last one', () => {
    const batch = createBatch();
    const worker = yard.hello({ name: 'alpha' });
    batch.add(yard.changes, entry('hello'));
    const runId = yard.submit();
    batch.add(yard.changes, entry('submit'));
    worker.accept(runId);
    batch.add(yard.changes, entry('accept'));
    worker.succeed(runId, '"out"');
    batch.add(yard.changes, entry('succeed'));
    const sealed = batch.seal();
    expect(sealed.parts).toEqual(['runs_insert', 'step_totals', 'run_totals', 'leaderboard', 'workers']);
    expect(rowsOf(sealed, 'runs_insert')).toMatchObject([
      { run_id: runId, state: 'SUCCEEDED', output: '"out"', input: `{"for":"${runId}"}` },
    ]);
    expect(rowsOf(sealed, 'workers')).toMatchObject([{ name: 'alpha', completed_count: 1 }]);
  });

  it('shows what is, at the moment it is sealed: later commands change nothing in it', async () => {
    const worker = yard.hello({ name: 'alpha' });
    const runId = yard.submit();
    journal.add(yard.changes, entry('submit'));
    const first = await nextWrite(1);
    worker.accept(runId);
    journal.add(yard.changes, entry('accept'));
    expect(rowsOf(first.batch, 'runs_insert')).toMatchObject([{ step_state: 'ASSIGNED' }]);
    first.done();
    const second = await nextWrite(2);
    expect(second.batch.parts).toEqual(['runs_execute']);
    expect(rowsOf(second.batch, 'runs_execute')).toMatchObject([{ run_id: runId, step_state: 'RUNNING' }]);
    second.done();
    await journal.settled();
  });

  it('is closed at its number of rows, never inside a command', async () => {
    const drafts = Array.from({ length: BATCH_ROWS_MAX + 10 }, (_, index) => draftOf(`many-${index}`));
    yard.take({ kind: 'schedule_runs', runs: drafts });
    journal.add(yard.changes, entry('many'));
    journal.add(submitted(), entry('one'));
    const first = await nextWrite(1);
    expect(first.batch.entries).toHaveLength(1);
    expect(rowsOf(first.batch, 'runs_insert')).toHaveLength(BATCH_ROWS_MAX + 10);
    first.done();
    const second = await nextWrite(2);
    expect(rowsOf(second.batch, 'runs_insert')).toHaveLength(1);
    second.done();
    await journal.settled();
    expect(events).toEqual(['many', 'one']);
  });

  it('is closed at its payload', async () => {
    const inputJson = JSON.stringify('x'.repeat(BATCH_BYTES_MAX / 2));
    for (const name of ['first', 'second', 'third']) journal.add(submitted(inputJson), entry(name));
    const first = await nextWrite(1);
    expect(first.batch.entries.map(({ command }) => command)).toEqual(['first', 'second']);
    first.done();
    (await nextWrite(2)).done();
    await journal.settled();
    expect(events).toEqual(['first', 'second', 'third']);
  });

  it('has one command when that is asked for', async () => {
    journal.setOneCommandPerBatch(true);
    for (const name of ['first', 'second']) journal.add(submitted(), entry(name));
    (await nextWrite(1)).done();
    const second = await nextWrite(2);
    expect(second.batch.entries.map(({ command }) => command)).toEqual(['second']);
    expect(events).toEqual(['first']);
    second.done();
    await journal.settled();
  });
});

describe('a store that does not answer, or says no', () => {
  it('the same batch under the same number again, until it is there', async () => {
    journal.add(submitted(), entry('first'));
    const first = await nextWrite(1);
    first.fail(away);
    const again = await nextWrite(2);
    expect(again.batch).toBe(first.batch);
    expect(again.number).toBe(1);
    expect(events).toEqual([]);
    again.done();
    await journal.settled();
    expect(events).toEqual(['first']);
  });

  it('is stalled once a commit takes too long, failing or silent, until it is through', async () => {
    journal.add(submitted(), entry('first'));
    const first = await nextWrite(1);
    clock.advance(STALLED_MS - 100);
    expect(journal.isStalled()).toBe(false);
    first.fail(away);
    const again = await nextWrite(2);
    clock.advance(200);
    expect(journal.isStalled()).toBe(true);
    again.done();
    await journal.settled();
    expect(journal.isStalled()).toBe(false);
  });

  it('any other error is the end: nothing more is written or released', async () => {
    journal.add(submitted(), entry('first'));
    journal.add([], entry('read'));
    const first = await nextWrite(1);
    journal.add(submitted(), entry('second'));
    first.fail(new Error('no such column'));
    await vi.waitFor(() => expect(fatal).toHaveBeenCalledOnce(), WAIT);
    journal.add([], entry('late read'));
    journal.add(submitted(), entry('late'));
    expect(events).toEqual(['late read STANDING_DOWN', 'late STANDING_DOWN']);
    journal.stop();
    await journal.settled();
    expect(events.slice(2)).toEqual(['first STANDING_DOWN', 'read STANDING_DOWN', 'second STANDING_DOWN']);
    expect(writes).toHaveLength(1);
  });

  it('one command alone in its batch is the culprit, and is told before the owner stands down', async () => {
    fatal.mockImplementation(() => events.push('standing down'));
    journal.setOneCommandPerBatch(true);
    journal.add(submitted(), entry('bad'));
    journal.add(submitted(), entry('good'));
    (await nextWrite(1)).fail(new Error('invalid input'));
    await vi.waitFor(() => expect(fatal).toHaveBeenCalledOnce(), WAIT);
    journal.stop();
    expect(events).toEqual(['bad CULPRIT', 'standing down', 'good STANDING_DOWN']);
  });

  it('nobody is the culprit when another process decides', async () => {
    journal.add(submitted(), entry('only'));
    (await nextWrite(1)).fail(new DeposedError('epoch 2 has begun'));
    await vi.waitFor(() => expect(fatal).toHaveBeenCalledOnce(), WAIT);
    journal.stop();
    expect(events).toEqual(['only STANDING_DOWN']);
  });

  it('stopped while it writes: nothing is released, whatever the store says later', async () => {
    journal.add(submitted(), entry('first'));
    const first = await nextWrite(1);
    journal.stop();
    first.done();
    await journal.settled();
    expect(events).toEqual(['first STANDING_DOWN']);
  });
});

describe('the lease', () => {
  const LEASE_MS = 5_000;
  const leased = () => {
    journal.stop();
    writes = [];
    journal = createJournal({
      commit: (batch, number) => new Promise((done, fail) => writes.push({ batch, number, done, fail })),
      clock,
      fraction: () => 0,
      log: SILENT_LOG,
      onFatal: fatal,
      leaseMs: LEASE_MS,
    });
  };
  const QUIET = { parts: [], rows: [] };

  it('is renewed when nothing else is written, less than once a second', async () => {
    leased();
    (await nextWrite(1)).done();
    await journal.settled();
    clock.advance(LEASE_MS / 4 - 100);
    journal.add(submitted(), entry('first'));
    (await nextWrite(2)).done();
    await journal.settled();
    // What was written has renewed it.
    clock.advance(200);
    await aMoment();
    expect(writes).toHaveLength(2);
    clock.advance(LEASE_MS / 4);
    const third = await nextWrite(3);
    expect(third.batch).toMatchObject(QUIET);
    expect(third.number).toBe(3);
    third.done();
    expect(LEASE_MS / 4).toBeGreaterThanOrEqual(1_000);
    expect(journal.counts).toEqual({ commits: 1, commands: 1 });
  });

  it('nothing is released once it is nearly over, until the store has renewed it', async () => {
    leased();
    (await nextWrite(1)).done();
    await journal.settled();
    journal.add([], entry('read'));
    expect(events).toEqual(['read']);
    journal.add(submitted(), entry('written'));
    const second = await nextWrite(2);
    // The commit is through, and then the process stood still.
    clock.advance(LEASE_MS - 999);
    second.done();
    const third = await nextWrite(3);
    expect(events).toEqual(['read']);
    journal.add([], entry('read later'));
    third.done();
    await journal.settled();
    expect(events).toEqual(['read', 'written', 'read later']);
  });

  it('lost meanwhile: nothing of it is released', async () => {
    leased();
    (await nextWrite(1)).done();
    await journal.settled();
    journal.add(submitted(), entry('written'));
    const second = await nextWrite(2);
    clock.advance(LEASE_MS);
    second.done();
    (await nextWrite(3)).fail(new DeposedError('another epoch'));
    await vi.waitFor(() => expect(fatal).toHaveBeenCalledOnce(), WAIT);
    journal.stop();
    expect(events).toEqual(['written STANDING_DOWN']);
  });
});

describe('asking whether the store is there', () => {
  it('writes nothing when it has answered lately', async () => {
    journal.add(submitted(), entry('first'));
    (await nextWrite(1)).done();
    await journal.settled();
    journal.confirm(() => events.push('there'));
    expect(events).toEqual(['first', 'there']);
    expect(writes).toHaveLength(1);
  });

  it('else waits for its answer, however long that takes', async () => {
    journal.confirm(() => events.push('there'));
    const first = await nextWrite(1);
    expect(first.batch).toMatchObject({ parts: [], rows: [] });
    clock.advance(60_000);
    expect(events).toEqual([]);
    first.fail(away);
    (await nextWrite(2)).done();
    await journal.settled();
    expect(events).toEqual(['there']);
  });
});
