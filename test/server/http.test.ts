import { connect } from 'node:http2';
import { fromBinary } from '@bufbuild/protobuf';
import { Code, createClient } from '@connectrpc/connect';
import { createGrpcTransport } from '@connectrpc/connect-node';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { ErrorInfoSchema } from '../../gen/google/rpc/error_details_pb.ts';
import { ServerReflection } from '../../gen/grpc/reflection/v1/reflection_pb.ts';
import { ServerReflection as ServerReflectionAlpha } from '../../gen/grpc/reflection/v1alpha/reflection_pb.ts';
import { AdminService } from '../../gen/yardmaster/v1/admin_service_pb.ts';
import { jsonInput } from '../../src/client/index.ts';
import { runOf } from '../support/conformance.ts';
import { adminBy, failureBy, type HttpYard, rawConnection, startHttpYard, WAYS } from '../support/http_yard.ts';
import { until } from '../support/until.ts';

let yard: HttpYard;
beforeAll(async () => {
  yard = await startHttpYard();
});
afterAll(() => yard.stop());

const RPC = '/yardmaster.v1.AdminService';
const JSON_TYPE = { 'content-type': 'application/json' };

function post(path: string, body: string, headers: Record<string, string> = JSON_TYPE): Promise<Response> {
  return fetch(yard.url + path, { method: 'POST', headers, body });
}

describe.each(Object.keys(WAYS))('AdminService by %s', (way) => {
  const admin = () => adminBy(way, yard.url);

  it('takes a run and gives it back', async () => {
    const { run } = await admin().scheduleRun({
      ...runOf({ action: 'a' }),
      ...jsonInput({ file: 's3://ä.tar', n: 1 }),
    });
    const found = await admin().getRun({ runId: run?.runId ?? '' });
    expect(JSON.parse(found.run?.inputJson ?? '')).toEqual({ file: 's3://ä.tar', n: 1 });
  });

  it('refuses with the same reason and the same fields as the gRPC listener', async () => {
    const shape = await failureBy(admin().scheduleRun(runOf({ action: '' })));
    expect(shape).toMatchObject({ code: Code.InvalidArgument, reason: 'INVALID_FIELD', domain: 'yardmaster' });
    expect(shape.fields.map(({ field }) => field)).toEqual(['step.action']);
    const tags = Array.from({ length: 33 }, (_, index) => `t${index}`);
    const limit = await failureBy(admin().scheduleRun(runOf({ action: 'a' }, { runsOn: tags })));
    expect(limit).toMatchObject({ reason: 'LIMIT_EXCEEDED', metadata: { actual: '33', limit: '32' } });
    const quoted = await failureBy(admin().getRun({ runId: 'ä\u0001"%' }));
    expect(quoted).toMatchObject({ code: Code.NotFound, reason: 'RUN_NOT_FOUND' });
  });

  it('forgets no success where there is none', async () => {
    expect(await admin().purgeResults({})).toMatchObject({ forgottenCount: 0n });
  });

  it('takes the namespace from the metadata', async () => {
    const headers = { 'yardmaster-namespace': 'nowhere' };
    expect(await failureBy(admin().listRuns({}, { headers }))).toMatchObject({
      code: Code.NotFound,
      reason: 'NAMESPACE_NOT_FOUND',
    });
  });
});

describe('JSON as people send it', () => {
  it('a field that does not exist is refused by its name', async () => {
    const answer = await post(`${RPC}/ScheduleRun`, '{"step":{"action":"a","prioritee":1}}');
    expect(answer.status).toBe(400);
    const error = (await answer.json()) as { details: { value: string }[] };
    expect(error).toMatchObject({
      code: 'invalid_argument',
      message: expect.stringContaining('"prioritee"'),
      details: [{ type: 'google.rpc.ErrorInfo', debug: { reason: 'INVALID_FIELD', domain: 'yardmaster' } }],
    });
    const info = fromBinary(ErrorInfoSchema, Buffer.from(error.details[0]?.value ?? '', 'base64'));
    expect(info).toMatchObject({ reason: 'INVALID_FIELD', domain: 'yardmaster' });
  });

  it('an input may be any JSON, as deep as our own limit says', async () => {
    const nested = (depth: number) => `{"step":{"action":"a"},"input":${'['.repeat(depth)}1${']'.repeat(depth)}}`;
    expect((await post(`${RPC}/ScheduleRun`, nested(60))).status).toBe(200);
    const deep = await post(`${RPC}/ScheduleRun`, nested(65));
    const { message, details } = (await deep.json()) as { message: string; details: { debug: { reason: string } }[] };
    expect(message).toContain('input');
    expect(details[0]?.debug.reason).toBe('LIMIT_EXCEEDED');
  });

  it('what is no JSON, no message, too large or of no known type is refused, and the server goes on', async () => {
    expect((await post(`${RPC}/ScheduleRun`, '{')).status).toBe(400);
    expect(
      (await post(`${RPC}/ScheduleRun`, '\xff', { 'content-type': 'application/proto' })).status,
    ).toBeGreaterThanOrEqual(400);
    expect((await post(`${RPC}/ScheduleRun`, '{}', { 'content-type': 'text/plain' })).status).toBe(415);
    expect((await fetch(`${yard.url}${RPC}/ScheduleRun`)).status).toBe(405);
    const large = await post(`${RPC}/ScheduleRun`, JSON.stringify({ inputJson: 'x'.repeat(8 * 1024 * 1024) }));
    expect(await large.json()).toMatchObject({
      code: 'resource_exhausted',
      details: [{ debug: { reason: 'MESSAGE_TOO_LARGE' } }],
    });
    expect((await fetch(`${yard.url}/healthz`)).status).toBe(200);
  });

  it('a deadline that is over while the rpc waits is answered', async () => {
    const answer = await post(`${RPC}/ScheduleRun`, '{"step":{"action":"a"}}', {
      ...JSON_TYPE,
      'connect-timeout-ms': '0',
    });
    expect(await answer.json()).toMatchObject({ code: 'deadline_exceeded' });
  });
});

describe('pages', () => {
  it.each(['1.1', '2'])('health, readiness and metrics on HTTP/%s', async (version) => {
    const get = version === '2' ? getByHttp2 : getByHttp1;
    expect(await get('/healthz')).toEqual({ status: 200, body: 'alive\n' });
    expect(await get('/readyz')).toEqual({ status: 200, body: 'ready\n' });
    expect((await get('/metrics')).body).toContain('yardmaster_ready 1');
    expect((await get('/nothing?x=1')).status).toBe(404);
  });

  it('take no other method than GET', async () => {
    expect((await post('/healthz', '')).status).toBe(405);
  });

  it('a page of another site that has its name resolved to us is refused, and told why', async () => {
    for (const path of ['/metrics', `${RPC}/ListRuns`]) {
      const { socket, closed } = await rawConnection(yard.port);
      const body = path.endsWith('ListRuns') ? 'Content-Type: application/json\r\nContent-Length: 2\r\n\r\n{}' : '\r\n';
      socket.write(
        `${body.length > 2 ? 'POST' : 'GET'} ${path} HTTP/1.1\r\nHost: evil.example:${yard.port}\r\nConnection: close\r\n${body}`,
      );
      const answer = await closed;
      expect(answer).toMatch(/^HTTP\/1.1 403 /);
      expect(answer).toContain('evil.example');
    }
  });
});

async function getByHttp1(path: string) {
  const answer = await fetch(yard.url + path);
  return { status: answer.status, body: await answer.text() };
}

function getByHttp2(path: string): Promise<{ status: number; body: string }> {
  return new Promise((resolve, reject) => {
    const session = connect(yard.url);
    const request = session.request({ ':path': path });
    let status = 0;
    let body = '';
    request.on('response', (headers) => {
      status = Number(headers[':status']);
    });
    request.setEncoding('utf8');
    request.on('data', (data) => {
      body += data;
    });
    request.on('error', reject);
    request.on('end', () => {
      session.close();
      resolve({ status, body });
    });
  });
}

describe('one port for both versions', () => {
  it('an HTTP/1 request that comes byte by byte is understood, one that begins like the preface too', async () => {
    for (const method of ['GET', 'P']) {
      const { socket, closed, received } = await rawConnection(yard.port);
      socket.setNoDelay(true);
      for (const byte of `${method} /healthz HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n`) {
        if (socket.writable) await new Promise((written) => socket.write(byte, written));
      }
      await closed;
      expect(received()).toMatch(method === 'GET' ? /200 OK[\s\S]*alive/ : /400 Bad Request/);
    }
  });

  it('an HTTP/2 preface that comes in pieces is understood', async () => {
    const { socket, received } = await rawConnection(yard.port);
    socket.setNoDelay(true);
    for (const piece of ['P', 'RI * HTTP/2.0\r\n', '\r\nSM\r\n\r\n', '\x00\x00\x00\x04\x00\x00\x00\x00\x00']) {
      await new Promise((written) => socket.write(Buffer.from(piece, 'latin1'), written));
    }
    // The server's SETTINGS, and its acknowledgement of ours.
    await until(() => received().includes('\x00\x00\x00\x04\x01\x00\x00\x00\x00'), received);
    socket.destroy();
  });

  it('a large message in the first packet arrives whole', async () => {
    const inputJson = JSON.stringify('x'.repeat(900_000));
    for (const way of Object.keys(WAYS)) {
      const admin = adminBy(way, yard.url);
      const { run } = await admin.scheduleRun(runOf({ action: 'a' }, { inputJson }));
      expect(run?.inputJson.length).toBe(inputJson.length);
    }
  });

  it('requests that no server can make sense of end their connection and nothing else', async () => {
    const nonsense = [
      '\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03',
      `POST ${RPC}/ListRuns HTTP/1.0\r\nContent-Type: application/json\r\nContent-Length: 2\r\n\r\n{}`,
      `POST ${RPC}/ListRuns HTTP/1.1\r\nHost: [:::\r\nContent-Type: application/json\r\nContent-Length: 2\r\n\r\n{}`,
      'PRI * HTTP/2.0\r\n\r\nSM\r\n\r\nnonsense nonsense nonsense',
    ];
    for (const bytes of nonsense) {
      const { socket, received, closed } = await rawConnection(yard.port);
      socket.end(Buffer.from(bytes, 'latin1'));
      await closed;
      expect(received()).not.toContain(' 200 ');
    }
    expect((await fetch(`${yard.url}/healthz`)).status).toBe(200);
  });
});

it('closing the listener waits for nobody who keeps a request open', async () => {
  const other = await startHttpYard();
  const { socket, closed } = await rawConnection(other.port);
  socket.write('POST /yardmaster.v1.AdminService/ListRuns HTTP/1.1\r\nHost: localhost\r\n');
  const session = connect(other.url);
  session.on('error', () => {});
  const stuck = { ':method': 'POST', ':path': `${RPC}/ListRuns`, 'content-type': 'application/json' };
  session.request(stuck, { endStream: false }).on('error', () => {});
  await new Promise((resolve) => session.ping(resolve));
  const ended = new Promise((resolve) => session.on('close', resolve));
  await other.stop();
  await Promise.all([closed, ended]);
});

describe('reflection', () => {
  it.each([
    ['v1', ServerReflection],
    ['v1alpha', ServerReflectionAlpha],
  ] as const)('%s lists and describes what this listener carries', async (_version, service) => {
    const client = createClient(service as typeof ServerReflection, createGrpcTransport({ baseUrl: yard.url }));
    async function* questions() {
      yield { messageRequest: { case: 'listServices', value: '' } } as const;
      yield { messageRequest: { case: 'fileContainingSymbol', value: AdminService.typeName } } as const;
      yield { messageRequest: { case: 'fileContainingSymbol', value: 'no.Such' } } as const;
    }
    const answers = [];
    for await (const answer of client.serverReflectionInfo(questions())) answers.push(answer.messageResponse);
    expect(answers.map(({ case: kind }) => kind)).toEqual([
      'listServicesResponse',
      'fileDescriptorResponse',
      'errorResponse',
    ]);
    const names = answers[0]?.case === 'listServicesResponse' ? answers[0].value.service.map(({ name }) => name) : [];
    expect(names).toEqual([
      'grpc.reflection.v1.ServerReflection',
      'grpc.reflection.v1alpha.ServerReflection',
      AdminService.typeName,
    ]);
  });

  it('says on HTTP/1.1 that it needs HTTP/2', async () => {
    const answer = await post('/grpc.reflection.v1.ServerReflection/ServerReflectionInfo', '', {
      'content-type': 'application/connect+json',
    });
    expect(answer.status).toBe(505);
  });
});
