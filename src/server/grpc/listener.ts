/** The gRPC listener: both services, health and reflection, with limits on messages, streams and silence. */
import { Server, ServerCredentials } from '@grpc/grpc-js';
import { HealthImplementation } from 'grpc-health-check';
import { Health } from '../../../gen/grpc/health/v1/health_pb.ts';
import { AdminService } from '../../../gen/yardmaster/v1/admin_service_pb.ts';
import { WorkerService } from '../../../gen/yardmaster/v1/worker_service_pb.ts';
import type { Gate } from '../auth.ts';
import type { Plane } from '../plane.ts';
import { adminService } from '../rpc/admin_service.ts';
import { workerService } from '../rpc/worker_service.ts';
import { guard, mount, TRANSPORT_FACTOR } from './adapter.ts';
import { CONNECT_DEFINITION, connectStream, type Streams } from './connect_stream.ts';
import { addReflection } from './reflection.ts';

const KEEPALIVE_MS = 20_000;
const KEEPALIVE_TIMEOUT_MS = 10_000;
/** A client that pings more often than this is told to go away. */
const KEEPALIVE_CLIENT_MS_MIN = 5_000;
const STREAMS_PER_CONNECTION_MAX = 1_000;

export interface GrpcListener {
  readonly port: number;
  /** Tells every worker to come back elsewhere, lets calls finish, and closes. */
  close(): Promise<void>;
}

export interface GrpcOptions {
  readonly plane: Plane;
  readonly host: string;
  /** 0 takes any free one. */
  readonly port: number;
  /** null: everybody is let in. */
  readonly gate: Gate | null;
}

export async function listenGrpc({ plane, host, port, gate }: GrpcOptions): Promise<GrpcListener> {
  const server = new Server({
    'grpc.max_receive_message_length': plane.limits.messageBytesMax * TRANSPORT_FACTOR,
    'grpc.max_send_message_length': plane.limits.messageBytesMax * TRANSPORT_FACTOR,
    // Nobody can ask for its records here, and they take 1 KiB a connection.
    'grpc.enable_channelz': 0,
    'grpc.max_concurrent_streams': STREAMS_PER_CONNECTION_MAX,
    'grpc.keepalive_time_ms': KEEPALIVE_MS,
    'grpc.keepalive_timeout_ms': KEEPALIVE_TIMEOUT_MS,
    'grpc.keepalive_permit_without_calls': 1,
    'grpc.http2.min_ping_interval_without_data_ms': KEEPALIVE_CLIENT_MS_MIN,
    // An interceptor costs every message a little: without a token there is none.
    interceptors: gate === null ? [] : [guard(gate, `/${Health.typeName}/`, plane)],
  });
  const streams: Streams = new Map();
  const admin = mount(AdminService, adminService(plane), plane);
  const worker = mount(WorkerService, workerService(plane), plane);
  server.addService(admin.definition, admin.implementation);
  server.addService(
    { ...worker.definition, connect: CONNECT_DEFINITION },
    { ...worker.implementation, connect: connectStream(plane, streams) },
  );
  const health = new HealthImplementation();
  let closing = false;
  const showHealth = (serves: boolean) => {
    for (const name of ['', AdminService.typeName, WorkerService.typeName])
      health.setStatus(name, serves && !closing ? 'SERVING' : 'NOT_SERVING');
  };
  plane.watchTerm(showHealth);
  health.addToServer(server);
  addReflection(server);
  const bound = await bind(server, host, port);
  // A balancer sends new connections to who decides now; those there are would be told UNAVAILABLE here for good.
  plane.watchTerm((decides) => {
    if (!decides && !closing) server.drain(addressOf(host, bound), DRAIN_MS);
  });
  return {
    port: bound,
    async close() {
      closing = true;
      showHealth(false);
      for (const { session } of [...streams.values()]) session.reconnect('the server is stopping');
      await shutDown(server, addressOf(host, bound));
    },
  };
}

function addressOf(host: string, port: number): string {
  return host.includes(':') ? `[${host}]:${port}` : `${host}:${port}`;
}

function bind(server: Server, host: string, port: number): Promise<number> {
  const address = addressOf(host, port);
  return new Promise((resolve, reject) => {
    server.bindAsync(address, ServerCredentials.createInsecure(), (error, bound) => {
      if (error) reject(new Error(`cannot listen for gRPC on ${address}: ${error.message}`));
      else resolve(bound);
    });
  });
}

const SHUTDOWN_MS = 3_000;
/** Calls under way when this process decides no more are answered at once. */
const DRAIN_MS = 1_000;

/** Lets calls under way finish for a while; then they are cut. */
function shutDown(server: Server, address: string): Promise<void> {
  return new Promise((resolve) => {
    // Not by forceShutdown, which knows of connections only from channelz. And first: it leaves alone what is closing already.
    server.drain(address, SHUTDOWN_MS);
    server.tryShutdown(() => resolve());
  });
}
