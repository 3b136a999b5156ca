/** The server in a process of its own; its settings come as JSON, its ports go out as a line of JSON. */
import { DEFAULT_TIMES, type Times } from '../../src/domain/limits.ts';
import type { ServerConfig } from '../../src/server/config.ts';
import { startServer } from '../../src/server/server.ts';

const { times, ...settings }: Partial<ServerConfig> & { times?: Partial<Times> } = JSON.parse(process.argv[2] ?? '{}');
const server = await startServer({ ...settings, times: { ...DEFAULT_TIMES, ...times } });
process.on('SIGTERM', () => {
  void server.stop().then(() => process.exit(0));
});
console.log(JSON.stringify({ grpcPort: server.grpcPort, httpPort: server.httpPort, pid: process.pid }));
