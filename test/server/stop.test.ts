/** The server as a process of its own, told to stop by real signals. */
import { type ChildProcess, spawn } from 'node:child_process';
import { connect } from 'node:http2';
import { type AddressInfo, createServer } from 'node:net';
import { create, fromBinary, toBinary } from '@bufbuild/protobuf';
import { Client, credentials, Metadata, type StatusObject, status } from '@grpc/grpc-js';
import { afterEach, describe, expect, it } from 'vitest';
import {
  Health,
  HealthCheckRequestSchema,
  type HealthCheckResponse,
  HealthCheckResponseSchema,
  HealthCheckResponse_ServingStatus as Serving,
} from '../../gen/grpc/health/v1/health_pb.ts';
import { AdminService } from '../../gen/yardmaster/v1/admin_service_pb.ts';
import { StepState } from '../../gen/yardmaster/v1/run_pb.ts';
import { SILENT_LOG } from '../../src/lib/log.ts';
import { startServer } from '../../src/server/server.ts';
import { runOf } from '../support/conformance.ts';
import { callsOf, pathOf } from '../support/conformance_calls.ts';
import { WorkerStream } from '../support/conformance_stream.ts';
import { rawConnection } from '../support/http_yard.ts';
import { createTestDatabase, type TestDatabase } from '../support/postgres.ts';
import { until } from '../support/until.ts';

/** What the process promises of itself. */
const STOP_MS_MAX = 10_000;

interface ServeProcess {
  readonly child: ChildProcess;
  readonly said: () => string;
  readonly exited: Promise<number | null>;
}

const children: ChildProcess[] = [];
const databases: TestDatabase[] = [];
const clients: Client[] = [];
afterEach(async () => {
  for (const child of children.splice(0)) child.kill('SIGKILL');
  for (const client of clients.splice(0)) client.close();
  await Promise.all(databases.splice(0).map((database) => database.drop()));
});

function serve(environment: Record<string, string>): ServeProcess {
  const env = { ...process.env, YARDMASTER_GRPC_PORT: '0', YARDMASTER_TOKEN: '', YARDMASTER_HOST: '', ...environment };
  const child = spawn('node', ['--import', 'tsx', 'src/cli/main.ts', 'serve'], {
    env,
    stdio: ['ignore', 'pipe', 'pipe'],
  });
  children.push(child);
  let said = '';
  child.stdout.on('data', (data) => (said += data));
  child.stderr.on('data', (data) => (said += data));
  return { child, said: () => said, exited: new Promise((resolve) => child.on('close', (code) => resolve(code))) };
}

/** Up, with ports. */
async function served() {
  const database = await createTestDatabase();
  databases.push(database);
  const serving = serve({ DATABASE_URL: database.url });
  const ports = /gRPC on 127\.0\.0\.1:(\d+) and for HTTP on 127\.0\.0\.1:(\d+)/;
  await until(() => ports.test(serving.said()), serving.said);
  const [, grpcPort, httpPort] = (ports.exec(serving.said()) ?? []).map(Number);
  const client = new Client(`127.0.0.1:${grpcPort}`, credentials.createInsecure());
  clients.push(client);
  return { ...serving, database, client, httpPort: httpPort ?? 0 };
}

/** What the health service says from now on. It is a stream that does not end by itself, and so holds the listener up. */
function watchHealth(client: Client) {
  const seen: Serving[] = [];
  const call = client.makeServerStreamRequest(
    pathOf(Health.method.watch),
    () => Buffer.from(toBinary(HealthCheckRequestSchema, create(HealthCheckRequestSchema))),
    (bytes) => fromBinary(HealthCheckResponseSchema, bytes),
    {},
  );
  call.on('data', ({ status }: HealthCheckResponse) => seen.push(status));
  call.on('error', () => {});
  return { call, seen };
}

async function busyWorker(client: Client) {
  const worker = new WorkerStream(client, new Metadata());
  await worker.hello({ name: 'busy', actions: ['work'] });
  const { run } = await callsOf(() => client, AdminService).scheduleRun(runOf({ action: 'work' }));
  const { assignmentId } = await worker.take();
  await worker.settled(worker.sequence);
  return { worker, runId: run?.runId ?? '', assignmentId };
}

describe('SIGTERM', () => {
  it('ends a busy server in good order, with 0, whatever is connected', async () => {
    const { child, client, exited, httpPort, database, said } = await served();
    const { worker, runId } = await busyWorker(client);
    const health = watchHealth(client);
    await until(() => health.seen.length === 1);
    // Connections that nobody closes.
    const idle = await rawConnection(httpPort);
    idle.socket.write('GET /healthz HTTP/1.1\r\nHost: localhost\r\n\r\n');
    await until(() => idle.received().includes('alive'));
    const http2 = connect(`http://127.0.0.1:${httpPort}`);
    http2.on('error', () => {});
    const http2Closed = new Promise((resolve) => http2.on('close', resolve));
    await new Promise((resolve) => http2.ping(resolve));

    const fromMs = performance.now();
    child.kill('SIGTERM');
    await worker.next('reconnect');
    const [ready, alive] = await Promise.all(
      ['/readyz', '/healthz'].map((path) => fetch(`http://127.0.0.1:${httpPort}${path}`)),
    );
    expect([ready?.status, alive?.status]).toEqual([503, 200]);
    await until(() => health.seen.length === 2);
    expect(health.seen).toEqual([Serving.SERVING, Serving.NOT_SERVING]);
    expect(await exited, said()).toBe(0);
    expect(performance.now() - fromMs).toBeLessThan(STOP_MS_MAX);
    await Promise.all([idle.closed, http2Closed, worker.ended]);

    const successor = await startServer({ databaseUrl: database.url, grpcPort: 0, httpPort: null }, SILENT_LOG);
    const other = new Client(`127.0.0.1:${successor.grpcPort}`, credentials.createInsecure());
    const { run } = await callsOf(() => other, AdminService).getRun({ runId });
    expect(run?.steps[0]?.state).toBe(StepState.RUNNING);
    other.close();
    await successor.stop();
  });

  it('given twice ends it at once', async () => {
    const { child, client, exited } = await served();
    const { worker } = await busyWorker(client);
    const health = watchHealth(client);
    await until(() => health.seen.length === 1);
    child.kill('SIGTERM');
    await worker.next('reconnect');
    child.kill('SIGINT');
    expect(await exited).toBe(130);
  });
});

describe('a server within a process', () => {
  // By the name the listener was bound by: with a name in place of an address it is another one.
  it.each(['127.0.0.1', 'localhost'])('on %s cuts what has not ended after three seconds', async (host) => {
    const database = await createTestDatabase();
    databases.push(database);
    const server = await startServer({ databaseUrl: database.url, host, grpcPort: 0, httpPort: null }, SILENT_LOG);
    const client = new Client(`${host}:${server.grpcPort}`, credentials.createInsecure());
    clients.push(client);
    const health = watchHealth(client);
    const ended = new Promise<StatusObject>((resolve) => health.call.on('status', resolve));
    await until(() => health.seen.length === 1);
    const fromMs = performance.now();
    await server.stop();
    expect((await ended).code).not.toBe(status.OK);
    expect(performance.now() - fromMs).toBeLessThan(STOP_MS_MAX);
  });
});

describe('a start that is refused', () => {
  it('for an address that others can reach, without a token: 2, and what to do', async () => {
    const { exited, said } = serve({ YARDMASTER_HOST: '0.0.0.0' });
    expect(await exited).toBe(2);
    expect(said()).toMatch(/^Yardmaster cannot start\. YARDMASTER_HOST: "0\.0\.0\.0".*Set YARDMASTER_TOKEN/);
    expect(said().trim().split('\n')).toHaveLength(1);
  });

  it('for a setting that cannot be read: 2', async () => {
    const { exited, said } = serve({ YARDMASTER_HTTP_PORT: 'web' });
    expect(await exited).toBe(2);
    expect(said()).toContain('YARDMASTER_HTTP_PORT: "web"');
  });

  it('for a port that is taken: 1, and which', async () => {
    const database = await createTestDatabase();
    databases.push(database);
    const taken = createServer().listen(0, '127.0.0.1');
    await new Promise((resolve) => taken.once('listening', resolve));
    const { port } = taken.address() as AddressInfo;
    const { exited, said } = serve({ DATABASE_URL: database.url, YARDMASTER_HTTP_PORT: String(port) });
    expect(await exited).toBe(1);
    expect(said()).toContain(`cannot listen for HTTP on 127.0.0.1:${port}`);
    await new Promise((resolve) => taken.close(resolve));
  });
});
