// The floor: a grpc-js server that answers hellos and heartbeats and does nothing else. No database, no sessions.
import { create, toBinary } from '@bufbuild/protobuf';
import { Server, ServerCredentials } from '@grpc/grpc-js';
import { ConnectResponseSchema, WorkerService } from '../../dist/gen/yardmaster/v1/worker_service_pb.js';

const answer = (message) => Buffer.from(toBinary(ConnectResponseSchema, create(ConnectResponseSchema, { message })));
const WELCOME = answer({ case: 'welcome', value: { workerId: 'bare' } });
const HEARTBEAT = answer({ case: 'heartbeat', value: {} });
const same = (bytes) => bytes;

const connect = {
  path: `/${WorkerService.typeName}/${WorkerService.method.connect.name}`,
  requestStream: true,
  responseStream: true,
  requestSerialize: same,
  requestDeserialize: same,
  responseSerialize: same,
  responseDeserialize: same,
};

// Set as the real one is.
const server = new Server({
  'grpc.enable_channelz': 0,
  'grpc.keepalive_time_ms': 20_000,
  'grpc.keepalive_timeout_ms': 10_000,
  'grpc.keepalive_permit_without_calls': 1,
});
server.addService(
  { connect },
  {
    connect(call) {
      let isOpen = false;
      call.on('data', () => {
        call.write(isOpen ? HEARTBEAT : WELCOME);
        isOpen = true;
      });
      call.on('end', () => call.end());
      call.on('error', () => {});
    },
  },
);
server.bindAsync('127.0.0.1:0', ServerCredentials.createInsecure(), (error, port) => {
  if (error) throw error;
  process.send?.({ port });
});
process.on('SIGTERM', () => process.exit(0));
process.on('disconnect', () => process.exit(1));
