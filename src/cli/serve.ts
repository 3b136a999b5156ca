/** `yardmaster serve`: the control plane in the foreground, until SIGINT or SIGTERM. */
import { configFromEnvironment } from '../server/config.ts';
import { startServer } from '../server/server.ts';

const server = await startServer(configFromEnvironment());
console.log(`Yardmaster listens for gRPC on ${server.host}:${server.grpcPort}; ${server.database}`);

let stopping = false;
async function stop(): Promise<void> {
  if (stopping) return;
  stopping = true;
  await server.stop();
  process.exit(0);
}
process.on('SIGINT', stop);
process.on('SIGTERM', stop);
