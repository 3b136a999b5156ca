/**
 * The HTTP listener: AdminService over Connect, gRPC-Web and gRPC, reflection, health and metrics; on one port, for
 * HTTP/1.1 and for HTTP/2 without TLS.
 */
import { lookup } from 'node:dns/promises';
import { createServer as createHttp1Server, type Server as Http1Server, type RequestListener } from 'node:http';
import { createServer as createHttp2Server } from 'node:http2';
import { type AddressInfo, createServer as createNetServer, type Server as NetServer, type Socket } from 'node:net';
import { createConnectRouter } from '@connectrpc/connect';
import { compressionBrotli, compressionGzip } from '@connectrpc/connect-node';
import { AdminService } from '../../../gen/yardmaster/v1/admin_service_pb.ts';
import { type Clock, sleep } from '../../lib/clock.ts';
import type { Gate } from '../auth.ts';
import { BINARY_OPTIONS, TRANSPORT_FACTOR } from '../grpc/adapter.ts';
import type { Plane } from '../plane.ts';
import { adminService } from '../rpc/admin_service.ts';
import type { HttpLimits } from './limits.ts';
import { addReflection } from './reflection.ts';
import { createRequestListener, type Page, text } from './requests.ts';
import { addRpcs } from './rpcs.ts';
import { end, watchSessions } from './sessions.ts';
import { sniff } from './sniff.ts';

export interface HttpOptions {
  readonly plane: Plane;
  readonly host: string;
  /** 0 takes any free one. */
  readonly port: number;
  /** null: there is no token. */
  readonly gate: Gate | null;
  readonly limits: HttpLimits;
  /** Ready for work, and not about to stop. */
  readonly isReady: () => boolean;
  readonly metricsPage: () => Promise<{ readonly contentType: string; readonly text: string }>;
}

export interface HttpListener {
  readonly port: number;
  /** Accepts nothing more, lets answers under way finish for a while, and cuts what is left. */
  close(): Promise<void>;
}

/** How often node looks for HTTP/1 requests that take too long. */
const CHECK_MS = 1_000;
/** Answers under way have this long when the listener closes. */
const CLOSE_MS = 2_000;

export async function listenHttp(options: HttpOptions): Promise<HttpListener> {
  const { plane, limits } = options;
  const { clock } = plane;
  const respond = createRequestListener({
    rpcs: rpcsOf(plane),
    pages: pagesOf(options),
    gate: options.gate,
    notes: plane,
    clock,
    requestMs: limits.requestMs,
  });
  const http1 = http1Server(respond, limits);
  const http2 = createHttp2Server({ settings: http2Settings(limits) }, respond);
  const sessions = watchSessions(http2, clock, limits);
  const sockets = new Set<Socket>();

  function accept(socket: Socket): void {
    if (sockets.size >= limits.socketsMax) {
      socket.destroy();
      return;
    }
    sockets.add(socket);
    socket.on('close', () => sockets.delete(socket));
    sniff(socket, clock, limits.firstBytesMs, (version) =>
      (version === 'HTTP/2' ? http2 : http1).emit('connection', socket),
    );
  }

  const { port, listeners } = await listenEverywhere(options.host, options.port, accept);
  return {
    port,
    async close() {
      const closed = Promise.all(listeners.map(closeListener));
      for (const session of sessions) end(session, clock, CLOSE_MS);
      await drain(http1, sockets, clock, closed);
    },
  };
}

function rpcsOf(plane: Plane) {
  const bytesMax = plane.limits.messageBytesMax * TRANSPORT_FACTOR;
  const router = createConnectRouter({
    readMaxBytes: bytesMax,
    writeMaxBytes: bytesMax,
    binaryOptions: BINARY_OPTIONS,
    // A field that is misspelt must not be as if it had not been sent.
    jsonOptions: { ...BINARY_OPTIONS, ignoreUnknownFields: false },
    acceptCompression: [compressionGzip, compressionBrotli],
  });
  addRpcs(router, AdminService, adminService(plane), plane);
  addReflection(router, [AdminService.typeName]);
  return new Map(router.handlers.map((handler) => [handler.requestPath, handler]));
}

function pagesOf({ isReady, metricsPage }: HttpOptions): ReadonlyMap<string, Page> {
  return new Map([
    ['/healthz', { open: true, answer: () => text(200, 'alive') }],
    ['/readyz', { open: true, answer: () => (isReady() ? text(200, 'ready') : text(503, 'not ready')) }],
    [
      '/metrics',
      {
        open: false,
        async answer() {
          const page = await metricsPage();
          return { status: 200, contentType: page.contentType, body: page.text };
        },
      },
    ],
  ]);
}

function http1Server(respond: RequestListener, limits: HttpLimits): Http1Server {
  const server = createHttp1Server(
    {
      maxHeaderSize: limits.headerBytesMax,
      headersTimeout: limits.headersMs,
      requestTimeout: limits.requestMs,
      keepAliveTimeout: limits.idleMs,
      connectionsCheckingInterval: Math.min(CHECK_MS, limits.headersMs),
    },
    respond,
  );
  // It is given its connections and never listens itself, and its checks of the two timeouts begin with this event.
  server.emit('listening');
  return server;
}

function http2Settings(limits: HttpLimits) {
  return {
    maxConcurrentStreams: limits.streamsPerConnectionMax,
    maxHeaderListSize: limits.headerBytesMax,
    enablePush: false,
  };
}

interface Listening {
  readonly port: number;
  readonly listeners: readonly NetServer[];
}

/** At every address of the host: "localhost" is two, and clients try either first. */
async function listenEverywhere(host: string, port: number, accept: (socket: Socket) => void): Promise<Listening> {
  const listeners: NetServer[] = [];
  let bound = port;
  let failure: unknown = new Error('the name has no address');
  for (const { address } of await lookup(host, { all: true })) {
    try {
      const listener = await listenAt(address, bound, accept);
      listeners.push(listener);
      bound = (listener.address() as AddressInfo).port;
    } catch (error) {
      failure = error;
      if (isNoSuchAddress(error)) continue;
      await Promise.all(listeners.splice(0).map(closeListener));
      break;
    }
  }
  if (listeners.length > 0) return { port: bound, listeners };
  throw new Error(
    `cannot listen for HTTP on ${host}:${bound}: ${failure instanceof Error ? failure.message : String(failure)}`,
  );
}

/** A machine without IPv6 may still have a name for ::1. */
function isNoSuchAddress(error: unknown): boolean {
  return ['EADDRNOTAVAIL', 'EAFNOSUPPORT'].includes((error as { code?: string }).code ?? '');
}

function listenAt(address: string, port: number, accept: (socket: Socket) => void): Promise<NetServer> {
  return new Promise((resolve, reject) => {
    const server = createNetServer({ noDelay: true }, accept);
    server.once('error', reject);
    server.listen({ host: address, port }, () => {
      server.off('error', reject);
      // A connection that could not be accepted, for want of descriptors say, is not the end of the listener.
      server.on('error', () => {});
      resolve(server);
    });
  });
}

function closeListener(server: NetServer): Promise<void> {
  return new Promise((resolve) => {
    server.close(() => resolve());
  });
}

/** Idle connections go at once, busy ones when their answer is out; `closed` resolves with the last of them. */
async function drain(
  http1: Http1Server,
  sockets: ReadonlySet<Socket>,
  clock: Clock,
  closed: Promise<unknown>,
): Promise<void> {
  const over = new AbortController();
  const cut = sleep(clock, CLOSE_MS, over.signal).then(
    () => {
      for (const socket of sockets) socket.destroy();
    },
    () => {},
  );
  http1.close();
  await closed;
  over.abort();
  await cut;
}
