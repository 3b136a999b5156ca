/** An engine with a clock that is a number, ids that count, and a fleet that is told what to say. */
import type { DesiredLabel, LabelPatch, LabelValue } from '../../src/domain/labels.ts';
import { DEFAULT_LIMITS, DEFAULT_TIMES, type Limits, type Times } from '../../src/domain/limits.ts';
import { PRIORITY_DEFAULT, type Priority } from '../../src/domain/priority.ts';
import { isRefusal, type Refusal } from '../../src/domain/refusal.ts';
import { MAX_INVALID_REPORTS_DEFAULT, RETRY_DEFAULT, type RetryPolicy } from '../../src/domain/retry.ts';
import type { RunState } from '../../src/domain/run.ts';
import type { Sticky } from '../../src/domain/sticky.ts';
import type {
  Command,
  CommandKind,
  CommandOf,
  OpenSession,
  ResultOf,
  RunDraft,
  SessionOpened,
} from '../../src/engine/commands.ts';
import type { Effect } from '../../src/engine/effects.ts';
import { createEngine, type Engine, type Outcome } from '../../src/engine/engine.ts';
import type { LiveRows } from '../../src/engine/restore.ts';
import type { WorkflowRow } from '../../src/engine/rows.ts';
import type { RunRecord, StepDefinition, StepRecord, WorkerRecord } from '../../src/engine/state.ts';
import type { Ids } from '../../src/engine/turn.ts';
import { createFakeStore, type FakeStore } from './engine_store.ts';

const START_MS = 1_000_000;

/** Ids that count. The number goes first, so that names cut from an id differ as well. */
export function countingIds(after = 0): Ids {
  let count = after;
  const next = () => String(++count).padStart(8, '0');
  return {
    orderedId: () => `${next()}-ordered`,
    randomId: () => `${next()}-random`,
    fraction: () => (++count % 1000) / 1000,
  };
}

export interface LabelOptions {
  comparator?: DesiredLabel['comparator'];
  values?: LabelValue[];
  required?: boolean;
  weight?: number;
}

/** A desired label with the defaults of the contract. */
export function desire(key: string, value: LabelValue | null, options: LabelOptions = {}): DesiredLabel {
  return { key, value, comparator: 'EQUAL', values: [], required: true, weight: 100, ...options };
}

export interface RunOptions {
  namespace?: string;
  action?: string;
  runsOn?: string[];
  desired?: DesiredLabel[];
  stepDesired?: DesiredLabel[];
  priority?: Priority;
  scheduleTimeoutMs?: number | null;
  executionTimeoutMs?: number | null;
  progressTimeoutMs?: number | null;
  reconnectGraceMs?: number | null;
  retry?: Partial<RetryPolicy>;
  requestId?: string;
  requestDigest?: string;
  known?: RunDraft['known'];
  /** Name of a stored workflow; its steps are addressed as `run/step`. */
  workflow?: string;
  workflowVersion?: number;
  storedWorkflow?: WorkflowRow;
  device?: StepDefinition['device'];
  sticky?: Sticky;
  pinToWorkerId?: string;
  concurrency?: { key: string; limit: number };
  dependsOn?: string[];
  storedDependencies?: Record<string, RunState>;
  /** Runs of the same action or workflow with the same hash are equal. */
  contentHash?: string;
  storedSuccess?: RunDraft['storedSuccess'];
}

export interface WorkflowStep extends Partial<StepDefinition> {
  name: string;
}

interface HelloOptions {
  namespace?: string;
  name?: string;
  workerId?: string;
  tags?: string[];
  labels?: Record<string, LabelValue> | null;
  actions?: string[];
  slots?: number | null;
  devices?: OpenSession['devices'];
  nickname?: string;
  resume?: OpenSession['resume'];
}

export interface Yard {
  readonly engine: Engine;
  readonly store: FakeStore;
  readonly times: Times;
  nowMs: number;
  /** Of the last command. */
  effects: readonly Effect[];
  changes: Outcome<unknown>['changes'];
  apply<K extends CommandKind>(command: CommandOf<K>): Outcome<ResultOf<K>>;
  /** Applies a command that has to be taken. */
  take<K extends CommandKind>(command: CommandOf<K>): ResultOf<K>;
  /** Applies a command that has to be refused. */
  refuse(command: Command): Refusal;
  draft(options?: RunOptions): RunDraft;
  submit(options?: RunOptions): string;
  /** Stores a workflow; a step's action is `build` unless it says otherwise. */
  workflow(name: string, steps: WorkflowStep[], sticky?: Sticky): ResultOf<'put_workflow'>;
  hello(options?: HelloOptions): Client;
  refuseHello(options: HelloOptions): Refusal;
  /** Moves the clock, and stops at every deadline on the way. */
  advance(byMs: number): void;
  run(runId: string): RunRecord;
  /** The step `run/step`, or the first one of the run. */
  step(address: string): StepRecord;
  worker(workerId: string): WorkerRecord;
  /** Name of the worker that holds the run's step; null when nobody does. */
  holder(runId: string): string | null;
  assignmentId(runId: string): string;
}

/** One process of a worker, speaking over its stream. Facts name a run, or an assignment that is no longer the run's. */
export interface Client {
  readonly connection: number;
  readonly sessionHash: string;
  readonly opened: SessionOpened;
  readonly workerId: string;
  readonly name: string;
  handOver(runId: string): void;
  accept(runId: string): void;
  succeed(runId: string, outputJson?: string): void;
  fail(runId: string, options?: { reason?: string; retryable?: boolean }): void;
  giveBack(runId: string, reason?: 'STALE_LABELS' | 'NOT_READY'): void;
  reportInvalid(runId: string, stepName?: string): void;
  upsert(patch: Record<string, LabelValue | null>): ResultOf<'upsert_labels'>;
  slots(slots: number): void;
  close(): void;
  goodbye(): void;
  resume(heldRunIds: string[], options?: HelloOptions): Client;
}

export interface YardOptions {
  times?: Partial<Times>;
  limits?: Partial<Limits>;
  rows?: LiveRows;
  nowMs?: number;
  /** Ids count from here; for an engine after another. */
  idsAfter?: number;
}

export function createYard(options: YardOptions = {}): Yard {
  const times = { ...DEFAULT_TIMES, ...options.times };
  const nowMs = options.nowMs ?? START_MS;
  const rows = options.rows ? { rows: options.rows } : {};
  // What a second engine makes must not be called like what the first one made.
  const after = options.idsAfter ?? (options.rows ? 10_000 : 0);
  const engine = createEngine({ limits: { ...DEFAULT_LIMITS, ...options.limits }, times, nowMs, ...rows });
  const ids = countingIds(after);
  let lastNumber = after;
  const number = () => ++lastNumber;

  const yard: Yard = {
    engine,
    store: createFakeStore(options.rows),
    times,
    nowMs,
    effects: [],
    changes: [],
    apply(command) {
      const outcome = engine.apply(command, yard.nowMs, ids);
      yard.effects = outcome.effects;
      yard.changes = outcome.changes;
      yard.store.write(outcome.changes);
      return outcome;
    },
    take<K extends CommandKind>(command: CommandOf<K>) {
      const { result } = yard.apply(command);
      if (isRefusal(result)) throw new Error(`${command.kind} was refused: ${result.refused}: ${result.message}`);
      return result as ResultOf<K>;
    },
    refuse(command) {
      const { result } = yard.apply(command);
      if (!isRefusal(result)) throw new Error(`${command.kind} was taken`);
      return result;
    },
    draft: (run) => draftOf(`run-${number()}`, run),
    submit(run) {
      const draft = yard.draft(run);
      yard.take({ kind: 'schedule_runs', runs: [draft] });
      return draft.runId;
    },
    hello: (hello) => openClient(yard, number(), hello ?? {}),
    refuseHello: (hello) => yard.refuse({ kind: 'open_session', ...helloOf(number(), hello) }),
    advance(byMs) {
      const untilMs = yard.nowMs + byMs;
      for (let due = engine.nextDueMs(); due !== null && due <= untilMs; due = engine.nextDueMs()) {
        yard.nowMs = Math.max(yard.nowMs, due);
        yard.take({ kind: 'tick' });
      }
      yard.nowMs = untilMs;
    },
    workflow: (name, steps, sticky = 'NONE') =>
      yard.take({
        kind: 'put_workflow',
        namespace: 'default',
        name,
        steps: steps.map((step) => definitionOf({ ...step })),
        sticky,
        source: '[]',
      }),
    run: (runId) => known(engine.state.runs.get(runId), `run ${runId}`),
    step(address) {
      const [runId = '', name] = address.split('/');
      const { steps } = yard.run(runId);
      return known(name === undefined ? steps[0] : steps.find((step) => step.definition.name === name), address);
    },
    worker: (workerId) => known(engine.state.workers.get(workerId), `worker ${workerId}`),
    holder(runId) {
      const { assignment, state } = yard.step(runId);
      return state === 'ASSIGNED' || state === 'RUNNING' ? (assignment?.worker.name ?? null) : null;
    },
    assignmentId: (runId) => known(yard.step(runId).assignment?.assignmentId, `assignment of run ${runId}`),
  };
  return yard;
}

function known<T>(value: T | undefined, what: string): T {
  if (value === undefined) throw new Error(`there is no ${what}`);
  return value;
}

export function definitionOf(options: Partial<StepDefinition> = {}): StepDefinition {
  return {
    name: 'step',
    action: 'build',
    needs: [],
    runsOn: [],
    desired: [],
    scheduleTimeoutMs: null,
    executionTimeoutMs: null,
    progressTimeoutMs: null,
    reconnectGraceMs: null,
    device: null,
    maxInvalidReports: MAX_INVALID_REPORTS_DEFAULT,
    ...options,
    retry: { ...RETRY_DEFAULT, ...options.retry },
  };
}

function whatOf(options: RunOptions): RunDraft['what'] {
  if (options.workflow !== undefined) {
    const { workflow: name, workflowVersion: version = null, storedWorkflow: stored = null } = options;
    return { workflow: { name, version, stored } };
  }
  return {
    step: definitionOf({
      action: options.action ?? 'build',
      desired: options.stepDesired ?? [],
      scheduleTimeoutMs: options.scheduleTimeoutMs ?? null,
      executionTimeoutMs: options.executionTimeoutMs ?? null,
      progressTimeoutMs: options.progressTimeoutMs ?? null,
      device: options.device ?? null,
      reconnectGraceMs: options.reconnectGraceMs ?? null,
      retry: { ...RETRY_DEFAULT, ...options.retry },
    }),
  };
}

export function draftOf(runId: string, options: RunOptions = {}): RunDraft {
  return {
    namespace: options.namespace ?? 'default',
    runId,
    what: whatOf(options),
    sticky: options.sticky ?? null,
    pinToWorkerId: options.pinToWorkerId ?? '',
    concurrency: options.concurrency ?? null,
    dependsOn: options.dependsOn ?? [],
    storedDependencies: new Map(Object.entries(options.storedDependencies ?? {})),
    scheduleTimeoutMs: options.workflow === undefined ? null : (options.scheduleTimeoutMs ?? null),
    executionTimeoutMs: options.workflow === undefined ? null : (options.executionTimeoutMs ?? null),
    runsOn: options.runsOn ?? [],
    desired: options.desired ?? [],
    priority: options.priority ?? PRIORITY_DEFAULT,
    inputJson: `{"for":"${runId}"}`,
    metadata: {},
    requestId: options.requestId ?? '',
    requestDigest: options.requestDigest ?? '',
    known: options.known ?? null,
    contentHash: options.contentHash ?? '',
    storedSuccess: options.storedSuccess ?? null,
  };
}

function helloOf(connection: number, options: HelloOptions): OpenSession {
  return {
    connection,
    namespace: options.namespace ?? 'default',
    workerId: options.workerId ?? '',
    name: options.name ?? '',
    tags: options.tags ?? [],
    labels: options.labels ? patchOf(options.labels) : null,
    actions: options.actions ?? ['build'],
    slots: options.slots ?? null,
    devices: options.devices ?? null,
    nickname: options.nickname ?? '',
    sdk: null,
    resume: options.resume ?? null,
    newSessionHash: `session-${connection}`,
  };
}

function patchOf(labels: Record<string, LabelValue | null>): LabelPatch {
  return new Map(Object.entries(labels));
}

function openClient(yard: Yard, connection: number, options: HelloOptions): Client {
  const opened = yard.take({ kind: 'open_session', ...helloOf(connection, options) });
  const { workerId, name } = opened.worker;
  const sessionHash = opened.resumed && options.resume ? options.resume.sessionHash : `session-${connection}`;
  const of = (runId: string) => ({ connection, assignmentId: yard.assignmentId(runId) });
  return {
    connection,
    sessionHash,
    opened,
    workerId,
    name,
    handOver: (runId) => yard.take({ kind: 'handed_over', ...of(runId) }),
    accept: (runId) => yard.take({ kind: 'accept_step', ...of(runId) }),
    succeed: (runId, outputJson = 'null') => yard.take({ kind: 'succeed_step', ...of(runId), outputJson }),
    fail(runId, { reason = 'APPLICATION', retryable } = {}) {
      const failure = { reason, type: 'Error', message: 'it broke', stack: '', retryable: retryable ?? null };
      yard.take({ kind: 'fail_step', ...of(runId), failure });
    },
    giveBack: (runId, reason = 'NOT_READY') => yard.take({ kind: 'return_step', ...of(runId), reason, detail: '' }),
    reportInvalid: (runId, stepName = '') =>
      yard.take({ kind: 'report_input_invalid', ...of(runId), stepName, reason: 'not an archive' }),
    upsert: (patch) => yard.take({ kind: 'upsert_labels', connection, patch: patchOf(patch) }),
    slots: (slots) => yard.take({ kind: 'change_slots', connection, slots }),
    close: () => yard.take({ kind: 'close_session', connection, reason: 'CLOSED' }),
    goodbye: () => yard.take({ kind: 'goodbye', connection }),
    resume(heldRunIds, more = {}) {
      const heldAssignmentIds = heldRunIds.map(
        (runId) => yard.engine.state.runs.get(runId)?.steps[0]?.assignment?.assignmentId ?? runId,
      );
      return yard.hello({ ...options, labels: null, ...more, workerId, resume: { sessionHash, heldAssignmentIds } });
    },
  };
}
