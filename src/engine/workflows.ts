/** Workflows: named, versioned DAGs of step definitions. */
import { buildGraph, type Graph } from '../domain/graph.ts';
import { isRefusal, type Refusal, refuse } from '../domain/refusal.ts';
import type { CommandOf, ResultOf, WorkflowChoice } from './commands.ts';
import type { WorkflowDefinition } from './images.ts';
import type { WorkflowRow } from './rows.ts';
import { completedStep } from './run_definition.ts';
import { type EngineState, nameKey, type WorkflowRecord } from './state.ts';
import type { Turn } from './turn.ts';
import { workflowView } from './views.ts';
import { definitionWarnings } from './warnings.ts';
import { unknownNamespace } from './workers.ts';

/** Stores the steps as the next version of the name. */
export function putWorkflow(
  state: EngineState,
  turn: Turn,
  command: CommandOf<'put_workflow'>,
): ResultOf<'put_workflow'> | Refusal {
  const { namespace, name, steps, sticky, source } = command;
  if (!state.namespaces.has(namespace)) return unknownNamespace(namespace);
  const graph = buildGraph('steps', steps, state.limits);
  if (isRefusal(graph)) return graph;
  const key = nameKey(namespace, name);
  const known = state.workflows.get(key);
  const version = (known?.latest.version ?? 0) + 1;
  const workflow: WorkflowRecord = { namespace, name, version, steps, graph, sticky, createMs: turn.nowMs };
  const record = known ?? { namespace, name, latest: workflow, lastNumber: 0 };
  record.latest = workflow;
  state.workflows.set(key, record);
  const definition: WorkflowDefinition = { sticky, steps };
  const row = { namespace, name, version, definition: JSON.stringify(definition), source, create_ms: turn.nowMs };
  turn.changes.push({ table: 'workflows', workflow: row }, { table: 'workflow_names', name: record });
  const warnings = definitionWarnings(state, namespace, steps, {
    sticky,
    runsOn: [],
    desired: [],
    pinnedWorkerId: null,
  });
  return { workflow: workflowView(workflow), warnings };
}

/** The version a run is to be of. Memory keeps the newest one of each name; an older one comes with the command. */
export function chosenWorkflow(
  state: EngineState,
  namespace: string,
  { name, version, stored }: WorkflowChoice,
): WorkflowRecord | Refusal {
  const known = state.workflows.get(nameKey(namespace, name));
  if (known !== undefined && (version === null || version === known.latest.version)) return known.latest;
  if (known !== undefined && stored !== null) return workflowOf(state, stored);
  const message =
    version === null || known === undefined
      ? `workflow "${name}" does not exist in namespace "${namespace}"`
      : `workflow "${name}" has no version ${version}; the newest is ${known.latest.version}`;
  return refuse('WORKFLOW_NOT_FOUND', message, { workflow: name });
}

/** A stored version. It was checked when it was put. */
export function workflowOf(state: EngineState, row: WorkflowRow): WorkflowRecord {
  const { sticky, steps: stored } = JSON.parse(row.definition) as WorkflowDefinition;
  const steps = stored.map(completedStep);
  // A limit that was lowered since must not make what is stored unreadable.
  const graph = buildGraph('steps', steps, { ...state.limits, stepsPerRunMax: steps.length }) as Graph;
  const { namespace, name, version } = row;
  return { namespace, name, version, steps, graph, sticky, createMs: row.create_ms };
}
