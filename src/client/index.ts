/** The client of AdminService: `import { createAdminClient } from 'yardmaster/client'`. */
export { Code, ConnectError } from '@connectrpc/connect';
export * as admin from '../../gen/yardmaster/v1/admin_service_pb.ts';
export * as run from '../../gen/yardmaster/v1/run_pb.ts';
export * as worker from '../../gen/yardmaster/v1/worker_pb.ts';
export {
  type AdminClient,
  type AdminClientOptions,
  createAdminClient,
  type TlsOptions,
} from './admin-client.ts';
export { type ErrorReason, errorReason } from './errors.ts';
export { jsonInput, labelValue } from './input.ts';
