/** Watches without sockets: what is told between a read and a commit, to a slow reader, and at the end of a plane. */
import { beforeEach, describe, expect, it } from 'vitest';
import type { RunView } from '../../src/engine/views.ts';
import { systemClock } from '../../src/lib/clock.ts';
import { RefusedError } from '../../src/server/errors.ts';
import { tailLogs } from '../../src/server/watch/logs.ts';
import { watchRun } from '../../src/server/watch/run.ts';
import { type WorkerEvent, watchWorkers } from '../../src/server/watch/workers.ts';
import { readRun } from '../../src/store/queries/read_run.ts';
import { closeGate } from '../support/gate.ts';
import { endHolder, openTestStore, someoneWaits, type TestPlane, type TestStore, WAIT } from '../support/store.ts';

const EVENTS_MAX = 4;
const system = systemClock();
let store: TestStore;
let plane: TestPlane;

beforeEach(async () => {
  store = await openTestStore();
  // Whole milliseconds, as on the wire: memory counts finer than the store, and an instant could differ by rounding.
  const clock = { ...system, nowMs: () => Math.floor(system.nowMs()) };
  plane = await store.plane({
    clock,
    limits: { watchEventsMax: EVENTS_MAX, watchesMax: 5 },
    times: { watchProgressIntervalMs: 0 },
  });
  return () => store.close();
});

interface Settings {
  readonly signal?: AbortSignal;
  /** Called around the reading of the store. */
  readonly before?: () => Promise<void>;
  readonly after?: () => Promise<void>;
}

async function stored(runId: string): Promise<RunView> {
  // Past the proxy, so that it also reads what the plane has not heard of yet.
  const run = await readRun(store.sql as never, 'default', runId);
  if (run === null) throw new Error(`run ${runId} is not stored`);
  return run;
}

function watchOf(runId: string, { signal, before, after }: Settings = {}) {
  const read = async () => {
    await before?.();
    const run = await stored(runId);
    await after?.();
    return run;
  };
  return watchRun({ plane, runId, read, signal: signal ?? new AbortController().signal });
}

function workersOf(signal: AbortSignal = new AbortController().signal) {
  return watchWorkers(plane, 'default', signal);
}

function tailOf(runId: string, signal: AbortSignal = new AbortController().signal) {
  return tailLogs({ plane, runId, stepName: '', lastLines: 100, read: () => stored(runId), signal });
}

/** Reads all there is, as fast as it comes. */
function listenTo<T>(events: AsyncGenerator<T>) {
  const heard: T[] = [];
  const over = (async () => {
    for await (const event of events) heard.push(event);
  })();
  over.catch(() => {});
  return {
    heard,
    over,
    length: (count: number) => expect.poll(() => heard.length, WAIT).toBeGreaterThanOrEqual(count),
  };
}

const told = (events: readonly (RunView | 'SKIPPED')[]) =>
  events.map((event) =>
    event === 'SKIPPED' ? event : `${event.revision} ${event.steps[0]?.state}${progressOf(event)}`,
  );
const progressOf = ({ steps }: RunView) => (steps[0]?.progress ? ` ${steps[0].progress.text}` : '');

/** A run that a worker has accepted. */
async function running() {
  const worker = await plane.worker('alpha');
  const runId = await plane.run({ retry: { attemptsMax: 20 } });
  const { connection } = worker;
  const assignmentId = await worker.offered(runId);
  await plane.fact({ kind: 'accept_step', connection, assignmentId });
  const progress = (text: string) =>
    plane.fact({ kind: 'progress_step', connection, assignmentId, progress: { text, phase: '', fraction: null } });
  const succeed = () => plane.fact({ kind: 'succeed_step', connection, assignmentId, outputJson: '"done"' });
  return { worker, connection, runId, assignmentId, progress, succeed };
}

const cancel = (runId: string) =>
  ({ kind: 'cancel_run', namespace: 'default', runId, mode: 'ANY', reason: '', stepName: '' }) as const;

const failure = { reason: 'APPLICATION', type: '', message: 'again', stack: '', retryable: true };

describe('between the read and the changes', () => {
  it('what was decided before the watch and is not stored yet is told with the first state, once', async () => {
    const runId = await plane.run();
    const gate = await closeGate(store);
    plane.decide(cancel(runId), () => {});
    await gate.reached();
    const { heard, over } = listenTo(watchOf(runId));
    await store.sql`SELECT 1`;
    expect(heard).toEqual([]);
    await gate.open();
    await over;
    expect(told(heard)).toEqual(['2 CANCELLED']);
  });

  it('nothing is told before it is stored', async () => {
    const runId = await plane.run();
    const { heard, length, over } = listenTo(watchOf(runId));
    const all = listenTo(workersOf());
    await Promise.all([length(1), all.length(1)]);
    const gate = await closeGate(store);
    plane.decide(
      { kind: 'register_worker', namespace: 'default', name: 'uncommitted', tags: [], nickname: '' },
      () => {},
    );
    plane.decide(cancel(runId), () => {});
    await gate.reached();
    await store.sql`SELECT 1`;
    expect(told(heard)).toEqual(['1 PENDING']);
    expect(all.heard).toEqual([{ kind: 'caught_up' }]);
    await gate.open();
    await over;
    await all.length(2);
    expect(told(heard)).toEqual(['1 PENDING', '2 CANCELLED']);
    expect(all.heard[1]).toMatchObject({ kind: 'changed', worker: { name: 'uncommitted' } });
  });

  it('what is stored while the watch opens is told once, whether the read has seen it or not', async () => {
    const { runId, progress, succeed } = await running();
    const before = async () => void (await progress('before the read'));
    const after = async () => void (await progress('after the read'));
    const { heard, length, over } = listenTo(watchOf(runId, { before, after }));
    await length(1);
    expect(told(heard)).toEqual(['3 RUNNING after the read']);
    await succeed();
    await over;
    expect(told(heard)).toEqual(['3 RUNNING after the read', '4 SUCCEEDED after the read']);
    expect(heard.at(-1)).toMatchObject({ outputJson: '"done"', inputJson: expect.stringContaining(runId) });
  });

  it('a change that the read sees before the plane has heard of its commit is told once', async () => {
    const { runId, connection, assignmentId } = await running();
    let isFirst = true;
    const before = async () => {
      if (!isFirst) return;
      isFirst = false;
      const carriedOut = store.proxy.cutAfter('yardmaster journal');
      plane.decide({ kind: 'fail_step', connection, assignmentId, failure }, () => {});
      await carriedOut;
    };
    const watching = listenTo(watchOf(runId, { before }));
    await watching.length(1);
    // Given again in the same commit.
    expect(told(watching.heard)).toEqual(['5 ASSIGNED']);
    await expect.poll(() => plane.isReady(), WAIT).toBe(true);
    const next = (await stored(runId)).steps[0]?.attempts.at(-1)?.assignmentId ?? '';
    await plane.fact({ kind: 'accept_step', connection, assignmentId: next });
    await watching.length(2);
    expect(told(watching.heard)).toEqual(['5 ASSIGNED', '6 RUNNING']);
  });

  it('progress that only memory has is in the first state, and what a new attempt has not is not', async () => {
    const { runId, progress, connection, assignmentId } = await running();
    await progress('of the first attempt');
    const first = watchOf(runId);
    expect(told([(await first.next()).value as RunView])).toEqual(['3 RUNNING of the first attempt']);
    await first.return();
    const before = async () => void (await plane.fact({ kind: 'fail_step', connection, assignmentId, failure }));
    const second = watchOf(runId, { before });
    expect(told([(await second.next()).value as RunView])).toEqual(['5 ASSIGNED']);
    await second.return();
  });

  it('whoever comes later hears the end of the same story', async () => {
    const worker = await plane.worker('alpha');
    const runId = await plane.run({ retry: { attemptsMax: 8 } });
    const whole = listenTo(watchOf(runId));
    await whole.length(1);
    const late: ReturnType<typeof listenTo<RunView | 'SKIPPED'>>[] = [];
    let assignmentId = '';
    for (let attempt = 1; attempt <= 8; attempt += 1) {
      await expect.poll(() => worker.offered(runId), WAIT).not.toBe(assignmentId);
      assignmentId = await worker.offered(runId);
      if (attempt % 2 === 0) late.push(listenTo(watchOf(runId)));
      await plane.fact({ kind: 'accept_step', connection: worker.connection, assignmentId });
      await plane.fact({ kind: 'fail_step', connection: worker.connection, assignmentId, failure });
    }
    await Promise.all([whole, ...late].map(({ over }) => over));
    const story = told(whole.heard);
    expect(story).toHaveLength(new Set(story).size);
    expect(whole.heard.at(-1)).toEqual(await stored(runId));
    expect(whole.heard.at(-1)).toMatchObject({ steps: [{ attempts: { length: 8 } }] });
    for (const { heard } of late) {
      expect(heard.length).toBeGreaterThan(0);
      expect(heard).toEqual(whole.heard.slice(-heard.length));
    }
  });

  it('workers: each change is told in its place, however the read falls among them', async () => {
    const { connection } = await plane.worker('alpha');
    const listeners: ReturnType<typeof listenTo<WorkerEvent>>[] = [];
    const upserts: Promise<unknown>[] = [];
    for (let value = 1; value <= 12; value += 1) {
      upserts.push(plane.fact({ kind: 'upsert_labels', connection, patch: new Map([['value', value]]) }));
      if (value % 3 === 0) listeners.push(listenTo(workersOf()));
      if (value % 4 === 0) await upserts.at(-1);
    }
    await Promise.all(upserts);
    for (const { heard } of listeners) {
      const values = () =>
        heard.flatMap((event) => (event.kind === 'changed' ? [event.worker.labels.get('value')] : []));
      await expect.poll(() => values().at(-1), WAIT).toBe(12);
      const first = values()[0] as number;
      expect(values()).toEqual(Array.from({ length: 13 - first }, (_, index) => first + index));
    }
  });
});

describe('a reader that does not keep up', () => {
  it('of a run gets `skipped` and the newest state, and what follows', async () => {
    const worker = await plane.worker('alpha');
    const { connection } = worker;
    const runId = await plane.run({ retry: { attemptsMax: 20 } });
    const events = watchOf(runId);
    await events.next();
    for (let attempt = 1; attempt <= 6; attempt += 1) {
      const { assignmentId = '' } = (await stored(runId)).steps[0]?.attempts.at(-1) ?? {};
      await plane.fact({ kind: 'accept_step', connection, assignmentId });
      await plane.fact({ kind: 'fail_step', connection, assignmentId, failure });
    }
    expect(await events.next()).toEqual({ done: false, value: 'SKIPPED' });
    const newest = (await events.next()).value as RunView;
    expect(newest).toEqual(await stored(runId));
    expect(newest.steps[0]?.attempts).toHaveLength(7);
    await plane.take(cancel(runId));
    const { assignmentId = '' } = newest.steps[0]?.attempts.at(-1) ?? {};
    await plane.fact({ kind: 'confirm_cancel', connection, assignmentId });
    const rest: (RunView | 'SKIPPED')[] = [];
    for await (const event of events) rest.push(event);
    expect(told(rest).at(-1)).toMatch(/CANCELLED$/);
    expect(told(rest)).not.toContain('SKIPPED');
  });

  it('of progress holds one of it, however much there is', async () => {
    const { runId, progress, succeed } = await running();
    const events = watchOf(runId);
    await events.next();
    for (let index = 1; index <= EVENTS_MAX; index += 1) await progress(`word ${index}`);
    const rest: (RunView | 'SKIPPED')[] = [];
    await succeed();
    for await (const event of events) rest.push(event);
    expect(told(rest).at(-1)).toMatch(/SUCCEEDED/);
  });

  it('of workers gets `skipped`, and all that is different by then', async () => {
    const { connection } = await plane.worker('alpha');
    const gone = await plane.worker('gone');
    const events = workersOf();
    const first: WorkerEvent[] = [];
    for await (const event of events) {
      first.push(event);
      if (event.kind === 'caught_up') break;
    }
    expect(first.map((event) => (event.kind === 'changed' ? event.worker.name : event.kind))).toEqual([
      'alpha',
      'gone',
      'caught_up',
    ]);
    // Leaving a loop ends a generator, so another one is watched on with.
    const slow = workersOf();
    for (let event = await slow.next(); !event.done && event.value.kind !== 'caught_up'; event = await slow.next());
    for (let value = 1; value <= EVENTS_MAX + 3; value += 1)
      await plane.fact({ kind: 'upsert_labels', connection, patch: new Map([['value', value]]) });
    await plane.take({
      kind: 'delete_worker',
      namespace: 'default',
      workerId: gone.opened.worker.workerId,
      force: false,
    });
    await plane.take({ kind: 'register_worker', namespace: 'default', name: 'late', tags: [], nickname: '' });
    const rest: WorkerEvent[] = [];
    while (rest.length < 4) {
      const { value } = await slow.next();
      if (value) rest.push(value);
    }
    expect(rest[0]).toEqual({ kind: 'skipped' });
    expect(rest[1]).toMatchObject({ kind: 'changed', worker: { name: 'alpha', labelsRevision: EVENTS_MAX + 3 } });
    expect(rest[2]).toMatchObject({ kind: 'changed', worker: { name: 'late' } });
    expect(rest[3]).toEqual({ kind: 'deleted', workerId: gone.opened.worker.workerId });
    // It keeps up again.
    await plane.fact({ kind: 'upsert_labels', connection, patch: new Map([['value', 0]]) });
    expect(await slow.next()).toMatchObject({ value: { kind: 'changed', worker: { name: 'alpha' } } });
    await slow.return();
    expect(plane.watches.isIdle).toBe(true);
  });
});

describe('the end of watches', () => {
  it('a watch that is cancelled holds nothing, in whatever it is', async () => {
    const { runId } = await running();
    const gone = new AbortController();
    const { signal } = gone;
    const watches: AsyncGenerator<unknown>[] = [watchOf(runId, { signal }), workersOf(signal), tailOf(runId, signal)];
    const waiting = watches.map((events) => listenTo(events));
    await waiting[0]?.length(1);
    await waiting[1]?.length(2);
    expect(plane.watches.count).toBe(3);
    gone.abort();
    // At once, not when the reader comes back.
    expect(plane.watches.isIdle).toBe(true);
    await Promise.all(waiting.map(({ over }) => over));
    // Gone before it began, and gone while it reads.
    expect(await watchOf(runId, { signal }).next()).toBeDefined();
    const during = new AbortController();
    const before = async () => during.abort();
    await listenTo(watchOf(runId, { signal: during.signal, before })).over;
    const left = watchOf(runId);
    await left.next();
    await left.return();
    expect(plane.watches.isIdle).toBe(true);
  });

  it('a watch of what is not there holds nothing', async () => {
    const nothing = async (): Promise<RunView> => {
      throw new Error('not there');
    };
    const { signal } = new AbortController();
    await expect(watchRun({ plane, runId: 'r', read: nothing, signal }).next()).rejects.toThrow('not there');
    await expect(watchWorkers(plane, 'nowhere', signal).next()).rejects.toThrow('nowhere');
    expect(plane.watches.isIdle).toBe(true);
  });

  it('one too many is refused, until another has gone', async () => {
    const gone = new AbortController();
    const five = Array.from({ length: 5 }, () => listenTo(workersOf(gone.signal)));
    await Promise.all(five.map(({ length }) => length(1)));
    const refused = await workersOf()
      .next()
      .catch((error: unknown) => error);
    expect(refused).toMatchObject({ refusal: { refused: 'TOO_MANY_WATCHES', metadata: { limit: '5' } } });
    gone.abort();
    const again = workersOf();
    expect(await again.next()).toMatchObject({ value: { kind: 'caught_up' } });
    await again.return();
  });

  it('a plane that stands down ends them all, and says so; they can be opened anew', async () => {
    const { runId } = await running();
    const all: AsyncGenerator<unknown>[] = [watchOf(runId), workersOf(), tailOf(runId)];
    const watches = all.map((events) => listenTo(events));
    await watches[0]?.length(1);
    await watches[1]?.length(2);
    await expect.poll(() => plane.watches.count, WAIT).toBe(3);
    const other = store.plane();
    await someoneWaits(store);
    await endHolder(store);
    // It hears of it with the next thing it wants to store.
    expect(await plane.refuse(cancel(runId))).toMatchObject({ refused: 'STANDING_DOWN' });
    for (const { over } of watches) {
      const why = await over.then(
        () => 'it ended well',
        (error: unknown) => error,
      );
      expect(why).toBeInstanceOf(RefusedError);
      expect(why).toMatchObject({ refusal: { refused: 'STANDING_DOWN' } });
    }
    expect(plane.watches.isIdle).toBe(true);
    await (await other).stop();
    await expect.poll(() => plane.isReady(), WAIT).toBe(true);
    const again = watchOf(runId);
    expect(told([(await again.next()).value as RunView])).toHaveLength(1);
    await again.return();
  });

  it('a plane that stops ends them, and takes no more', async () => {
    const watching = listenTo(workersOf());
    await watching.length(1);
    const stopped = plane.stop();
    await expect(watching.over).rejects.toMatchObject({ refusal: { refused: 'STANDING_DOWN' } });
    await expect(workersOf().next()).rejects.toMatchObject({ refusal: { refused: 'STANDING_DOWN' } });
    await stopped;
  });
});

describe('the log', () => {
  it('is whole at the end of the tail, also when its lines are stored after it', async () => {
    const { runId, succeed, assignmentId } = await running();
    const { heard, over } = listenTo(tailOf(runId));
    await expect.poll(() => plane.watches.count, WAIT).toBe(1);
    const line = { lineMs: 1, level: 2, text: 'late' };
    const lines = { assignmentId, runId, stepName: 'step', attempt: 1, firstLineNumber: 1, lines: [line] };
    // Lines wait, the end does not.
    const gate = await closeGate(store, 'LOGS');
    plane.logs()?.add(lines, () => {});
    await gate.reached();
    await succeed();
    await store.sql`SELECT 1`;
    expect(heard).toEqual([]);
    await gate.open();
    await over;
    expect(heard.flat()).toMatchObject([{ text: 'late', stepName: 'step', number: 1 }]);
  });
});

it('costs nothing while nobody watches', async () => {
  const { runId, progress } = await running();
  const state = plane.engineState();
  if (state === null) throw new Error('nobody decides');
  const outcome = { result: null, changes: [], effects: [], touchedWorkers: new Set(state.workers.values()) };
  const command = { kind: 'tick' } as const;
  expect(plane.watches.observe(state, command, outcome)).toBeNull();
  // Somebody watches another run: this one is none of theirs.
  const other = watchOf(await plane.run());
  await other.next();
  await progress('unheard');
  expect(plane.watches.observe(state, { kind: 'read_progress', runId }, outcome)).toBeNull();
  await other.return();
});
