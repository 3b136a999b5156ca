/** The server as a process that can be killed and started again, and the calls of those who submit to it. */

import type { Refusal } from '../../src/domain/refusal.ts';
import { isRefusal, refuse } from '../../src/domain/refusal.ts';
import type { CommandKind, CommandOf, ResultOf, RunDraft, ScheduledRun } from '../../src/engine/commands.ts';
import type { Engine } from '../../src/engine/engine.ts';
import type { IdSource } from '../../src/lib/random.ts';
import { createSession } from '../../src/server/session/session.ts';
import { watchSilence } from '../../src/server/session/silence.ts';
import { isTransient } from '../../src/store/transient.ts';
import type { Connection, Network } from './network.ts';
import { createSimPlane, LEASE_MS, type OnTerm, type SimPlane } from './plane.ts';
import { createProcess, type SimProcess } from './process.ts';
import type { SimStore } from './store.ts';
import type { World } from './world.ts';

export interface SimServer {
  readonly isUp: boolean;
  /** null while there is none. */
  readonly process: SimProcess | null;
  engine(): Engine | null;
  start(): void;
  kill(): void;
  /** The server stands still until so long after its lease is over, and another one takes its place meanwhile. */
  takeOver(forMs: number): void;
  /** As the rpc does it: looks the request id up, keeps the input at hand, asks the engine. Unanswered when it dies. */
  schedule(draft: RunDraft, answer: (result: ScheduledRun | Refusal) => void): void;
  call<K extends CommandKind>(command: CommandOf<K>, answer: (result: ResultOf<K> | Refusal) => void): void;
}

export interface SimServerOptions {
  readonly world: World;
  readonly network: Network;
  readonly store: SimStore;
  readonly ids: IdSource;
  readonly onTerm: OnTerm;
  /** A stream was opened, under this number in the engine. */
  readonly onAttached: (connection: Connection, number: number, process: SimProcess) => void;
}

export function createServer(options: SimServerOptions): SimServer {
  const { world, network, store, ids, onTerm } = options;
  let process: SimProcess | null = null;
  let plane: SimPlane | null = null;

  function start(): void {
    const started = createProcess(world, 'server');
    const its = createSimPlane({
      world,
      process: started,
      store,
      ids,
      onTerm,
      isHolder: () => process === started,
    });
    const silence = watchSilence(its.plane.clock, its.plane.times.silenceTimeoutMs);
    process = started;
    plane = its;
    network.listen({
      process: started,
      accept(transport, connection) {
        const attach = (sink: Parameters<typeof its.plane.attach>[0]) => {
          const number = its.plane.attach(sink);
          options.onAttached(connection, number, started);
          return number;
        };
        return createSession({ plane: { ...its.plane, attach }, namespace: 'default', transport, silence });
      },
    });
  }

  async function schedule(its: SimPlane, at: SimProcess, draft: RunDraft): Promise<ScheduledRun | Refusal> {
    const { payloads } = its.plane;
    const known = await store.findRequest(at, draft.requestId);
    payloads.put(draft.runId, draft.inputJson);
    const result = await its.submit({ kind: 'schedule_runs', runs: [{ ...draft, known }] });
    const [scheduled] = isRefusal(result) ? [] : result;
    if (scheduled?.runId !== draft.runId) payloads.drop(draft.runId);
    return scheduled ?? (result as Refusal);
  }

  return {
    get isUp() {
      return process?.isAlive ?? false;
    },
    get process() {
      return process;
    },
    engine: () => (process?.isAlive ? (plane?.engine() ?? null) : null),
    start,
    kill() {
      network.listen(null);
      process?.kill();
      process = null;
      plane = null;
    },
    takeOver(forMs) {
      const hung = process;
      if (hung === null || hung.isPaused) return;
      hung.pause(LEASE_MS + forMs);
      // Whoever stands by sees that the lease has run out.
      world.after(LEASE_MS + 100, () => {
        if (process === hung) start();
      });
    },
    schedule(draft, answer) {
      const its = plane;
      const at = process;
      if (its === null || at === null) return;
      at.enter(() => {
        schedule(its, at, draft).then(answer, (error: unknown) => {
          if (!isTransient(error)) throw error;
          answer(refuse('STORE_UNAVAILABLE', 'the store does not answer'));
        });
      });
    },
    call(command, answer) {
      const its = plane;
      if (its === null) return;
      process?.enter(() => {
        void its.submit(command).then(answer);
      });
    },
  };
}
