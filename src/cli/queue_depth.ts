/** The one question of WorkerService that needs no worker. The client is of AdminService only, so it is asked here. */
import { createClient } from '@connectrpc/connect';
import { credentials, Client as GrpcClient, Metadata } from '@grpc/grpc-js';
import { type GetQueueDepthResponse, WorkerService } from '../../gen/yardmaster/v1/worker_service_pb.ts';
import { retryUnavailable } from '../client/retry.ts';
import { grpcTransport } from '../client/transport.ts';
import type { Backoff } from '../lib/backoff.ts';
import { systemIds } from '../lib/random.ts';
import type { Yard } from './yard.ts';

const DEADLINE_MS = 10_000;
const TRIES_MAX = 6;
const BACKOFF: Backoff = { initialMs: 50, factor: 2, maxMs: 2_000 };

export async function getQueueDepth({ options, call, io }: Yard, actions: string[]): Promise<GetQueueDepthResponse> {
  const { address, token, namespace } = options;
  const client = new GrpcClient(address, credentials.createInsecure());
  const metadata = new Metadata();
  if (token) metadata.set('authorization', `Bearer ${token}`);
  if (namespace) metadata.set('yardmaster-namespace', namespace);
  const transport = retryUnavailable(grpcTransport({ client, metadata, deadlineMs: DEADLINE_MS }), {
    clock: io.clock,
    fraction: () => systemIds().fraction(),
    deadlineMs: DEADLINE_MS,
    triesMax: TRIES_MAX,
    backoff: BACKOFF,
  });
  try {
    return await createClient(WorkerService, transport).getQueueDepth({ actions }, call);
  } finally {
    client.close();
  }
}
