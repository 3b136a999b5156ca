/** Workflows between the wire, the engine and the store. */
import { create, fromJson, type JsonValue, toJson } from '@bufbuild/protobuf';
import type { PutWorkflowRequest } from '../../../gen/yardmaster/v1/admin_service_pb.ts';
import {
  StepDefinitionSchema,
  type StepDefinition as WireStep,
  type Workflow,
  WorkflowSchema,
} from '../../../gen/yardmaster/v1/run_pb.ts';
import type { Limits } from '../../domain/limits.ts';
import { isRefusal, type Refusal, refuseField, refuseLimit } from '../../domain/refusal.ts';
import type { CommandOf } from '../../engine/commands.ts';
import type { WorkflowDefinition } from '../../engine/images.ts';
import type { WorkflowRow } from '../../engine/rows.ts';
import type { StepDefinition } from '../../engine/state.ts';
import type { WorkflowView } from '../../engine/views.ts';
import { readStep } from './step.ts';
import { readSticky, writeSticky } from './sticky.ts';
import { checkText } from './text.ts';
import { timestamp } from './time.ts';

/** The command; whether its steps make a graph is for the engine to say. */
export function readPutWorkflow(
  namespace: string,
  { name, steps: wireSteps, sticky }: PutWorkflowRequest,
  limits: Limits,
): Omit<CommandOf<'put_workflow'>, 'kind'> | Refusal {
  const bad = checkWorkflowName(name, limits) ?? checkCount(wireSteps, limits);
  if (bad) return bad;
  const steps: StepDefinition[] = [];
  for (const [index, wireStep] of wireSteps.entries()) {
    const step = readStep(`steps[${index}].`, wireStep, limits);
    if (isRefusal(step)) return namingStep(step, wireStep.name || wireStep.action);
    steps.push(step);
  }
  const source = sourceOf(wireSteps);
  return isRefusal(source) ? source : { namespace, name, steps, sticky: readSticky(sticky) ?? 'NONE', source };
}

/** JSON has no words for some durations that the wire can carry. */
function sourceOf(steps: readonly WireStep[]): string | Refusal {
  try {
    return JSON.stringify(steps.map((step) => toJson(StepDefinitionSchema, step)));
  } catch (error) {
    return refuseField('INVALID_FIELD', 'steps', (error as Error).message);
  }
}

export function checkWorkflowName(name: string, limits: Limits): Refusal | null {
  if (name === '') return refuseField('INVALID_FIELD', 'name', 'is empty');
  return checkText('name', name, limits.keyBytesMax);
}

function checkCount(steps: readonly unknown[], limits: Limits): Refusal | null {
  if (steps.length === 0) return refuseField('INVALID_WORKFLOW', 'steps', 'is empty: a workflow has at least one step');
  if (steps.length <= limits.stepsPerRunMax) return null;
  return refuseLimit('steps', steps.length, limits.stepsPerRunMax, 'steps');
}

/** A place in a list says little to whoever wrote the list in another form. */
function namingStep(refusal: Refusal, name: string): Refusal {
  if (name === '') return refusal;
  return { ...refusal, message: `step "${name}": ${refusal.message}`, metadata: { ...refusal.metadata, step: name } };
}

/** A version that was just put, with its steps as they were given. */
export function writeWorkflow({ name, version, sticky, createMs }: WorkflowView, steps: readonly WireStep[]): Workflow {
  const createTime = timestamp(createMs);
  return create(WorkflowSchema, { name, version, steps: [...steps], sticky: writeSticky(sticky), createTime });
}

/** A stored version, as it was given. */
export function writeStoredWorkflow({ name, version, definition, source, create_ms }: WorkflowRow): Workflow {
  const { sticky } = JSON.parse(definition) as WorkflowDefinition;
  const steps = (JSON.parse(source) as JsonValue[]).map((step) => fromJson(StepDefinitionSchema, step));
  return writeWorkflow({ name, version, sticky, createMs: create_ms }, steps);
}
