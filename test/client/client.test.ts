import { create } from '@bufbuild/protobuf';
import { Metadata, status } from '@grpc/grpc-js';
import { afterEach, describe, expect, test } from 'vitest';
import {
  type ScheduleRunRequest,
  ScheduleRunRequestSchema,
  type ScheduleRunsRequest,
  WatchRunResponseSchema,
} from '../../gen/yardmaster/v1/admin_service_pb.ts';
import {
  type AdminClient,
  type AdminClientOptions,
  Code,
  ConnectError,
  createAdminClient,
  errorReason,
  jsonInput,
  run,
} from '../../src/client/index.ts';
import { type FakeAdmin, refusal, startFakeAdmin, trailers } from './fake-admin.ts';

let server: FakeAdmin | undefined;
let client: AdminClient | undefined;

async function serve(
  unary: Parameters<typeof startFakeAdmin>[0],
  streams: Parameters<typeof startFakeAdmin>[1] = {},
  options: AdminClientOptions = {},
): Promise<AdminClient> {
  server = await startFakeAdmin(unary, streams);
  client = createAdminClient({ address: server.address, ...options });
  return client;
}

afterEach(() => {
  client?.close();
  server?.stop();
});

describe('unary calls', () => {
  test('carry token, namespace, extra headers and a deadline', async () => {
    let seen: Record<string, unknown> = {};
    let deadline: unknown;
    const admin = await serve(
      {
        getRun: (_request, call) => {
          seen = call.metadata.getMap();
          deadline = call.getDeadline();
          return { run: { runId: 'r', state: run.RunState.RUNNING } };
        },
      },
      {},
      { token: 't', namespace: 'blue', deadlineMs: 5_000 },
    );
    const answer = await admin.getRun({ runId: 'r' }, { headers: { 'x-extra': '1' } });
    expect(answer.run?.state).toBe(run.RunState.RUNNING);
    expect(seen).toMatchObject({
      authorization: 'Bearer t',
      'yardmaster-namespace': 'blue',
      'x-extra': '1',
    });
    const leftMs = Number(deadline) - Date.now();
    expect(leftMs).toBeGreaterThan(0);
    expect(leftMs).toBeLessThanOrEqual(5_000);
  });

  test('show headers and trailers to whoever asks', async () => {
    const admin = await serve({
      getRun: (_request, call) => {
        const header = new Metadata();
        header.set('x-header', 'h');
        call.sendMetadata(header);
        const trailer = new Metadata();
        trailer.set('x-trailer', 't');
        trailers.set(call, trailer);
        return {};
      },
    });
    const heard: (string | null)[] = [];
    await admin.getRun(
      { runId: 'r' },
      {
        onHeader: (headers) => heard.push(headers.get('x-header')),
        onTrailer: (headers) => heard.push(headers.get('x-trailer')),
      },
    );
    expect(heard).toEqual(['h', 't']);
  });

  test('give schedule requests an id, and keep one that is there', async () => {
    const ids: string[] = [];
    const admin = await serve({
      scheduleRun: (request: ScheduleRunRequest) => {
        ids.push(request.requestId);
        return {};
      },
      scheduleRuns: (request: ScheduleRunsRequest) => {
        ids.push(...request.runs.map(({ requestId }) => requestId));
        return {};
      },
    });
    await admin.scheduleRun({});
    await admin.scheduleRun(create(ScheduleRunRequestSchema, { requestId: 'mine' }));
    await admin.scheduleRuns({ runs: [{}, { requestId: 'other' }, {}] });
    const uuid = expect.stringMatching(/^[0-9a-f-]{36}$/);
    expect(ids).toEqual([uuid, 'mine', uuid, 'other', uuid]);
    expect(new Set(ids).size).toBe(5);
  });

  test('send plain JSON as exact text', async () => {
    let input: string | undefined;
    const admin = await serve({
      scheduleRun: (request: ScheduleRunRequest) => {
        input = request.inputJson;
        return {};
      },
    });
    await admin.scheduleRun({ ...jsonInput({ b: 1, a: [null, 'x'] }) });
    expect(input).toBe('{"b":1,"a":[null,"x"]}');
    expect(jsonInput(undefined)).toEqual({ inputJson: 'null' });
  });

  test('repeat UNAVAILABLE with the same request id, and nothing else', async () => {
    const ids: string[] = [];
    let lookups = 0;
    const admin = await serve({
      scheduleRun: (request: ScheduleRunRequest) => {
        ids.push(request.requestId);
        if (ids.length < 3) throw refusal(status.UNAVAILABLE, 'STORE_UNAVAILABLE', 'down');
        return { alreadyScheduled: true };
      },
      getRun: () => {
        lookups += 1;
        throw refusal(status.INTERNAL, 'INTERNAL', 'oops');
      },
    });
    expect((await admin.scheduleRun({})).alreadyScheduled).toBe(true);
    expect(ids).toHaveLength(3);
    expect(new Set(ids).size).toBe(1);
    await expect(admin.getRun({ runId: 'x' })).rejects.toMatchObject({ code: Code.Internal });
    expect(lookups).toBe(1);
  });

  test('give up within the deadline', async () => {
    let tries = 0;
    const admin = await serve(
      {
        getRun: () => {
          tries += 1;
          throw refusal(status.UNAVAILABLE, 'STORE_UNAVAILABLE', 'down');
        },
      },
      {},
      { deadlineMs: 150 },
    );
    const from = performance.now();
    await expect(admin.getRun({ runId: 'x' })).rejects.toMatchObject({ code: Code.Unavailable });
    expect(performance.now() - from).toBeLessThan(1_000);
    expect(tries).toBeGreaterThan(1);
    expect(tries).toBeLessThan(6);
  });

  test('are cancelled by a signal', async () => {
    const admin = await serve({});
    const aborter = new AbortController();
    aborter.abort(new Error('enough'));
    await expect(admin.getRun({}, { signal: aborter.signal })).rejects.toMatchObject({
      code: Code.Canceled,
    });
  });

  test('errors tell reason, metadata and code', async () => {
    const admin = await serve({
      getRun: () => {
        throw refusal(status.NOT_FOUND, 'RUN_NOT_FOUND', 'no run x', { run_id: 'x' });
      },
    });
    const error = await admin.getRun({ runId: 'x' }).catch((thrown: unknown) => thrown);
    expect(error).toBeInstanceOf(ConnectError);
    expect(errorReason(error)).toEqual({
      code: Code.NotFound,
      reason: 'RUN_NOT_FOUND',
      metadata: { run_id: 'x' },
      fields: [],
      message: 'no run x',
    });
    expect(errorReason(new Error('plain'))).toMatchObject({ code: Code.Unknown, reason: '' });
  });
});

describe('watches', () => {
  test('yield what is written, and end', async () => {
    const admin = await serve(
      {},
      {
        watchRun: (call) => {
          for (let revision = 1n; revision <= 3n; revision += 1n) {
            call.write(create(WatchRunResponseSchema, { event: { case: 'changed', value: { revision } } }));
          }
          call.end();
        },
      },
    );
    const revisions: unknown[] = [];
    for await (const { event } of admin.watchRun({ runId: 'r' })) {
      if (event.case === 'changed') revisions.push(event.value.revision);
    }
    expect(revisions).toEqual([1n, 2n, 3n]);
  });

  test('end at the server when the loop is left', async () => {
    let cancelled: () => void = () => {};
    const ended = new Promise<void>((resolve) => {
      cancelled = resolve;
    });
    const admin = await serve(
      {},
      {
        watchRun: (call) => {
          call.on('cancelled', cancelled);
          call.write(create(WatchRunResponseSchema, { event: { case: 'skipped', value: true } }));
        },
      },
    );
    for await (const _ of admin.watchRun({ runId: 'r' })) break;
    await ended;
  });

  test('fail as the server fails them', async () => {
    const admin = await serve(
      {},
      {
        watchRun: (call) => {
          call.emit('error', refusal(status.NOT_FOUND, 'RUN_NOT_FOUND', 'no run'));
        },
      },
    );
    const read = async () => {
      for await (const _ of admin.watchRun({ runId: 'r' }));
    };
    const error = await read().catch((thrown: unknown) => thrown);
    expect(errorReason(error)).toMatchObject({ code: Code.NotFound, reason: 'RUN_NOT_FOUND' });
  });
});
