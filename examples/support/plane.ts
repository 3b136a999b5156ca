/**
 * A control plane for one example: the one at YARDMASTER_ADDRESS, else one of its own, started as a user would start it,
 * on free ports and with a data folder that goes again. Either way the example has a namespace to itself.
 */
import { type ChildProcess, spawn } from 'node:child_process';
import { once } from 'node:events';
import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { type AdminClient, createAdminClient } from 'yardmaster/client';

/** What `npx yardmaster` runs, once it is built. */
export const COMMAND = new URL('../../dist/src/cli/main.js', import.meta.url).pathname;

const START_MS_MAX = 60_000;

export interface Plane {
  readonly address: string;
  readonly namespace: string;
  readonly admin: AdminClient;
  stop(): Promise<void>;
}

export async function startPlane(name: string): Promise<Plane> {
  const given = process.env.YARDMASTER_ADDRESS;
  const own = given === undefined ? await startServer() : undefined;
  const address = given ?? own?.address ?? '';
  const namespace = `${name}-${process.pid}`;
  const everywhere = createAdminClient({ address });
  await everywhere.putNamespace({ namespace: { name: namespace } });
  everywhere.close();
  const admin = createAdminClient({ address, namespace });
  return {
    address,
    namespace,
    admin,
    async stop() {
      admin.close();
      await own?.stop();
    },
  };
}

async function startServer() {
  const folder = await mkdtemp(join(tmpdir(), 'yardmaster-example-'));
  const args = ['serve', '--grpc-port', '0', '--http-port', '0', '--data-dir', join(folder, 'data')];
  const server = spawn(process.execPath, [COMMAND, ...args], {
    env: { ...process.env, YARDMASTER_LOG_LEVEL: 'warn' },
    stdio: ['ignore', 'pipe', 'inherit'],
  });
  async function stop() {
    if (server.exitCode === null && server.signalCode === null) {
      const gone = once(server, 'exit');
      server.kill('SIGTERM');
      await gone;
    }
    await rm(folder, { recursive: true, force: true });
  }
  try {
    return { address: await addressOf(server), stop };
  } catch (error) {
    await stop();
    throw error;
  }
}

/** It prints where it listens once it serves. */
function addressOf(server: ChildProcess): Promise<string> {
  return new Promise((resolve, reject) => {
    let said = '';
    const timer = setTimeout(() => reject(new Error('the server did not start in time')), START_MS_MAX);
    server.once('exit', (code) => reject(new Error(`the server ended with ${code}: ${said}`)));
    server.stdout?.on('data', (data) => {
      said += data;
      const [, address] = /gRPC on (\S+:\d+)/.exec(said) ?? [];
      if (address === undefined) return;
      clearTimeout(timer);
      resolve(address);
    });
  });
}
