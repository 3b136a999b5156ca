/** Log lines: stored once, in order, within their limit, and only by the process that decides. */
import { afterAll, beforeAll, beforeEach, describe, expect, it } from 'vitest';
import { systemClock } from '../../src/lib/clock.ts';
import { SILENT_LOG } from '../../src/lib/log.ts';
import { systemIds } from '../../src/lib/random.ts';
import { becomeHolder } from '../../src/store/holder.ts';
import { createLogWriter, type LogLines, type LogWriter, WAITING_LENGTH_MAX } from '../../src/store/logs.ts';
import { readCutBytes, readLogs } from '../../src/store/queries/read_logs.ts';
import { closeGate } from '../support/gate.ts';
import { openTestStore, type TestStore } from '../support/store.ts';

const ids = systemIds();
const LINE_BYTES_MAX = 100;
let store: TestStore;
let logSql: TestStore['sql'];
let epoch: number;
let writer: LogWriter;
let deposed: number;
let runId: string;
let assignmentId: string;

beforeAll(async () => {
  store = await openTestStore();
  const holder = await becomeHolder(store.database, 'test', SILENT_LOG);
  await holder.release();
});
afterAll(() => store.close());

beforeEach(async () => {
  epoch = (await store.sql<{ epoch: number }[]>`SELECT epoch::int FROM holder`)[0]?.epoch ?? 0;
  logSql = store.database.connect({ max: 1, connection: { application_name: 'yardmaster logs' } });
  runId = ids.orderedId();
  assignmentId = ids.randomId();
  deposed = 0;
  writer = newWriter();
  return async () => {
    writer.stop();
    await logSql.end({ timeout: 1 });
  };
});

/** As after a restart: it remembers nothing. */
function newWriter(bytesPerAttemptMax = LINE_BYTES_MAX): LogWriter {
  const clock = systemClock();
  const onDeposed = () => {
    deposed += 1;
  };
  return createLogWriter({
    sql: logSql,
    epoch,
    bytesPerAttemptMax,
    clock,
    fraction: () => 0,
    log: store.log,
    onDeposed,
  });
}

function lines(firstLineNumber: number, texts: string[], more: Partial<LogLines> = {}): LogLines {
  const entries = texts.map((text, index) => ({ lineMs: 1_700_000_000_000 + index, level: 2, text }));
  return { assignmentId, runId, stepName: 'step', attempt: 1, firstLineNumber, lines: entries, ...more };
}

/** Resolves when the lines are settled. */
const add = (logged: LogLines) => new Promise<void>((settle) => writer.add(logged, settle));

const stored = () => readLogs(store.sql, runId, 'step', 0, 1_000);
const texts = async () => (await stored()).map(({ text }) => text);
const totals = async () =>
  (
    await store.sql`SELECT stored_bytes::int AS stored, cut_bytes::int AS cut FROM step_log_totals WHERE assignment_id = ${assignmentId}`
  )[0];

describe('whoever waits until lines are stored', () => {
  it('waits for those added before, and not for those behind them', async () => {
    await writer.stored();
    const gate = await closeGate(store, 'LOGS');
    writer.add(lines(1, ['one']), () => {});
    await gate.reached();
    const order: string[] = [];
    const first = writer.stored().then(() => order.push('first'));
    writer.add(lines(2, ['two']), () => order.push('two is stored'));
    await store.sql`SELECT 1`;
    expect(order).toEqual([]);
    await gate.open();
    await Promise.all([first, writer.settled()]);
    expect(order).toEqual(['first', 'two is stored']);
  });

  it('does not wait for a writer that was stopped', async () => {
    const gate = await closeGate(store, 'LOGS');
    writer.add(lines(1, ['one']), () => {});
    await gate.reached();
    const waiting = writer.stored();
    writer.stop();
    await waiting;
    await writer.stored();
    await gate.open();
  });
});

describe('lines', () => {
  it('keep their number, time and level', async () => {
    const logged = lines(1, ['one', 'two']);
    await add({ ...logged, lines: logged.lines.map((line, index) => ({ ...line, level: index + 1 })) });
    expect(await stored()).toMatchObject([
      { number: 1, attempt: 1, level: 1, text: 'one', lineMs: 1_700_000_000_000 },
      { number: 2, attempt: 1, level: 2, text: 'two', lineMs: 1_700_000_000_001 },
    ]);
  });

  it('sent again are stored once, and counted once', async () => {
    await add(lines(1, ['one', 'two']));
    await add(lines(1, ['one', 'two', 'three']));
    expect(await texts()).toEqual(['one', 'two', 'three']);
    expect(await totals()).toEqual({ stored: 11, cut: 0 });
  });

  it('sent again after a restart are stored once', async () => {
    await add(lines(1, ['one', 'two']));
    writer = newWriter();
    await add(lines(1, ['one', 'two', 'three']));
    await add(lines(4, ['four']));
    expect(await texts()).toEqual(['one', 'two', 'three', 'four']);
    expect(await totals()).toEqual({ stored: 15, cut: 0 });
  });

  it('that come after those behind them are not taken for repeated ones', async () => {
    await add(lines(1, ['one']));
    await add(lines(4, ['four']));
    await add(lines(2, ['two', 'three', 'four', 'five']));
    await add(lines(2, ['two', 'three']));
    expect((await texts()).sort()).toEqual(['five', 'four', 'one', 'three', 'two']);
    expect(await totals()).toEqual({ stored: 19, cut: 0 });
  });

  it('are in the order they arrived, over the attempts', async () => {
    await add(lines(1, ['a1', 'a2']));
    const second = { assignmentId: ids.randomId(), attempt: 2 };
    await Promise.all([add(lines(1, ['b1'], second)), add(lines(2, ['b2'], second))]);
    expect((await stored()).map(({ attempt, number }) => `${attempt}.${number}`)).toEqual(['1.1', '1.2', '2.1', '2.2']);
  });

  it('of many streams settle in the order they came', async () => {
    const settled: number[] = [];
    const all = Array.from({ length: 20 }, (_, index) =>
      add(lines(1, [`${index}`], { assignmentId: ids.randomId() })).then(() => settled.push(index)),
    );
    await Promise.all(all);
    expect(settled).toEqual([...settled].sort((a, b) => a - b));
  });
});

describe('the limit of an attempt', () => {
  const long = 'x'.repeat(60);

  it('cuts what goes over it, in bytes, and counts it', async () => {
    await add(lines(1, [long, 'é'.repeat(25), long]));
    expect(await texts()).toEqual([long]);
    // 25 letters of two bytes each do not fit into the 40 that are left.
    expect(await totals()).toEqual({ stored: 60, cut: 110 });
    // Which step an assignment was of is written with its attempt.
    await store.sql`INSERT INTO attempts
      (assignment_id, run_id, step_name, number, worker_id, worker_name, labels_revision, assign_time, end_time, outcome)
      VALUES (${assignmentId}, ${runId}, 'step', 1, ${ids.randomId()}, 'alpha', 0, now(), now(), 'APPLICATION')`;
    expect(await readCutBytes(store.sql, runId, 'step')).toBe(110);
  });

  it('is remembered over a restart', async () => {
    await add(lines(1, [long]));
    writer = newWriter();
    await add(lines(2, [long, 'short']));
    expect(await texts()).toEqual([long, 'short']);
    expect(await totals()).toEqual({ stored: 65, cut: 60 });
  });

  it('is of each attempt alone', async () => {
    await add(lines(1, [long, long]));
    await add(lines(1, [long], { assignmentId: ids.randomId(), attempt: 2 }));
    expect(await texts()).toEqual([long, long]);
  });
});

describe('a store that is away, or not ours', () => {
  it('a stale epoch stores nothing, settles nothing, and says so', async () => {
    await store.sql`UPDATE holder SET epoch = epoch + 1`;
    let settled = false;
    writer.add(lines(1, ['late']), () => {
      settled = true;
    });
    await writer.settled();
    expect({ settled, deposed, stored: await texts(), totals: await totals() }).toEqual({
      settled: false,
      deposed: 1,
      stored: [],
      totals: undefined,
    });
  });

  it.each(['cutBefore', 'cutAfter'] as const)('a connection lost (%s): once all the same', async (cut) => {
    await add(lines(1, ['one']));
    const done = store.proxy[cut]('yardmaster logs');
    const second = add(lines(2, ['two']));
    await done;
    await second;
    expect(await texts()).toEqual(['one', 'two']);
  });

  it('a connection lost while totals are read: nothing is taken for repeated', async () => {
    await add(lines(1, ['one']));
    writer = newWriter();
    const other = ids.randomId();
    const done = store.proxy.cutBefore('yardmaster logs');
    const both = Promise.all([add(lines(1, ['a'], { assignmentId: other, attempt: 2 })), add(lines(2, ['two']))]);
    await done;
    await both;
    expect((await texts()).sort()).toEqual(['a', 'one', 'two']);
  });

  it('what it will never take costs nobody else their lines', async () => {
    const bad = lines(Number.MAX_SAFE_INTEGER * 4_096, ['beyond every number'], { assignmentId: ids.randomId() });
    await Promise.all([add(bad), add(lines(1, ['one']))]);
    expect(await texts()).toEqual(['one']);
    expect(store.log.records.some(({ event }) => event === 'log lines could not be stored')).toBe(true);
  });

  it('is full when too much waits', async () => {
    store.proxy.hold();
    expect(writer.isFull()).toBe(false);
    const huge = add(lines(1, ['x'.repeat(WAITING_LENGTH_MAX)]));
    expect(writer.isFull()).toBe(true);
    store.proxy.resume();
    await huge;
    expect(writer.isFull()).toBe(false);
  });
});
