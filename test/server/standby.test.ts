/** One process decides: real processes on one database, killed and stopped. */
import { Client, connectivityState, credentials, status } from '@grpc/grpc-js';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { AdminService } from '../../gen/yardmaster/v1/admin_service_pb.ts';
import { runOf } from '../support/conformance.ts';
import { callsOf, failureOf, metadataOf } from '../support/conformance_calls.ts';
import { WorkerStream } from '../support/conformance_stream.ts';
import { createTestDatabase, type TestDatabase } from '../support/postgres.ts';
import {
  killServerProcesses,
  type ProcessSettings,
  type ServerProcess,
  startServerProcess,
} from '../support/server_process.ts';
import { until } from '../support/until.ts';

const LEASE_MS = 2_000;
/** A takeover, and time for a busy machine. */
const TAKEOVER_MS_MAX = 10_000;

let database: TestDatabase;
let clients: Client[];
beforeEach(async () => {
  database = await createTestDatabase();
  clients = [];
  return async () => {
    for (const client of clients) client.close();
    await killServerProcesses();
    await database.drop();
  };
}, 30_000);

const start = (settings: ProcessSettings = {}) =>
  startServerProcess({ databaseUrl: database.url, leaseMs: LEASE_MS, ...settings });

function adminOf({ grpcPort }: ServerProcess) {
  const client = new Client(`127.0.0.1:${grpcPort}`, credentials.createInsecure());
  clients.push(client);
  return callsOf(() => client, AdminService);
}

async function page(server: ServerProcess, path: string): Promise<number> {
  return (await fetch(`http://127.0.0.1:${server.httpPort}${path}`)).status;
}

const ready = (server: ServerProcess) => async () => (await page(server, '/readyz')) === 200;
const submit = (server: ServerProcess, requestId: string) =>
  adminOf(server).scheduleRun(runOf({ action: 'build' }, { requestId }));

describe('a second server on the same database', { timeout: 60_000 }, () => {
  it('stands by: alive, not ready, and every rpc is UNAVAILABLE with the name of who decides', async () => {
    const first = await start();
    const second = await start();
    expect([await page(second, '/healthz'), await page(second, '/readyz')]).toEqual([200, 503]);
    expect([await page(first, '/healthz'), await page(first, '/readyz')]).toEqual([200, 200]);
    const admin = adminOf(second);
    const calls = [
      admin.scheduleRun(runOf({ action: 'build' })),
      admin.getRun({ runId: 'any' }),
      admin.listRuns({}),
      admin.listWorkers({}),
      admin.listNamespaces({}),
      admin.getStepLogs({ runId: 'any' }),
    ];
    for (const call of calls) {
      const end = await failureOf(call);
      expect(end).toMatchObject({ code: status.UNAVAILABLE, reason: 'STANDING_BY' });
      expect(end.metadata.holder).toMatch(new RegExp(`/${first.pid}$`));
      expect(end.message).toContain(String(first.pid));
    }
    // Streams of workers too: with this status an SDK tries again, and finds whoever decides then.
    const stream = new WorkerStream(clients.at(-1) as Client, metadataOf());
    stream.send({ case: 'hello', value: { name: 'worker' } });
    expect(await stream.ended).toMatchObject({ code: status.UNAVAILABLE, reason: 'STANDING_BY' });
    // It leaves without having been asked anything, and the first goes on.
    expect(await second.stop()).toBe(0);
    await submit(first, 'still there');
  });

  it('takes over at once when the holder is killed', async () => {
    const first = await start({ leaseMs: 60_000 });
    const { run } = await submit(first, 'kept');
    const second = await start({ leaseMs: 60_000 });
    await first.kill();
    const killedMs = performance.now();
    await until(ready(second), second.logged, TAKEOVER_MS_MAX);
    expect(performance.now() - killedMs).toBeLessThan(TAKEOVER_MS_MAX);
    expect(await submit(second, 'kept')).toMatchObject({ alreadyScheduled: true, run: { runId: run?.runId } });
  });

  it('takes over when the holder hangs, which cannot commit any more when it wakes, and stands down', async () => {
    const first = await start();
    await submit(first, 'before');
    const [connected] = clients as [Client];
    expect(connected.getChannel().getConnectivityState(false)).toBe(connectivityState.READY);
    const second = await start();
    first.pause();
    const pausedMs = performance.now();
    await until(ready(second), second.logged, TAKEOVER_MS_MAX);
    expect(performance.now() - pausedMs).toBeLessThan(TAKEOVER_MS_MAX);
    await submit(second, 'after');
    // Asked while it stands still, so that this is the first thing it finds.
    const late = failureOf(submit(first, 'late'));
    first.wake();
    expect((await late).code).toBe(status.UNAVAILABLE);
    await until(async () => (await page(first, '/readyz')) === 503, first.logged, TAKEOVER_MS_MAX);
    await until(
      async () => (await failureOf(adminOf(first).listRuns({}))).reason === 'STANDING_BY',
      first.logged,
      TAKEOVER_MS_MAX,
    );
    // Who is connected to it is sent away, to be led to the other one by whatever stands before both.
    await until(
      () => connected.getChannel().getConnectivityState(false) === connectivityState.IDLE,
      first.logged,
      TAKEOVER_MS_MAX,
    );
    const { runs } = await adminOf(second).listRuns({ anyState: true });
    expect(runs.map(({ requestId }) => requestId).sort()).toEqual(['after', 'before']);
    // And the other way round again.
    await second.kill();
    await until(ready(first), first.logged, TAKEOVER_MS_MAX);
    expect(await submit(first, 'after')).toMatchObject({ alreadyScheduled: true });
  });

  it('one that only paused, and was not replaced, goes on', async () => {
    const first = await start();
    first.pause();
    const late = submit(first, 'late');
    // What is tested is that time passes.
    await new Promise((resolve) => setTimeout(resolve, LEASE_MS + 500));
    first.wake();
    expect(await late).toMatchObject({ alreadyScheduled: false });
  });
});

afterEach(killServerProcesses);
