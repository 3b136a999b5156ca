/** Namespaces: the isolation boundary, and the settings that differ between them. */
import type { CommandOf, ResultOf } from './commands.ts';
import type { EngineState, NamespaceRecord } from './state.ts';
import type { Turn } from './turn.ts';
import { namespaceView } from './views.ts';

export const NAMESPACE_DEFAULT = 'default';
const RETENTION_MS_DEFAULT = 30 * 24 * 3_600_000;

export function newNamespace(state: EngineState, name: string): NamespaceRecord {
  return {
    name,
    matchMode: 'LEGACY',
    retentionMs: RETENTION_MS_DEFAULT,
    scheduleTimeoutMs: state.times.scheduleTimeoutMs,
  };
}

export function putNamespace(
  state: EngineState,
  turn: Turn,
  command: CommandOf<'put_namespace'>,
): ResultOf<'put_namespace'> {
  const namespace = state.namespaces.get(command.name) ?? newNamespace(state, command.name);
  namespace.matchMode = command.matchMode ?? namespace.matchMode;
  namespace.retentionMs = command.retentionMs ?? namespace.retentionMs;
  namespace.scheduleTimeoutMs = command.scheduleTimeoutMs ?? namespace.scheduleTimeoutMs;
  state.namespaces.set(namespace.name, namespace);
  turn.changes.push({ table: 'namespaces', namespace });
  // Another mode may let workers take what waits.
  for (const worker of state.workers.values())
    if (worker.open && worker.namespace === namespace.name) turn.freedWorkers.add(worker);
  return namespaceView(namespace);
}

export function readNamespaces(state: EngineState): ResultOf<'read_namespaces'> {
  return [...state.namespaces.values()].map(namespaceView);
}
