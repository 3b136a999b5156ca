// The server, as built, in a process of its own. Says its port.
import { startServer } from '../../dist/src/server/server.js';

const { databaseUrl, port = 0 } = JSON.parse(process.env.BENCH_SETTINGS ?? '{}');
const server = await startServer({ grpcPort: port, httpPort: 0, logLevel: 'error', databaseUrl });

async function stop() {
  await server.stop();
  process.exit(0);
}
process.on('SIGTERM', stop);
// Its benchmark is gone: so is the reason to be here.
process.on('disconnect', stop);
process.send?.({ port: server.grpcPort });
