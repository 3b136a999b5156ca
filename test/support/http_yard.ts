/** A server with its HTTP listener, and stock Connect clients that speak with it in every protocol. */
import { connect as connectSocket, type Socket } from 'node:net';
import { type Client, ConnectError, createClient, type Transport } from '@connectrpc/connect';
import { createConnectTransport, createGrpcTransport, createGrpcWebTransport } from '@connectrpc/connect-node';
import { BadRequestSchema, ErrorInfoSchema } from '../../gen/google/rpc/error_details_pb.ts';
import { AdminService } from '../../gen/yardmaster/v1/admin_service_pb.ts';
import { type Log, SILENT_LOG } from '../../src/lib/log.ts';
import type { ServerConfig } from '../../src/server/config.ts';
import { type RunningServer, startServer } from '../../src/server/server.ts';
import { createTestDatabase } from './postgres.ts';

export interface HttpYard {
  readonly server: RunningServer;
  readonly databaseUrl: string;
  readonly port: number;
  readonly url: string;
  stop(): Promise<void>;
}

export async function startHttpYard(settings: Partial<ServerConfig> = {}, log: Log = SILENT_LOG): Promise<HttpYard> {
  const database = await createTestDatabase();
  const server = await startServer({ databaseUrl: database.url, grpcPort: 0, ...settings }, log);
  const port = server.httpPort ?? 0;
  return {
    server,
    databaseUrl: database.url,
    port,
    url: `http://127.0.0.1:${port}`,
    async stop() {
      await server.stop();
      await database.drop();
    },
  };
}

/** Each protocol, on each version of HTTP it is made for. */
export const WAYS: Readonly<Record<string, (baseUrl: string) => Transport>> = {
  'Connect with JSON on HTTP/1.1': (baseUrl) =>
    createConnectTransport({ baseUrl, httpVersion: '1.1', useBinaryFormat: false }),
  'Connect on HTTP/1.1': (baseUrl) => createConnectTransport({ baseUrl, httpVersion: '1.1', useBinaryFormat: true }),
  'Connect on HTTP/2': (baseUrl) => createConnectTransport({ baseUrl, httpVersion: '2', useBinaryFormat: true }),
  'gRPC-Web on HTTP/1.1': (baseUrl) => createGrpcWebTransport({ baseUrl, httpVersion: '1.1' }),
  'gRPC-Web on HTTP/2': (baseUrl) => createGrpcWebTransport({ baseUrl, httpVersion: '2' }),
  'gRPC on HTTP/2': (baseUrl) => createGrpcTransport({ baseUrl }),
};

export function adminBy(way: string, url: string): Client<typeof AdminService> {
  const transport = WAYS[way];
  if (transport === undefined) throw new Error(`there is no way "${way}"`);
  return createClient(AdminService, transport(url));
}

/** What a call that must fail failed with. */
export async function failureBy(call: Promise<unknown>) {
  const error = await call.then(
    () => {
      throw new Error('the call succeeded, and had to fail');
    },
    (reason: unknown) => reason,
  );
  if (!(error instanceof ConnectError)) throw error;
  const [info, ...more] = error.findDetails(ErrorInfoSchema);
  if (more.length > 0) throw new Error('an error carries more than one ErrorInfo');
  return {
    code: error.code,
    message: error.rawMessage,
    reason: info?.reason,
    domain: info?.domain,
    metadata: { ...info?.metadata },
    fields: error
      .findDetails(BadRequestSchema)
      .flatMap(({ fieldViolations }) => fieldViolations.map(({ field, description }) => ({ field, description }))),
  };
}

/** A bare connection: what it was sent, and when it ends. */
export interface RawConnection {
  readonly socket: Socket;
  received(): string;
  /** Resolves with everything that came, once the other side has closed it. */
  readonly closed: Promise<string>;
}

export function rawConnection(port: number): Promise<RawConnection> {
  return new Promise((resolve, reject) => {
    const socket = connectSocket(port, '127.0.0.1');
    let all = '';
    const closed = new Promise<string>((over) => socket.on('close', () => over(all)));
    socket.on('data', (data) => {
      all += data.toString('latin1');
    });
    socket.once('error', reject);
    socket.once('connect', () => {
      socket.off('error', reject);
      socket.on('error', () => {});
      resolve({ socket, received: () => all, closed });
    });
  });
}
