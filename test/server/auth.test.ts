import { Code, createClient } from '@connectrpc/connect';
import { createGrpcTransport } from '@connectrpc/connect-node';
import { Client, credentials, Metadata, status } from '@grpc/grpc-js';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { Health, HealthCheckResponse_ServingStatus as Serving } from '../../gen/grpc/health/v1/health_pb.ts';
import { ServerReflection } from '../../gen/grpc/reflection/v1/reflection_pb.ts';
import { AdminService } from '../../gen/yardmaster/v1/admin_service_pb.ts';
import { jsonInput } from '../../src/client/index.ts';
import { createLog } from '../../src/lib/log.ts';
import { isLoopback } from '../../src/server/auth.ts';
import { ConfigurationError, configFromEnvironment } from '../../src/server/config.ts';
import { startServer } from '../../src/server/server.ts';
import { runOf } from '../support/conformance.ts';
import { callsOf, failureOf } from '../support/conformance_calls.ts';
import { WorkerStream } from '../support/conformance_stream.ts';
import { adminBy, failureBy, type HttpYard, startHttpYard, WAYS } from '../support/http_yard.ts';

const TOKEN = 'kept-between-us-0123456789';
const WRONG = 'kept-between-us-0123456788';
const RIGHT = { authorization: `Bearer ${TOKEN}` };
const REFUSED: readonly Record<string, string>[] = [
  {},
  { authorization: '' },
  { authorization: TOKEN },
  { authorization: `Basic ${TOKEN}` },
  { authorization: 'Bearer' },
  { authorization: `Bearer ${WRONG}` },
  { authorization: `Bearer ${TOKEN} ${TOKEN}` },
  { authorization: `Bearer ${TOKEN}x` },
];

describe('with a token', () => {
  let yard: HttpYard;
  let grpc: Client;
  let logged = '';
  beforeAll(async () => {
    const log = createLog('debug', {
      write(line) {
        logged += line;
      },
    });
    yard = await startHttpYard({ token: TOKEN }, log);
    grpc = new Client(`127.0.0.1:${yard.server.grpcPort}`, credentials.createInsecure());
  });
  afterAll(async () => {
    grpc.close();
    await yard.stop();
  });

  const metadataOf = (headers: Record<string, string>) => {
    const metadata = new Metadata();
    for (const [name, value] of Object.entries(headers)) metadata.set(name, value);
    return metadata;
  };

  it('gRPC calls are refused without it and with another, and taken with it', async () => {
    const admin = callsOf(() => grpc, AdminService);
    for (const headers of REFUSED) {
      const end = await failureOf(admin.listRuns({}, headers));
      expect(end, JSON.stringify(headers)).toMatchObject({
        code: status.UNAUTHENTICATED,
        reason: 'UNAUTHENTICATED',
        domain: 'yardmaster',
      });
    }
    expect((await admin.listRuns({}, RIGHT)).runs).toEqual([]);
    expect((await admin.listRuns({}, { authorization: `bearer  ${TOKEN}` })).runs).toEqual([]);
  });

  it.each(Object.keys(WAYS))('calls by %s are refused without it and with another, and taken with it', async (way) => {
    const admin = adminBy(way, yard.url);
    for (const headers of REFUSED) {
      const end = await failureBy(admin.listRuns({}, { headers }));
      expect(end, JSON.stringify(headers)).toMatchObject({
        code: Code.Unauthenticated,
        reason: 'UNAUTHENTICATED',
        domain: 'yardmaster',
      });
      expect(end.message).not.toContain('kept-between-us');
    }
    const stream = admin.watchRun({ runId: 'r' })[Symbol.asyncIterator]().next();
    expect(await failureBy(stream)).toMatchObject({ code: Code.Unauthenticated });
    expect((await admin.listRuns({}, { headers: RIGHT })).runs).toEqual([]);
  });

  it('a worker stream is refused before its hello, and taken with it', async () => {
    const refused = new WorkerStream(grpc, metadataOf({ authorization: `Bearer ${WRONG}` }));
    expect(await refused.ended).toMatchObject({ code: status.UNAUTHENTICATED, reason: 'UNAUTHENTICATED' });
    expect(refused.received).toEqual([]);
    const taken = new WorkerStream(grpc, metadataOf(RIGHT));
    await taken.hello({ name: 'trusted' });
    expect(taken.workerId).not.toBe('');
    await taken.leave();
  });

  it('health needs none, on either listener', async () => {
    expect((await callsOf(() => grpc, Health).check({})).status).toBe(Serving.SERVING);
    for (const path of ['/healthz', '/readyz']) expect((await fetch(yard.url + path)).status, path).toBe(200);
  });

  it('metrics and reflection need it', async () => {
    const metrics = await fetch(`${yard.url}/metrics`);
    expect([metrics.status, metrics.headers.get('www-authenticate')]).toEqual([401, 'Bearer']);
    expect((await fetch(`${yard.url}/metrics`, { headers: RIGHT })).status).toBe(200);
    expect((await fetch(`${yard.url}/nothing`)).status).toBe(401);
    for (const port of [yard.port, yard.server.grpcPort]) {
      const reflection = createClient(ServerReflection, createGrpcTransport({ baseUrl: `http://127.0.0.1:${port}` }));
      async function* question() {
        yield { messageRequest: { case: 'listServices', value: '' } } as const;
      }
      const first = (headers: Record<string, string>) =>
        reflection.serverReflectionInfo(question(), { headers })[Symbol.asyncIterator]().next();
      expect(await failureBy(first({}))).toMatchObject({ code: Code.Unauthenticated, reason: 'UNAUTHENTICATED' });
      expect((await first(RIGHT)).value.messageResponse.case).toBe('listServicesResponse');
    }
  });

  it('nothing secret and no payload is ever logged', async () => {
    const secrets = ['input-of-a-run', 'output-of-a-run', 'line-of-a-handler', 'metadata-of-a-run', 'failure-of-a-run'];
    const worker = new WorkerStream(grpc, metadataOf(RIGHT));
    await worker.hello({ name: 'discreet', actions: ['whisper'], slots: 2 });
    const admin = adminBy('Connect with JSON on HTTP/1.1', yard.url);
    const submit = () =>
      admin.scheduleRun(
        { ...runOf({ action: 'whisper' }, { metadata: { k: 'metadata-of-a-run' } }), ...jsonInput('input-of-a-run') },
        { headers: RIGHT },
      );
    await submit();
    const { assignmentId } = await worker.take();
    await worker.settled(
      worker.send({
        case: 'stepLogged',
        value: { assignmentId, firstLineNumber: 1n, lines: [{ text: 'line-of-a-handler' }] },
      }),
    );
    await worker.settled(
      worker.send({ case: 'stepSucceeded', value: { assignmentId, outputJson: '"output-of-a-run"' } }),
    );
    await submit();
    const second = await worker.take();
    await worker.settled(
      worker.send({
        case: 'stepFailed',
        value: { assignmentId: second.assignmentId, error: { message: 'failure-of-a-run' } },
      }),
    );
    await fetch(`${yard.url}/yardmaster.v1.AdminService/ScheduleRun`, {
      method: 'POST',
      headers: { ...RIGHT, 'content-type': 'application/json' },
      body: '{"inputJson": "input-of-a-run',
    });
    const { sessionId } = worker.welcome;
    await worker.leave();
    // A resume that is refused, and one by a session id that is wrong.
    const stale = new WorkerStream(grpc, metadataOf(RIGHT));
    stale.send({ case: 'hello', value: { name: 'discreet', resume: { sessionId } } });
    await stale.cut();
    expect(logged).toContain('"msg":"worker connected"');
    expect(sessionId).not.toBe('');
    for (const secret of [TOKEN, WRONG, sessionId, ...secrets]) expect(logged).not.toContain(secret);
    // Events by name: facts are fields beside them.
    for (const line of logged.trim().split('\n')) expect(JSON.parse(line).msg).toMatch(/^[a-zA-Z ,:]{3,80}$/);
  });
});

describe('where a server may listen', () => {
  it('only the loopback addresses need no token', () => {
    for (const host of ['localhost', '127.0.0.1', '127.9.9.9', '::1']) expect(isLoopback(host), host).toBe(true);
    for (const host of [
      '0.0.0.0',
      '::',
      '',
      '10.0.0.1',
      '128.0.0.1',
      '127.evil.example',
      'localhost.evil.example',
      '127.1',
    ]) {
      expect(isLoopback(host), host).toBe(false);
    }
  });

  it('any other is refused before anything is started, with what to do', async () => {
    const failure = await startServer({
      host: '0.0.0.0',
      grpcPort: 0,
      databaseUrl: 'postgres://nobody@127.0.0.1:1/none',
    }).catch((error: unknown) => error);
    expect(failure).toBeInstanceOf(ConfigurationError);
    expect((failure as Error).message).toMatch(
      /YARDMASTER_HOST: "0\.0\.0\.0".*Set YARDMASTER_TOKEN.*or listen on 127\.0\.0\.1/,
    );
  });

  it('a token that no header can carry is refused, and not repeated', async () => {
    for (const token of ['two words', 'line\nfeed', 'ünïcode', 'x'.repeat(1_025)]) {
      const failure = await startServer({ token, grpcPort: 0 }).catch((error: unknown) => error);
      expect(failure).toBeInstanceOf(ConfigurationError);
      expect((failure as Error).message).not.toContain(token);
    }
  });

  it('the environment says it', () => {
    const of = (environment: Record<string, string>) => {
      const { host, grpcPort, httpPort, token } = configFromEnvironment(environment);
      return { host, grpcPort, httpPort, token };
    };
    expect(of({})).toEqual({ host: '127.0.0.1', grpcPort: 7070, httpPort: 7071, token: undefined });
    expect(of({ YARDMASTER_GRPC_PORT: '0' })).toMatchObject({ grpcPort: 0, httpPort: 0 });
    expect(of({ YARDMASTER_GRPC_PORT: '0', YARDMASTER_HTTP_PORT: '9' })).toMatchObject({ httpPort: 9 });
    expect(of({ YARDMASTER_HOST: '::', YARDMASTER_TOKEN: 't' })).toMatchObject({ host: '::', token: 't' });
    expect(of({ YARDMASTER_TOKEN: '' })).toMatchObject({ token: undefined });
    expect(() => configFromEnvironment({ YARDMASTER_HTTP_PORT: '70710' })).toThrow(ConfigurationError);
    expect(() => configFromEnvironment({ YARDMASTER_LOG_LEVEL: 'loud' })).toThrow(/YARDMASTER_LOG_LEVEL: "loud"/);
    expect(configFromEnvironment({ YARDMASTER_HTTP_PORT: '9' }, { grpcPort: 0, httpPort: 3 })).toMatchObject({
      grpcPort: 0,
      httpPort: 3,
    });
  });
});
