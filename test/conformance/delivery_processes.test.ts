/** D7, D8, D9, D15: processes that are killed, stopped, or away. */
import { rm } from 'node:fs/promises';
import { join } from 'node:path';
import { Client, credentials, status } from '@grpc/grpc-js';
import { afterEach, describe, expect, it } from 'vitest';
import { AdminService } from '../../gen/yardmaster/v1/admin_service_pb.ts';
import { type Run, RunState, StepState } from '../../gen/yardmaster/v1/run_pb.ts';
import { openEmbedded } from '../../src/store/embedded.ts';
import { createWorker, type Worker } from '../../src/worker/index.ts';
import { nameIn, present, runOf, unique } from '../support/conformance.ts';
import { type Calls, callsOf, failureOf, metadataOf } from '../support/conformance_calls.ts';
import { type HelloInit, WorkerStream } from '../support/conformance_stream.ts';
import { createTestDatabase, temporaryDirectory } from '../support/postgres.ts';
import { killServerProcesses, type ServerProcess, startServerProcess } from '../support/server_process.ts';
import { until } from '../support/until.ts';
import { startWorkerProcess } from '../support/worker_process.ts';

const closers: (() => unknown)[] = [];
afterEach(async () => {
  for (const close of closers.splice(0).reverse()) await close();
  await killServerProcesses();
}, 60_000);

async function testDatabase(): Promise<string> {
  const database = await createTestDatabase();
  closers.push(database.drop, killServerProcesses);
  return database.url;
}

function clientOf({ grpcPort }: ServerProcess): Client {
  const client = new Client(`127.0.0.1:${grpcPort}`, credentials.createInsecure());
  closers.push(() => client.close());
  return client;
}

type Admin = Calls<typeof AdminService>;

function adminOf(server: ServerProcess): Admin {
  const client = clientOf(server);
  return callsOf(() => client, AdminService);
}

async function connect(server: ServerProcess, hello: HelloInit): Promise<WorkerStream> {
  const stream = new WorkerStream(clientOf(server), metadataOf());
  await stream.hello(hello);
  return stream;
}

function sdk(address: string, actions: Parameters<typeof createWorker>[0]['actions'], slots = 1): Worker {
  const worker = createWorker({ address, name: unique('process'), actions, slots });
  closers.push(() => worker.stop({ graceMs: 0 }));
  return worker;
}

/** As a client should: what is not known to have happened is asked again. */
async function stubbornly<T>(call: () => Promise<T>): Promise<T> {
  for (;;) {
    try {
      return await call();
    } catch (error) {
      const { code } = await failureOf(Promise.reject(error));
      if (code !== status.UNAVAILABLE && code !== status.DEADLINE_EXCEEDED && code !== status.CANCELLED) throw error;
      await new Promise((resolve) => setTimeout(resolve, 50));
    }
  }
}

const runOfId = async (admin: Admin, runId: string): Promise<Run> =>
  present((await stubbornly(() => admin.getRun({ runId }))).run);
const stateOf = async (admin: Admin, runId: string) => nameIn(RunState, (await runOfId(admin, runId)).state);
const stepStateOf = async (admin: Admin, runId: string) =>
  nameIn(StepState, (await runOfId(admin, runId)).steps[0]?.state ?? 0);

describe('D7 the server is killed at random under load', () => {
  it('and started again: every run ends, and was done once', { timeout: 120_000 }, async () => {
    const RUNS = 240;
    const KILLS = 4;
    const databaseUrl = await testDatabase();
    let server = await startServerProcess({ databaseUrl });
    const { grpcPort } = server;
    const admin = adminOf(server);
    const done = new Map<string, string[]>();
    const work = async ({ runId, assignmentId }: { runId: string; assignmentId: string }) => {
      await new Promise((resolve) => setTimeout(resolve, Math.random() * 60));
      done.set(runId, [...(done.get(runId) ?? []), assignmentId]);
      return assignmentId;
    };
    const workers = Array.from({ length: 3 }, () => sdk(`127.0.0.1:${grpcPort}`, { work }, 2));
    await Promise.all(workers.map((worker) => worker.start()));

    const submitting = (async () => {
      const runIds: string[] = [];
      for (let index = 0; index < RUNS; index++) {
        const request = runOf({ action: 'work' }, { requestId: `request-${index}` });
        const { run } = await stubbornly(() => admin.scheduleRun(request));
        runIds.push(present(run).runId);
        await new Promise((resolve) => setTimeout(resolve, 25));
      }
      return runIds;
    })();
    for (let kill = 0; kill < KILLS; kill++) {
      await new Promise((resolve) => setTimeout(resolve, 200 + Math.random() * 800));
      await server.kill();
      server = await startServerProcess({ databaseUrl, grpcPort });
    }

    const runIds = await submitting;
    expect(new Set(runIds).size).toBe(RUNS);
    for (const runId of runIds) {
      await until(async () => (await stateOf(admin, runId)) === 'SUCCEEDED', server.logged, 60_000);
      const { steps, outputJson } = await runOfId(admin, runId);
      const attempts = present(steps[0]).attempts;
      expect(attempts.filter(({ outcome }) => outcome === 'SUCCEEDED').map(({ assignmentId }) => assignmentId)).toEqual(
        [JSON.parse(outputJson)],
      );
      // Nobody stayed away for longer than the grace, so nothing was done twice either.
      expect(done.get(runId)).toEqual([JSON.parse(outputJson)]);
    }
  });
});

describe('D8 the database is stopped for 10 s', () => {
  const AWAY_MS = 10_000;
  const SHORT = { seconds: 3n };

  it('nothing is acknowledged that is not there, nobody is timed out, and all goes on', {
    timeout: 60_000,
  }, async () => {
    const directory = await temporaryDirectory();
    closers.push(() => rm(directory, { recursive: true, force: true }));
    const open = () =>
      openEmbedded({
        dataDirectory: join(directory, 'data'),
        log: { info() {}, warn() {} },
        settings: { fsync: 'off' },
      });
    let postgres = await open();
    closers.push(() => postgres.stop(), killServerProcesses);
    const server = await startServerProcess({ databaseUrl: postgres.url, times: { reconnectGraceMs: 15_000 } });
    const admin = adminOf(server);
    const submit = async (action: string, rest = {}) =>
      present((await admin.scheduleRun(runOf({ action, ...rest }))).run).runId;
    const worker = await connect(server, { name: 'worker', actions: ['build'], slots: 2 });
    const beating = setInterval(() => void worker.heartbeat().catch(() => {}), 1_000);
    closers.push(() => clearInterval(beating));
    const finished = await submit('build', { executionTimeout: SHORT });
    const finishing = await worker.take();
    const running = await submit('build', { executionTimeout: SHORT, progressTimeout: SHORT });
    const goingOn = await worker.take();
    await worker.settled(worker.sequence);
    const waiting = await submit('later', { scheduleTimeout: SHORT });

    await postgres.stop();
    const awayMs = performance.now();
    const acknowledged = worker.acknowledged;
    const success = worker.succeed(finishing, 'while it was away');
    const request = runOf({ action: 'build' }, { requestId: 'while it was away' });
    // Taken before anybody could know: answered when it is true, however late.
    const early = admin.scheduleRun(runOf({ action: 'early' }));
    const { httpPort } = server;
    const isReady = async () => (await fetch(`http://127.0.0.1:${httpPort}/readyz`)).status === 200;
    await until(async () => !(await isReady()), server.logged);
    expect((await failureOf(admin.scheduleRun(request))).code).toBe(status.UNAVAILABLE);
    await until(() => performance.now() - awayMs > AWAY_MS);
    expect((await failureOf(admin.scheduleRun(request))).code).toBe(status.UNAVAILABLE);
    expect(worker.acknowledged).toBe(acknowledged);
    expect(worker.isEnded).toBe(false);

    postgres = await open();
    await worker.settled(success);
    expect(await runOfId(admin, finished)).toMatchObject({
      state: RunState.SUCCEEDED,
      outputJson: '"while it was away"',
    });
    const { run } = await stubbornly(() => admin.scheduleRun(request));
    expect((await admin.scheduleRun(request)).run?.runId).toBe(run?.runId);
    expect(await stateOf(admin, present((await early).run).runId)).toBe('PENDING');
    // Longer than their timeouts, had they gone on as if nothing had been.
    expect([await stateOf(admin, running), await stateOf(admin, waiting)]).toEqual(['RUNNING', 'PENDING']);
    await worker.settled(worker.succeed(goingOn));
    const later = await connect(server, { name: 'later', actions: ['later'] });
    expect(await later.work()).toMatchObject({ runId: waiting });
    expect(await worker.work()).toMatchObject({ runId: run?.runId });
    for (const runId of [running, waiting]) expect(await stateOf(admin, runId)).toBe('SUCCEEDED');
    expect(await server.stop()).toBe(0);
  });
});

describe('D9 a worker that stands still', () => {
  const TIMES = { heartbeatIntervalMs: 500, silenceTimeoutMs: 1_500, reconnectGraceMs: 1_500 };

  it('is replaced after silence and grace, and its late result counts for nothing', { timeout: 60_000 }, async () => {
    const server = await startServerProcess({ databaseUrl: await testDatabase(), times: TIMES });
    const address = `127.0.0.1:${server.grpcPort}`;
    const admin = adminOf(server);
    const silent = await startWorkerProcess({ address, name: 'silent', actions: ['build'] });
    closers.push(silent.kill);
    const runId = present((await admin.scheduleRun(runOf({ action: 'build' }))).run).runId;
    await until(async () => (await stepStateOf(admin, runId)) === 'RUNNING');
    silent.pause();
    const pausedMs = performance.now();
    let finish: (value: string) => void = () => {};
    const next = sdk(address, {
      build: () =>
        new Promise<string>((resolve) => {
          finish = resolve;
        }),
    });
    await next.start();
    await until(async () => (await runOfId(admin, runId)).steps[0]?.attempts.length === 2, server.logged);
    // Its last beat may have been up to an interval before.
    const waited = TIMES.silenceTimeoutMs + TIMES.reconnectGraceMs - TIMES.heartbeatIntervalMs;
    expect(performance.now() - pausedMs).toBeGreaterThanOrEqual(waited);

    silent.say('late');
    silent.wake();
    // Told when it is back that the step is not its any more, or refused with what it says.
    await until(() => silent.events().filter(({ type }) => type === 'connected').length === 2, silent.output);
    await until(
      () => silent.events().some(({ kind, reason }) => kind === 'DROPPED' || reason === 'STALE_ASSIGNMENT'),
      silent.output,
    );
    expect(await stepStateOf(admin, runId)).toBe('RUNNING');
    finish('in time');
    await until(async () => (await stateOf(admin, runId)) === 'SUCCEEDED', server.logged);
    const { outputJson, steps } = await runOfId(admin, runId);
    expect(outputJson).toBe('"in time"');
    expect(present(steps[0]).attempts.map(({ outcome }) => outcome)).toEqual(['WORKER_LOST', 'SUCCEEDED']);
  });
});

describe('D15 the server is away for longer than every timeout', () => {
  it('nobody is timed out by it', { timeout: 60_000 }, async () => {
    const TIMEOUT = { seconds: 2n };
    const GRACE_MS = 6_000;
    const times = { acceptTimeoutMs: 2_000, silenceTimeoutMs: 2_000, reconnectGraceMs: GRACE_MS };
    const databaseUrl = await testDatabase();
    let server = await startServerProcess({ databaseUrl, times });
    const { grpcPort } = server;
    const admin = adminOf(server);
    const submit = async (action: string, rest = {}) =>
      present((await admin.scheduleRun(runOf({ action, ...rest }))).run).runId;
    const timeouts = { scheduleTimeout: TIMEOUT, executionTimeout: TIMEOUT, progressTimeout: TIMEOUT };
    const hello = { name: 'worker', actions: ['build'], slots: 2 };
    const worker = await connect(server, hello);
    const running = await submit('build', timeouts);
    const accepted = await worker.take();
    const offered = await submit('build', timeouts);
    const unaccepted = await worker.next('runStep');
    await worker.settled(worker.sequence);
    const waiting = await submit('later', timeouts);

    await server.kill();
    await new Promise((resolve) => setTimeout(resolve, GRACE_MS + 500));
    server = await startServerProcess({ databaseUrl, grpcPort, times });

    expect([await stateOf(admin, running), await stateOf(admin, offered), await stateOf(admin, waiting)]).toEqual([
      'RUNNING',
      'PENDING',
      'PENDING',
    ]);
    const heldAssignmentIds = [accepted.assignmentId, unaccepted.assignmentId];
    const again = new WorkerStream(clientOf(server), metadataOf());
    again.send({
      case: 'hello',
      value: {
        ...hello,
        resume: { $typeName: 'yardmaster.v1.Resume', sessionId: worker.welcome.sessionId, heldAssignmentIds },
      },
    });
    const welcome = await again.next('welcome');
    expect(welcome.keptAssignmentIds).toEqual(heldAssignmentIds);
    again.accept(unaccepted);
    again.succeed(unaccepted);
    await again.settled(again.succeed(accepted));
    await (await connect(server, { name: 'later', actions: ['later'] })).work();
    for (const runId of [running, offered, waiting]) {
      expect(await stateOf(admin, runId)).toBe('SUCCEEDED');
      expect((await runOfId(admin, runId)).steps[0]?.attempts.map(({ outcome }) => outcome)).toEqual(['SUCCEEDED']);
    }
  });

  it('also when it only stood still for so long', { timeout: 60_000 }, async () => {
    const TIMEOUT = { seconds: 2n };
    const server = await startServerProcess({
      databaseUrl: await testDatabase(),
      times: { acceptTimeoutMs: 2_000, silenceTimeoutMs: 2_000, reconnectGraceMs: 6_000 },
    });
    const admin = adminOf(server);
    const timeouts = { scheduleTimeout: TIMEOUT, executionTimeout: TIMEOUT, progressTimeout: TIMEOUT };
    const submit = async (action: string) =>
      present((await admin.scheduleRun(runOf({ action, ...timeouts }))).run).runId;
    const worker = await connect(server, { name: 'worker', actions: ['build'], slots: 2 });
    const runIds = [await submit('build'), await submit('build'), await submit('later')];
    const accepted = await worker.take();
    const offered = await worker.next('runStep');
    await worker.settled(worker.sequence);
    server.pause();
    await new Promise((resolve) => setTimeout(resolve, 4_000));
    server.wake();
    // On the stream that was there before.
    await worker.heartbeat();
    worker.succeed(accepted);
    worker.accept(offered);
    await worker.settled(worker.succeed(offered));
    await (await connect(server, { name: 'later', actions: ['later'] })).work();
    for (const runId of runIds) {
      expect(await stateOf(admin, runId)).toBe('SUCCEEDED');
      expect((await runOfId(admin, runId)).steps[0]?.attempts.map(({ outcome }) => outcome)).toEqual(['SUCCEEDED']);
    }
  });
});
