import { status } from '@grpc/grpc-js';
import { describe, expect, it } from 'vitest';
import { RunState } from '../../gen/yardmaster/v1/run_pb.ts';
import { WorkerState } from '../../gen/yardmaster/v1/worker_pb.ts';
import { LogLevel } from '../../gen/yardmaster/v1/worker_service_pb.ts';
import { unique, useYard } from '../support/conformance.ts';
import { failureOf } from '../support/conformance_calls.ts';
import { desired } from '../support/conformance_labels.ts';

const yard = useYard();

interface Page<T> {
  readonly items: readonly T[];
  readonly next: string;
}

/** Every page of a list; `between` runs after the first one. */
async function pages<T>(read: (token: string) => Promise<Page<T>>, between?: () => Promise<unknown>): Promise<T[][]> {
  const all: T[][] = [];
  let token = '';
  do {
    const { items, next } = await read(token);
    all.push([...items]);
    if (all.length === 1) await between?.();
    token = next;
  } while (token !== '');
  return all;
}

describe('lists', () => {
  it('ListRuns pages newest or oldest first, stable under inserts', async () => {
    const action = unique('list');
    const runIds = await yard.submitMany(5, { action });
    const read = (oldestFirst: boolean) => async (pageToken: string) => {
      const { runs, nextPageToken } = await yard.admin.listRuns({ action, oldestFirst, pageSize: 2, pageToken });
      return { items: runs.map(({ runId }) => runId), next: nextPageToken };
    };
    const [a, b, c, d, e] = runIds;
    expect(await pages(read(true))).toEqual([[a, b], [c, d], [e]]);
    // One that comes between two pages is newer than all of them: it moves nothing.
    const newestFirst = await pages(read(false), () => yard.submit({ action }));
    expect(newestFirst).toEqual([[e, d], [c, b], [a]]);
    // A page that is just full is the last one.
    const { nextPageToken } = await yard.admin.listRuns({ action, pageSize: 6 });
    expect(nextPageToken).toBe('');
  });

  it('ListRuns filters by state, tags, metadata and time', async () => {
    const action = unique('list');
    const worker = await yard.connect({ actions: [action] });
    const ended = await yard.submit({ action }, { metadata: { team: 'a', site: 'x' } });
    await worker.work();
    await worker.leave();
    const waiting = await yard.submit({ action }, { runsOn: ['gpu', 'a100'], metadata: { team: 'a' } });
    const ids = async (filter: object) =>
      (await yard.admin.listRuns({ action, oldestFirst: true, ...filter })).runs.map(({ runId }) => runId);
    // Without states: what has not ended.
    expect(await ids({})).toEqual([waiting]);
    expect(await ids({ anyState: true })).toEqual([ended, waiting]);
    expect(await ids({ states: [RunState.SUCCEEDED, RunState.FAILED] })).toEqual([ended]);
    expect(await ids({ anyState: true, runsOn: ['gpu'] })).toEqual([waiting]);
    expect(await ids({ anyState: true, runsOn: ['cpu'] })).toEqual([]);
    expect(await ids({ anyState: true, metadata: { team: 'a' } })).toEqual([ended, waiting]);
    expect(await ids({ anyState: true, metadata: { team: 'a', site: 'x' } })).toEqual([ended]);
    const { createTime } = await yard.run(waiting);
    expect(await ids({ anyState: true, createTimeFrom: createTime })).toEqual([waiting]);
    expect(await ids({ anyState: true, createTimeTo: createTime })).toEqual([ended]);
    const [shown] = (await yard.admin.listRuns({ action, states: [RunState.SUCCEEDED] })).runs;
    expect(shown).toMatchObject({ inputJson: '', outputJson: '', steps: [{ attempts: [], outputJson: '' }] });
    const unspecified = yard.admin.listRuns({ states: [RunState.UNSPECIFIED] });
    expect(await failureOf(unspecified)).toMatchObject({ code: status.INVALID_ARGUMENT });
  });

  it('ListWorkers pages in order of registration and filters', async () => {
    const [tag, action] = [unique('tag'), unique('list')];
    const names = Array.from({ length: 5 }, () => unique('listed'));
    for (const name of names) await yard.admin.registerWorker({ name, tags: [tag] });
    const read = async (pageToken: string) => {
      const { workers, nextPageToken } = await yard.admin.listWorkers({ tags: [tag], pageSize: 2, pageToken });
      return { items: workers.map(({ name }) => name), next: nextPageToken };
    };
    const late = () => yard.admin.registerWorker({ name: unique('listed'), tags: [tag] });
    const listed = await pages(read, late);
    expect(listed.flat().slice(0, 5)).toEqual(names);
    expect(listed.map((page) => page.length)).toEqual([2, 2, 2]);

    const name = names[2] ?? '';
    await yard.connect({ name, actions: [action], labels: { memory: 512 } });
    const found = async (filter: object) =>
      (await yard.admin.listWorkers({ tags: [tag], ...filter })).workers.map((worker) => worker.name);
    expect(await found({ states: [WorkerState.IDLE] })).toEqual([name]);
    expect(await found({ action })).toEqual([name]);
    expect(await found({ labels: [desired('memory', 'GREATER_THAN', 256)] })).toEqual([name]);
    expect(await found({ labels: [desired('memory', 'GREATER_THAN', 512)] })).toEqual([]);
    expect(await found({ states: [WorkerState.BUSY] })).toEqual([]);
    const token = (await yard.admin.listWorkers({ tags: [tag], pageSize: 2 })).nextPageToken;
    expect(await failureOf(yard.admin.listRuns({ pageToken: token }))).toMatchObject({ reason: 'INVALID_PAGE_TOKEN' });
  });

  it('GetStepLogs pages through the attempts in order; a line seen before changes nothing', async () => {
    const action = unique('logs');
    const worker = await yard.connect({ actions: [action] });
    const runId = await yard.submit({ action, retry: { maxAttempts: 2 } });
    const first = await worker.take();
    const texts = (from: number, to: number) =>
      Array.from({ length: to - from + 1 }, (_, index) => ({ text: `line ${from + index}` }));
    worker.logLines(first, 1, texts(1, 3));
    // As after a reconnect: the same lines again, and one more.
    worker.logLines(first, 2, texts(2, 4));
    await worker.settled(worker.sequence);
    worker.fail(first);
    const second = await worker.take();
    await worker.settled(worker.logLines(second, 1, [{ text: 'a\u0000b', level: LogLevel.ERROR }]));

    const read = async (pageToken: string) => {
      const { lines, nextPageToken } = await yard.admin.getStepLogs({ runId, pageSize: 2, pageToken });
      const items = lines.map(({ attempt, number, line }) => [attempt, Number(number), line?.text, line?.level]);
      return { items, next: nextPageToken };
    };
    expect(await pages(read)).toEqual([
      [
        [1, 1, 'line 1', LogLevel.INFO],
        [1, 2, 'line 2', LogLevel.INFO],
      ],
      [
        [1, 3, 'line 3', LogLevel.INFO],
        [1, 4, 'line 4', LogLevel.INFO],
      ],
      [[2, 1, 'a\ufffdb', LogLevel.ERROR]],
    ]);
    expect(await failureOf(yard.admin.getStepLogs({ runId, stepName: 'other' }))).toMatchObject({
      code: status.NOT_FOUND,
      reason: 'STEP_NOT_FOUND',
    });
    expect(await failureOf(yard.admin.getStepLogs({ runId: 'other' }))).toMatchObject({
      code: status.NOT_FOUND,
      reason: 'RUN_NOT_FOUND',
    });
  });

  it('a log line over the limit is cut between characters and says how long it was', async () => {
    const action = unique('logs');
    const worker = await yard.connect({ actions: [action] });
    const runId = await yard.submit({ action });
    const offer = await worker.take();
    await worker.settled(worker.logLines(offer, 1, [{ text: '😀'.repeat(3_000) }]));
    const { lines } = await yard.admin.getStepLogs({ runId });
    const text = lines[0]?.line?.text ?? '';
    expect(Buffer.byteLength(text)).toBeLessThanOrEqual(8 * 1024);
    expect(text).toMatch(/^(😀)+ … \(12000 bytes, cut at 8192\)$/u);
  });
});
