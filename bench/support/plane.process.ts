/** The server, as built, in a process of its own. Says its port, and the address of its database for the peers. */
import { startServer } from '../../dist/src/server/server.js';

const server = await startServer({
  grpcPort: 0,
  logLevel: 'error',
  databaseUrl: process.env.BENCH_DATABASE_URL,
});
process.on('SIGTERM', async () => {
  await server.stop();
  process.exit(0);
});
process.send?.({ port: server.grpcPort });
