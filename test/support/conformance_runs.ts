/** Workflows, their runs, and time that goes by on the server, for tests that speak with it through its listener. */
import type { MessageInitShape } from '@bufbuild/protobuf';
import { type Duration, durationFromMs, type Timestamp, timestampMs } from '@bufbuild/protobuf/wkt';
import type { NamespaceSchema } from '../../gen/yardmaster/v1/admin_service_pb.ts';
import {
  type Run,
  RunState,
  type Step,
  StepState,
  type Sticky,
  type Workflow,
} from '../../gen/yardmaster/v1/run_pb.ts';
import { nameIn, present, type RunInit, type RunRest, type StepInit, unique, until, type Yard } from './conformance.ts';
import type { HelloInit, WorkerStream } from './conformance_stream.ts';

/** A length of time in milliseconds, as requests want it. */
export const ms: (milliseconds: number) => Duration = durationFromMs;

/** Milliseconds since 1970 of a moment that must be there, with its fraction. */
export function at(time: Timestamp | undefined): number {
  const moment = present(time);
  return timestampMs(moment) + (moment.nanos % 1_000_000) / 1e6;
}

export interface FlowSettings {
  readonly name?: string;
  readonly sticky?: Sticky;
}

/** Stores a workflow, under a name of its own unless one is given. */
export async function putWorkflow(
  yard: Yard,
  steps: StepInit[],
  { name = unique('flow'), sticky }: FlowSettings = {},
): Promise<Workflow> {
  const { workflow } = await yard.admin.putWorkflow({ name, steps, ...(sticky === undefined ? {} : { sticky }) });
  return present(workflow);
}

/** A step as requests give it. */
export type PlainStep = Extract<StepInit, { readonly $typeName?: never }>;

/** Steps that follow one another, each with what is said of all, and of it alone. */
export function chain(
  names: readonly string[],
  ofAll: PlainStep,
  ofOne: Readonly<Record<string, PlainStep>> = {},
): PlainStep[] {
  return names.map((name, index) => ({
    ...ofAll,
    name,
    needs: names.slice(Math.max(0, index - 1), index),
    ...ofOne[name],
  }));
}

export function flowRun(workflow: string, rest: RunRest = {}): RunInit {
  return { ...rest, what: { case: 'workflow', value: workflow } } as RunInit;
}

/** Submits a run of a stored workflow; its id. */
export async function startFlow(yard: Yard, workflow: string, rest: RunRest = {}): Promise<string> {
  return present((await yard.admin.scheduleRun(flowRun(workflow, rest))).run).runId;
}

/** Stores a workflow and submits a run of it; the run's id. */
export async function runFlow(
  yard: Yard,
  steps: StepInit[],
  settings: FlowSettings = {},
  rest: RunRest = {},
): Promise<string> {
  return startFlow(yard, (await putWorkflow(yard, steps, settings)).name, rest);
}

export async function stepNamed(yard: Yard, runId: string, name: string): Promise<Step> {
  return present((await yard.run(runId)).steps.find((step) => step.name === name));
}

/** State by name of step. */
export function statesOf(run: Run): Record<string, string> {
  return Object.fromEntries(run.steps.map(({ name, state }) => [name, nameIn(StepState, state)]));
}

export async function states(yard: Yard, runId: string): Promise<Record<string, string>> {
  return statesOf(await yard.run(runId));
}

const LIVE: ReadonlySet<RunState> = new Set([RunState.PENDING, RunState.RUNNING]);

/** Waits for the run's end. */
export async function ended(yard: Yard, runId: string): Promise<Run> {
  await until(async () => !LIVE.has((await yard.run(runId)).state), `run ${runId} ends`);
  return yard.run(runId);
}

/** Waits until the step is in this state. */
export async function becomes(yard: Yard, runId: string, name: string, state: keyof typeof StepState): Promise<Step> {
  const holds = async () => (await stepNamed(yard, runId, name)).state === StepState[state];
  await until(holds, `step ${name} of run ${runId} becomes ${state}`);
  return stepNamed(yard, runId, name);
}

/** Waits until the server has seen so much time go by: until a run that nobody can take has timed out. */
export async function timeGoesBy(yard: Yard, milliseconds: number): Promise<void> {
  const clock = await yard.submit({ action: unique('clock'), scheduleTimeout: ms(milliseconds) });
  await ended(yard, clock);
}

export function succeedWith(worker: WorkerStream, { assignmentId }: { assignmentId: string }, outputJson: string) {
  return worker.send({ case: 'stepSucceeded', value: { assignmentId, outputJson } });
}

/** Takes the next assignment, which must be of this step, and succeeds with it; what is behind it is settled. */
export async function workOn(worker: WorkerStream, stepName: string, output: unknown = null) {
  const offer = await worker.take();
  if (offer.stepName !== stepName) throw new Error(`given ${offer.stepName} instead of ${stepName}`);
  await worker.settled(worker.succeed(offer, output));
  return offer;
}

/** Takes the next assignment and fails with it, all of it settled. */
export async function failNext(worker: WorkerStream, message = 'it broke') {
  const offer = await worker.take();
  await worker.settled(worker.fail(offer, message));
  return offer;
}

/** The handler stopped, as it was asked to. */
export function stopped(worker: WorkerStream, { assignmentId }: { assignmentId: string }): number {
  return worker.send({ case: 'stepCancelled', value: { assignmentId } });
}

export function changeSlots(worker: WorkerStream, slots: number): number {
  return worker.send({ case: 'slotsChanged', value: { slots } });
}

type NamespaceInit = Omit<MessageInitShape<typeof NamespaceSchema>, '$typeName' | '$unknown' | 'name'>;

/** Call metadata of a namespace that is there from now on. */
export async function newNamespace(
  yard: Yard,
  settings: NamespaceInit = {},
): Promise<{ name: string; metadata: Record<string, string> }> {
  const name = unique('space');
  await yard.admin.putNamespace({ namespace: { ...settings, name } as NamespaceInit });
  return { name, metadata: { 'yardmaster-namespace': name } };
}

export async function connectIn(yard: Yard, metadata: Record<string, string>, hello: HelloInit): Promise<WorkerStream> {
  const stream = yard.open(metadata);
  await stream.hello({ name: unique('worker'), ...hello });
  return stream;
}
