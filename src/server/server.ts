/** The whole server: database, plane, listeners. */
import { hostname } from 'node:os';
import { AdminService } from '../../gen/yardmaster/v1/admin_service_pb.ts';
import { ConnectRequestSchema } from '../../gen/yardmaster/v1/worker_service_pb.ts';
import { systemClock } from '../lib/clock.ts';
import { createLog, type Log } from '../lib/log.ts';
import { systemIds } from '../lib/random.ts';
import { type Database, openDatabase } from '../store/database.ts';
import { DEFAULT_CONFIG, type ServerConfig } from './config.ts';
import { type GrpcListener, listenGrpc } from './grpc/listener.ts';
import { type Plane, startPlane } from './plane.ts';
import { warmUp } from './validate.ts';

export interface RunningServer {
  readonly host: string;
  readonly grpcPort: number;
  /** The database, for a person. */
  readonly database: string;
  readonly plane: Plane;
  /** Streams are told to come back, what was decided is stored, sockets are closed. */
  stop(): Promise<void>;
}

export async function startServer(settings: Partial<ServerConfig> = {}, log?: Log): Promise<RunningServer> {
  const config = { ...DEFAULT_CONFIG, ...settings };
  const serverLog = log ?? createLog(config.logLevel);
  warmUp([ConnectRequestSchema, ...AdminService.methods.map((method) => method.input)]);
  const database = await openDatabase({ databaseUrl: config.databaseUrl, dataDirectory: config.dataDirectory, log: serverLog });
  let plane: Plane | null = null;
  let grpc: GrpcListener;
  try {
    plane = await startPlane({
      database,
      name: `${hostname()}/${process.pid}`,
      limits: config.limits,
      times: config.times,
      clock: systemClock(),
      ids: systemIds(),
      log: serverLog,
    });
    grpc = await listenGrpc(plane, config.host, config.grpcPort);
  } catch (error) {
    await plane?.stop();
    await database.stop();
    throw error;
  }
  serverLog.info({ host: config.host, grpcPort: grpc.port, database: database.describe() }, 'listening');
  return {
    host: config.host,
    grpcPort: grpc.port,
    database: database.describe(),
    plane,
    stop: () => stopAll(grpc, plane, database),
  };
}

/** In this order: no new work, then all that was decided is stored, then the database. */
async function stopAll(grpc: GrpcListener, plane: Plane, database: Database): Promise<void> {
  await grpc.close();
  await plane.stop();
  await database.stop();
}
