/** The engine with a fleet and a queue, as the server would fill it: everything that knows the shapes of its commands. */
import { isRefusal } from '../../src/domain/refusal.ts';
import { RETRY_DEFAULT } from '../../src/domain/retry.ts';
import type { CommandKind, CommandOf, ResultOf, RunDraft } from '../../src/engine/commands.ts';
import { createEngine, type Outcome } from '../../src/engine/engine.ts';
import { systemIds } from '../../src/lib/random.ts';

const START_MS = 1_700_000_000_000;

export interface WaitsFor {
  readonly action: string;
  /** Value of the required label `group`. */
  readonly group: number;
}

export interface MatchYard {
  /** One command with as many runs, ready to be applied: making it is not the engine's part. */
  submission(count: number, at: (index: number) => WaitsFor): () => void;
  hello(connection: number, actions: readonly string[], group: number): void;
  upsert(connection: number, group: number): void;
  /** The end of what the worker holds. */
  complete(connection: number): void;
  /** Accepts whatever was assigned in the last command; says to whom. */
  acceptAll(): readonly number[];
}

export function createMatchYard(): MatchYard {
  const engine = createEngine({ nowMs: START_MS });
  const ids = systemIds();
  const held = new Map<number, string>();
  let assigned: { connection: number; assignmentId: string }[] = [];

  function apply<K extends CommandKind>(command: CommandOf<K>): void {
    const outcome: Outcome<ResultOf<K>> = engine.apply(command, START_MS, ids);
    if (isRefusal(outcome.result)) throw new Error(`${command.kind}: ${outcome.result.message}`);
    for (const effect of outcome.effects) {
      if (effect.kind !== 'run_step') continue;
      assigned.push({ connection: effect.connection, assignmentId: effect.offer.assignmentId });
    }
  }

  return {
    submission(count, at) {
      const runs = Array.from({ length: count }, (_, index) => draftOf(ids, at(index)));
      return () => apply({ kind: 'schedule_runs', runs });
    },
    hello(connection, actions, group) {
      apply({
        kind: 'open_session',
        connection,
        namespace: 'default',
        workerId: '',
        name: `worker-${connection}`,
        tags: [],
        labels: new Map([['group', group]]),
        actions,
        slots: 1,
        devices: null,
        nickname: '',
        sdk: null,
        resume: null,
        newSessionHash: `session-${connection}`,
      });
    },
    upsert: (connection, group) => apply({ kind: 'upsert_labels', connection, patch: new Map([['group', group]]) }),
    complete(connection) {
      const assignmentId = held.get(connection);
      if (assignmentId === undefined) throw new Error(`worker ${connection} holds nothing`);
      held.delete(connection);
      apply({ kind: 'succeed_step', connection, assignmentId, outputJson: 'null' });
    },
    acceptAll() {
      const taken = assigned;
      assigned = [];
      for (const { connection, assignmentId } of taken) {
        held.set(connection, assignmentId);
        apply({ kind: 'accept_step', connection, assignmentId });
      }
      return taken.map(({ connection }) => connection);
    },
  };
}

/** Fresh objects throughout, as they come from the wire. */
function draftOf(ids: ReturnType<typeof systemIds>, { action, group }: WaitsFor): RunDraft {
  return {
    namespace: 'default',
    runId: ids.orderedId(),
    what: {
      step: {
        name: action,
        action,
        needs: [],
        device: null,
        maxInvalidReports: 5,
        runsOn: [],
        desired: [],
        scheduleTimeoutMs: null,
        executionTimeoutMs: null,
        progressTimeoutMs: null,
        reconnectGraceMs: null,
        retry: RETRY_DEFAULT,
      },
    },
    sticky: null,
    pinToWorkerId: '',
    concurrency: null,
    dependsOn: [],
    storedDependencies: new Map(),
    scheduleTimeoutMs: null,
    executionTimeoutMs: null,
    runsOn: [],
    desired: [{ key: 'group', value: group, comparator: 'EQUAL', values: [], required: true, weight: 100 }],
    priority: 2,
    inputJson: 'null',
    metadata: {},
    requestId: ids.randomId(),
    requestDigest: '',
    known: null,
    contentHash: '',
    storedSuccess: null,
  };
}
