/** What the watchers share: who is who, in every layer's own terms. */

import type { ExecutionJournal } from './journal.ts';
import type { Connection } from './network.ts';
import type { SimProcess } from './process.ts';
import type { SimServer } from './server.ts';
import type { SimStore } from './store.ts';
import type { World } from './world.ts';

export interface Scene {
  readonly world: World;
  readonly store: SimStore;
  readonly journal: ExecutionJournal;
  readonly server: () => SimServer;
  /** The worker process behind a stream, by the number that the engine of that server process knows it by. */
  readonly workerAt: (server: SimProcess, connection: number) => SimProcess | undefined;
  readonly isStopping: (process: SimProcess) => boolean;
}

/** Streams by their numbers at the server. */
export interface StreamBook {
  readonly workerAt: Scene['workerAt'];
  add(connection: Connection, number: number, server: SimProcess): void;
}

export function createStreamBook(): StreamBook {
  const byServer = new Map<SimProcess, Map<number, SimProcess>>();
  return {
    workerAt: (server, connection) => byServer.get(server)?.get(connection),
    add(connection, number, server) {
      const of = byServer.get(server) ?? new Map<number, SimProcess>();
      byServer.set(server, of);
      of.set(number, connection.worker);
    },
  };
}
