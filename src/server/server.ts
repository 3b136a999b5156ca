/** The whole server: database, plane, listeners. */
import { hostname } from 'node:os';
import { AdminService } from '../../gen/yardmaster/v1/admin_service_pb.ts';
import { ConnectRequestSchema } from '../../gen/yardmaster/v1/worker_service_pb.ts';
import { systemClock } from '../lib/clock.ts';
import { createLog, type Log } from '../lib/log.ts';
import { systemIds } from '../lib/random.ts';
import { type Database, openDatabase } from '../store/database.ts';
import { createGate } from './auth.ts';
import { checkConfig, completeConfig, type ServerConfig } from './config.ts';
import { type GrpcListener, listenGrpc } from './grpc/listener.ts';
import type { HttpListener } from './http/listener.ts';
import { createServerMetrics, type ServerMetrics } from './metrics.ts';
import { type Plane, startPlane } from './plane.ts';
import { warmUp } from './validate.ts';

export interface RunningServer {
  readonly host: string;
  readonly grpcPort: number;
  /** null: there is no HTTP listener. */
  readonly httpPort: number | null;
  /** The database, for a person. */
  readonly database: string;
  readonly plane: Plane;
  /** Streams are told to come back, what was decided is stored, sockets are closed. */
  stop(): Promise<void>;
}

/** Throws a ConfigurationError when the settings are not safe to serve with. */
export async function startServer(settings: Partial<ServerConfig> = {}, log?: Log): Promise<RunningServer> {
  const config = completeConfig(settings);
  checkConfig(config);
  const serverLog = log ?? createLog(config.logLevel);
  const database = await openDatabase({
    databaseUrl: config.databaseUrl,
    dataDirectory: config.dataDirectory,
    log: serverLog,
  });
  const metrics = createServerMetrics();
  let plane: Plane | null = null;
  let listeners: Listeners;
  try {
    plane = await startPlane({
      database,
      name: `${hostname()}/${process.pid}`,
      limits: config.limits,
      times: config.times,
      clock: systemClock(),
      ids: systemIds(),
      log: serverLog,
      meters: metrics.meters,
      leaseMs: config.leaseMs,
    });
    metrics.watch(plane);
    listeners = await listen(plane, config, metrics);
  } catch (error) {
    await plane?.stop();
    await database.stop();
    throw error;
  }
  warmUp([ConnectRequestSchema, ...AdminService.methods.map((method) => method.input)], serverLog);
  const { grpc, http } = listeners;
  const ports = { grpcPort: grpc.port, httpPort: http?.port ?? null };
  serverLog.info({ host: config.host, ...ports, database: database.describe() }, 'listening');
  let stopped: Promise<void> | null = null;
  return {
    host: config.host,
    ...ports,
    database: database.describe(),
    plane,
    stop() {
      serverLog.info({}, 'stopping');
      stopped ??= stopAll(listeners, plane, database);
      return stopped;
    },
  };
}

interface Listeners {
  readonly grpc: GrpcListener;
  http: HttpListener | null;
  stopping: boolean;
}

async function listen(plane: Plane, config: ServerConfig, metrics: ServerMetrics): Promise<Listeners> {
  const { host, token } = config;
  const gate = token === undefined ? null : createGate(token);
  const grpc = await listenGrpc({ plane, host, port: config.grpcPort, gate });
  const listeners: Listeners = { grpc, http: null, stopping: false };
  if (config.httpPort === null) return listeners;
  try {
    // Workers come by gRPC: those that wait are given their work before the libraries of the other protocols are loaded.
    const { listenHttp } = await import('./http/listener.ts');
    listeners.http = await listenHttp({
      plane,
      host,
      port: config.httpPort,
      gate,
      limits: config.httpLimits,
      isReady: () => !listeners.stopping && plane.isReady(),
      metricsPage: metrics.page,
    });
  } catch (error) {
    await grpc.close();
    throw error;
  }
  return listeners;
}

/** In this order: no new work, then all that was decided is stored, then the database. HTTP says meanwhile that it is not ready. */
async function stopAll(listeners: Listeners, plane: Plane, database: Database): Promise<void> {
  listeners.stopping = true;
  // They never end by themselves, and a listener waits for its calls.
  plane.watches.stop();
  await listeners.grpc.close();
  await listeners.http?.close();
  const { alone } = await plane.stop();
  // An embedded server goes on for whoever else uses it.
  if (alone) await database.stop();
}
