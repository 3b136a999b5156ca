/** `yardmaster serve`: the control plane in the foreground, until SIGINT or SIGTERM. */
import { constants } from 'node:os';
import { systemClock } from '../lib/clock.ts';
import { ConfigurationError, configFromEnvironment, type ServerConfig } from '../server/config.ts';
import { type RunningServer, startServer } from '../server/server.ts';

const STOPPED = 0;
const FAILED = 1;
const REFUSED_CONFIGURATION = 2;

/** A stop that has not come to its end by then is given up: whoever restarts us waits no longer either. */
const STOP_MS_MAX = 10_000;

/** Serves until it is told to stop, and resolves with the exit code. `overrides` go over what the environment says. */
export async function serve(overrides: Partial<ServerConfig> = {}): Promise<number> {
  // From the first moment: a start may take long, and a standby waits for as long as the other one lives.
  const told = stopSignal();
  let server: RunningServer | null;
  try {
    const starting = startServer(configFromEnvironment(undefined, overrides));
    server = await Promise.race([starting, told.then(() => null)]);
  } catch (error) {
    console.error(`Yardmaster cannot start. ${error instanceof Error ? error.message : String(error)}`);
    return error instanceof ConfigurationError ? REFUSED_CONFIGURATION : FAILED;
  }
  // Nothing was promised to anybody yet; what was started ends with the process, or is adopted by the next one.
  if (server === null) return STOPPED;
  console.log(greeting(server));
  const standby = server.plane.standingBy();
  if (standby !== null) console.log(`Standing by: ${standby.message}`);
  await told;
  const late = systemClock().after(STOP_MS_MAX, () => {
    console.error(`Yardmaster did not stop within ${STOP_MS_MAX} ms, and gives up.`);
    process.exit(FAILED);
  });
  await server.stop();
  late.clear();
  return STOPPED;
}

function greeting({ host, grpcPort, httpPort, database }: RunningServer): string {
  const shown = host.includes(':') ? `[${host}]` : host;
  const http = httpPort === null ? '' : ` and for HTTP on ${shown}:${httpPort}`;
  return `Yardmaster listens for gRPC on ${shown}:${grpcPort}${http}; ${database}`;
}

/** Resolves with the first signal to stop. The next one ends the process as it is, with the exit code that shells use. */
function stopSignal(): Promise<void> {
  return new Promise((resolve) => {
    let told = false;
    for (const signal of ['SIGINT', 'SIGTERM'] as const) {
      process.on(signal, () => {
        if (told) process.exit(128 + constants.signals[signal]);
        told = true;
        resolve();
      });
    }
  });
}
