import { connect, constants } from 'node:http2';
import { afterAll, afterEach, beforeAll, describe, expect, it } from 'vitest';
import { DEFAULT_HTTP_LIMITS } from '../../src/server/http/limits.ts';
import { type HttpYard, type RawConnection, rawConnection, startHttpYard } from '../support/http_yard.ts';
import { until } from '../support/until.ts';

const MS = 300;
const SOCKETS_MAX = 4;

let yard: HttpYard;
beforeAll(async () => {
  const httpLimits = {
    ...DEFAULT_HTTP_LIMITS,
    socketsMax: SOCKETS_MAX,
    firstBytesMs: MS,
    headersMs: MS,
    requestMs: 2 * MS,
    idleMs: MS,
    pingMs: MS,
    streamsPerConnectionMax: 5,
  };
  yard = await startHttpYard({ httpLimits });
});
afterAll(() => yard.stop());

const open: RawConnection[] = [];
async function raw(): Promise<RawConnection> {
  const connection = await rawConnection(yard.port);
  open.push(connection);
  return connection;
}
afterEach(async () => {
  for (const { socket } of open) socket.destroy();
  await Promise.all(open.splice(0).map(({ closed }) => closed));
});

const PREFACE_AND_SETTINGS = Buffer.from(
  'PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n\x00\x00\x00\x04\x00\x00\x00\x00\x00',
  'latin1',
);
const POST =
  'POST /yardmaster.v1.AdminService/ListRuns HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\n';

describe('a connection is closed', () => {
  it('when it says nothing, or begins a preface and stops', async () => {
    const silent = await raw();
    const half = await raw();
    half.socket.write('PRI * HT');
    expect(await Promise.all([silent.closed, half.closed])).toEqual(['', '']);
  });

  it('when the headers of its request do not come to an end', async () => {
    const { socket, closed } = await raw();
    socket.write('GET /healthz HTTP/1.1\r\nHost: loc');
    expect(await closed).toMatch(/^HTTP\/1.1 408 /);
  });

  it('when the body of its request does not come to an end', async () => {
    const { socket, closed } = await raw();
    socket.write(`${POST}Content-Length: 100\r\n\r\n{`);
    expect(await closed).toMatch(/^HTTP\/1.1 408 /);
  });

  it('when it has been idle for long, whichever version it speaks', async () => {
    const old = await raw();
    old.socket.write('GET /healthz HTTP/1.1\r\nHost: localhost\r\n\r\n');
    const young = await raw();
    young.socket.write(PREFACE_AND_SETTINGS);
    expect(await old.closed).toContain('alive');
    // A GOAWAY without an error is its last frame.
    expect((await young.closed).slice(-17)).toMatch(/^\x00\x00\x08\x07\x00[\s\S]*\x00\x00\x00\x00$/);
  });

  it('when there are as many as there may be', async () => {
    const within: RawConnection[] = [];
    for (let count = 0; count < SOCKETS_MAX; count++) within.push(await raw());
    const beyond = await raw();
    const first = await Promise.race([...within, beyond].map((connection) => connection.closed.then(() => connection)));
    expect(first).toBe(beyond);
    // Whoever leaves makes room.
    for (const { socket } of within) socket.destroy();
    await Promise.all(within.map(({ closed }) => closed));
    const room = () =>
      fetch(`${yard.url}/healthz`).then(
        ({ ok }) => ok,
        () => false,
      );
    await until(room);
  });
});

describe('a request is refused', () => {
  it('when its headers are too large, and it is HTTP/1.1', async () => {
    const { socket, closed } = await raw();
    socket.write(
      `GET /healthz HTTP/1.1\r\nHost: localhost\r\nX: ${'x'.repeat(DEFAULT_HTTP_LIMITS.headerBytesMax)}\r\n\r\n`,
    );
    expect(await closed).toMatch(/^HTTP\/1.1 431 /);
  });

  it('when its headers are too large, and it is HTTP/2; its connection stays', async () => {
    const session = connect(yard.url);
    const ask = (headers: Record<string, string>) => {
      const stream = session.request({ ':path': '/healthz', ...headers });
      stream.resume().on('error', () => {});
      return new Promise<number | undefined>((resolve) => stream.on('close', () => resolve(stream.rstCode)));
    };
    // The limit holds once the client has acknowledged it; until then node's own of 64 KiB does.
    expect(await ask({})).toBe(constants.NGHTTP2_NO_ERROR);
    expect(await ask({ x: 'x'.repeat(DEFAULT_HTTP_LIMITS.headerBytesMax) })).toBe(constants.NGHTTP2_ENHANCE_YOUR_CALM);
    expect(await ask({})).toBe(constants.NGHTTP2_NO_ERROR);
    session.destroy();
  });

  it('when its body does not come to an end, and it is HTTP/2; its connection stays', async () => {
    const session = connect(yard.url);
    session.on('error', () => {});
    const stuck = session.request(
      { ':method': 'POST', ':path': '/yardmaster.v1.AdminService/ListRuns', 'content-type': 'application/json' },
      { endStream: false },
    );
    stuck.resume().on('error', () => {});
    stuck.write('{');
    await new Promise((resolve) => stuck.on('close', resolve));
    expect(stuck.rstCode).toBe(constants.NGHTTP2_CANCEL);
    expect(session.destroyed).toBe(false);
    session.destroy();
  });

  it('when its connection has as many under way as it may', async () => {
    const session = connect(yard.url);
    session.on('error', () => {});
    await new Promise((resolve) => session.once('remoteSettings', resolve));
    expect(session.remoteSettings.maxConcurrentStreams).toBe(5);
    session.destroy();
  });
});

it('a peer that does not answer a ping while its request is under way is cut', async () => {
  const { socket, closed } = await raw();
  socket.write(PREFACE_AND_SETTINGS);
  // HEADERS of an unfinished POST, by indexes of the static table and literals; after it the peer is as good as dead.
  const literal = (name: number, value: string) =>
    Buffer.concat([Buffer.from([name, value.length]), Buffer.from(value)]);
  const block = Buffer.concat([
    Buffer.from([0x83, 0x86]),
    literal(0x04, '/grpc.reflection.v1.ServerReflection/ServerReflectionInfo'),
    literal(0x01, 'localhost'),
    Buffer.from([0x0f, 0x10]),
    Buffer.from([16]),
    Buffer.from('application/grpc'),
  ]);
  socket.write(Buffer.concat([Buffer.from([0, 0, block.length, 1, 4, 0, 0, 0, 1]), block]));
  // A PING came, which stays without an answer.
  expect(await closed).toContain('\x00\x00\x08\x06\x00\x00\x00\x00\x00');
});
